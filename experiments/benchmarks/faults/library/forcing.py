"""Diffusion forcing: two frames of one value, on a grid of two steps."""

# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.faults.calls import Call, Count, Data, Time, call
from scorekit import densities, forcing, schedules, solvers, times
from scorekit.times import Times
from scorekit.typing import Prediction

_KEY, _SCHEDULE, _SOLVER = jax.random.key(0), schedules.cosine(), solvers.Euler()
_X = np.ones((1, 2, 1), np.float32)
_GRID = np.array([1.0, 0.5, 0.0], np.float32)
_TS, _LEVELS = Data(_GRID), np.array([[1.0, 1.0], [0.0, 0.0]], np.float32)
_PAIR = densities.gaussian(np.zeros(2, np.float32), std=1.0)
_STATE = Data(_X, {"shape": "frames of another shape"})
_AT = Times(np.full((1, 2), 0.5, np.float32), np.ones((1, 2), np.float32))


def _zero(x, t):
    return jax.tree.map(jnp.zeros_like, x)


def _independent(x, t):
    return Prediction(_zero(x, t), x)


_EXACT = forcing.exact_denoiser(_PAIR, _SCHEDULE, 2)
_ROLL = forcing.roll_out(_independent, _SCHEDULE, _SOLVER, _GRID, window=3, context=1)


ROWS: dict[str, Call] = {
    "forcing.full_sequence": call(forcing.full_sequence, ts=_TS, length=2),
    "forcing.autoregressive": call(forcing.autoregressive, ts=_TS, length=2, chunk=1),
    "forcing.pyramid": call(forcing.pyramid, ts=_TS, length=2, delay=1, chunk=1),
    "forcing.draw_times": call(
        lambda batch, frames: forcing.draw_times(_KEY, batch, frames, times.uniform(), _SCHEDULE),
        batch=1,
        frames=2,
    ),
    "forcing.denoising_loss": call(lambda x0: forcing.denoising_loss(_KEY, _zero, _SCHEDULE, x0)[0], x0=_STATE),
    "forcing.denoising_loss_at": call(
        lambda x0, eps: forcing.denoising_loss_at(_zero, _SCHEDULE, x0, eps, _AT)[0], x0=Data(_X), eps=Data(_X)
    ),
    "forcing.denoising_loss_at/times": call(
        lambda t: forcing.denoising_loss_at(_zero, _SCHEDULE, _X, _X, Times(t, _AT.weight))[0], t=Time(_AT.t)
    ),
    "forcing.exact_denoiser/call": call(
        lambda x_t, t: forcing.exact_denoiser(_PAIR, _SCHEDULE, 2)(x_t, t), x_t=Data(_X), t=Time(_AT.t)
    ),
    "forcing.exact_denoiser": call(lambda frames: forcing.exact_denoiser(_PAIR, _SCHEDULE, frames), frames=2),
    "forcing.history_guidance": call(
        lambda noise, guidance_scale, level, clean: forcing.history_guidance(
            _EXACT, _SCHEDULE, noise, guidance_scale, level=level, clean=clean
        )(_X, np.array([[0.0, 0.5]], np.float32)),
        noise=Data(_X),
        guidance_scale=2.0,
        level=1.0,
        clean=0.0,
    ),
    "forcing.sample": call(
        lambda x_init, levels, stabilisation: forcing.sample(
            None, _independent, _SCHEDULE, _SOLVER, x_init, levels, stabilisation=stabilisation
        ),
        x_init=_STATE,
        levels=Data(_LEVELS),
        stabilisation=0.1,
    ),
    "forcing.roll_out": call(
        lambda ts, window, context, chunk, stabilisation: forcing.roll_out(
            _independent,
            _SCHEDULE,
            _SOLVER,
            ts,
            window=window,
            context=context,
            chunk=chunk,
            stabilisation=stabilisation,
        ).levels,
        ts=_TS,
        window=2,
        context=0,
        chunk=1,
        stabilisation=0.1,
    ),
    "forcing.RollOut": call(
        lambda history: _ROLL.init(_KEY, history).x, history=Data(_X, {"shape": "frames of another shape"})
    ),
    "forcing.RollOut/length": call(lambda length: _ROLL.init(_KEY, _X, length).x, length=Count(1, least=0)),
    "forcing.sample_long": call(
        lambda like, history: forcing.sample_long(_KEY, _ROLL, like, history),
        like=Data(_X, {"nan": "only its shape is used"}, alias="history"),
        history=Data(_X, {"nan": "is not read by a denoiser of independent frames"}),
    ),
}

EXEMPT: dict[str, str] = {"forcing.RollState": "the library makes it"}
