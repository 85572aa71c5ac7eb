"""Autoregressive models of two codes, and diffusion forcing of two frames of one value."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import autoregressive, densities, forcing, solvers, times
from scorekit.networks import CausalWaveNet
from scorekit.times import Times
from scorekit.typing import Prediction
from valid_calls.common import COSINE, KEY
from valid_calls.kinds import Classes, Count, Data, Time, call

_CHAIN = autoregressive.markov_chain(np.zeros(2, np.float32), np.zeros((2, 2), np.float32))
_PROCESS = autoregressive.ar_process([0.5])
_CODES = Classes(np.array([[0, 1], [1, 1]]), num_classes=2)
_VALUES = Data(np.ones((2, 3, 1), np.float32))
_ANY_LOGITS = "shape: any leading axes, and one code; empty: no logits"
_LOGITS = Data(np.zeros((2, 3), np.float32), _ANY_LOGITS)
_ONE_VALUE = Data(np.zeros((2, 1), np.float32), "integer", alias="outputs")
_MODEL = autoregressive.model_from_network(
    CausalWaveNet(outputs=2, channels=2, layers=1, cycle=1), {}, autoregressive.Normal()
)
_X = np.ones((1, 2, 1), np.float32)
_GRID = np.array([1.0, 0.5, 0.0], np.float32)
_PAIR = densities.gaussian(np.zeros(2, np.float32), std=1.0)
_STATE = Data(_X, "shape")
_AT = Times(np.full((1, 2), 0.5, np.float32), np.ones((1, 2), np.float32))


def _kept(rule, **given):
    return call(lambda logits, **given: jax.nn.softmax(rule(logits, **given)), logits=_LOGITS, **given)


def _zero(x, t):
    return jax.tree.map(jnp.zeros_like, x)


def _independent(x, t):
    return Prediction(_zero(x, t), x)


_ROLL = forcing.roll_out(_independent, COSINE, solvers.Euler(), _GRID, window=3, context=1)
USUAL = {
    "model": _CHAIN,
    "key": KEY,
    "length": 2,
    "ts": Data(_GRID),
    "x": _CODES,
    "chunk": 1,
    "schedule": COSINE,
    "network": _zero,
    "denoiser": _independent,
    "solver": solvers.Euler(),
    "density": _PAIR,
    "outputs": Data(np.zeros((2, 2), np.float32), "integer"),
    "guidance_scale": 2.0,
    "batch": 2,
    "frames": 2,
    "t": Time(_AT.t),
    **dict.fromkeys(("x0", "x_t", "eps", "noise"), Data(_X)),
    "stabilisation": 0.1,
}
ROWS = {
    "autoregressive.Categorical/log_prob": call(
        lambda outputs, x: autoregressive.Categorical(num_codes=2).log_prob(outputs, x),
        x=Classes(np.array([0, 1]), num_classes=2),
    ),
    "autoregressive.Categorical/sample": call(
        lambda outputs: autoregressive.Categorical(num_codes=3).sample(KEY, outputs),
        outputs=Data(np.zeros((2, 3), np.float32), f"{_ANY_LOGITS}; integer"),
    ),
    "autoregressive.Normal/log_prob": call(
        lambda outputs, x: autoregressive.Normal().log_prob(outputs, x), x=_ONE_VALUE
    ),
    "autoregressive.LogisticMixture/log_prob": call(
        lambda outputs, x: autoregressive.LogisticMixture(components=1, bins=3).log_prob(outputs, x),
        outputs=Data(np.zeros((2, 3), np.float32), "integer"),
        x=_ONE_VALUE,
    ),
    "autoregressive.ar_process": call(
        coefficients=Data(np.array([0.5, 0.1], np.float32), "integer: one only, not stationary")
    ),
    "autoregressive.markov_chain": call(
        initial=Data(np.zeros(2, np.float32), "integer", alias="transitions"),
        transitions=Data(np.zeros((2, 2), np.float32), "integer"),
    ),
    "autoregressive.log_prob_table": call(),
    "autoregressive.log_prob": call(),
    "autoregressive.log_prob/values": call(model=_PROCESS, x=_VALUES),
    "autoregressive.position_log_probs": call(),
    "autoregressive.bits_per_sample": call(),
    "autoregressive.classifier_free": call(
        lambda guidance_scale: autoregressive.classifier_free(_CHAIN, _CHAIN, guidance_scale).outputs(
            jnp.zeros((1, 2), int)
        )
    ),
    "autoregressive.sample_joint": call(
        lambda key, model, particles, length, **given: (
            autoregressive.sample_joint(key, model, particles, length, **given).x
        ),
        model=autoregressive.classifier_free(_CHAIN, _CHAIN, 2.0),
        particles=2,
        length=3,
    ),
    "autoregressive.sample": call(length=3),
    "autoregressive.sample/prefix": call(length=3, prefix=_CODES),
    "autoregressive.temperature": call(logits=_LOGITS, temperature=0.5),
    "autoregressive.top_k": _kept(autoregressive.top_k, k=1),
    "autoregressive.nucleus": _kept(autoregressive.nucleus, mass=0.5),
    "autoregressive.typical": _kept(autoregressive.typical, mass=0.5),
    "autoregressive.condition_on_noise": call(
        lambda scale: autoregressive.condition_on_noise(_MODEL, COSINE, scale)(0.5).conditions, scale=0.25
    ),
    "autoregressive.smoothed_log_density": call(
        lambda x: autoregressive.smoothed_log_density(lambda t: _PROCESS)(x, 0.5), x=_VALUES
    ),
    "autoregressive.smoothed_loss": call(model_at=lambda t: _PROCESS, schedule=COSINE, x0=_VALUES),
    "forcing.full_sequence": call(),
    "forcing.autoregressive": call(chunk=1),
    "forcing.pyramid": call(delay=1, chunk=1),
    "forcing.draw_times": call(sampler=times.uniform(), batch=1),
    "forcing.denoising_loss": call(x0=_STATE),
    "forcing.denoising_loss_at": call(times=_AT),
    "forcing.denoising_loss_at/times": call(
        lambda t: forcing.denoising_loss_at(_zero, COSINE, _X, _X, Times(t, _AT.weight))[0]
    ),
    "forcing.exact_denoiser/call": call(then="x_t t"),
    "forcing.exact_denoiser": call(),
    "forcing.history_guidance": call(
        then="x_t t",
        denoiser=forcing.exact_denoiser(_PAIR, COSINE, 2),
        x_t=_X,
        t=np.array([[0.0, 0.5]], np.float32),
    ),
    "forcing.sample": call(
        key=None, x_init=_STATE, levels=Data(np.array([[1.0, 1.0], [0.0, 0.0]], np.float32)), stabilisation=0.1
    ),
    "forcing.roll_out": call(
        lambda ts, window, context, chunk, stabilisation: forcing.roll_out(
            _independent,
            COSINE,
            solvers.Euler(),
            ts,
            window=window,
            context=context,
            chunk=chunk,
            stabilisation=stabilisation,
        ).levels,
        window=2,
        context=0,
    ),
    "forcing.RollOut": call(lambda history: _ROLL.init(KEY, history).x, history=Data(_X, "shape")),
    "forcing.RollOut/length": call(lambda length: _ROLL.init(KEY, _X, length).x, length=Count(1, least=0)),
    "forcing.sample_long": call(
        sampler=_ROLL,
        like=Data(_X, "nan: only its shape is used", alias="history"),
        history=Data(_X, "nan: is not read by a denoiser of independent frames"),
    ),
}
