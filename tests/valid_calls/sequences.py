"""Autoregressive models of two codes, and diffusion forcing of two frames of one value."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import autoregressive, densities, forcing, solvers, times
from scorekit.networks import CausalWaveNet
from scorekit.times import Times
from scorekit.typing import Prediction
from valid_calls.common import COSINE, KEY, TS, constant, floats, ones
from valid_calls.kinds import Classes, Count, Data, Time, call

_CHAIN = autoregressive.markov_chain(np.zeros(2, np.float32), np.zeros((2, 2), np.float32))
_GUIDED = autoregressive.classifier_free(_CHAIN, _CHAIN, 2.0)
_PROCESS = autoregressive.ar_process([0.5])
_CODES = Classes(np.array([[0, 1], [1, 1]]), num_classes=2)
_VALUES = Data(ones(2, 3, 1))
_ANY_CODES = Data(_VALUES.value, "integer", alias="samples")
_ANY_LOGITS = "shape: any leading axes, and one code; empty: no logits"
_LOGITS = Data(np.zeros((2, 3), np.float32), _ANY_LOGITS)
_OUTPUTS, _ONE_VALUE = Data(_LOGITS.value, "integer"), Data(np.zeros((2, 1), np.float32), "integer", alias="outputs")
_TWO = Data(np.zeros((2, 2), np.float32), "integer")
_MODEL = autoregressive.model_from_network(
    CausalWaveNet(outputs=2, channels=2, layers=1, cycle=1), {}, autoregressive.Normal()
)
_X = ones(1, 2, 1)
_PAIR = densities.gaussian(np.zeros(2, np.float32), std=1.0)
_STATE = Data(_X, "shape")
_AT = Times(0.5 * ones(1, 2), ones(1, 2))


def _zero(x, t):
    return jax.tree.map(jnp.zeros_like, x)


def _independent(x, t):
    return Prediction(_zero(x, t), x)


_ROLL = forcing.roll_out(_independent, COSINE, solvers.Euler(), TS, window=3, context=1)
USUAL = {
    "autoregressive forcing": {
        "model": _CHAIN,
        "model_at": constant(_PROCESS),
        "ts": Data(TS),
        "x": _CODES,
        "schedule": COSINE,
        "denoiser": _independent,
        "network": _zero,
        "solver": solvers.Euler(),
        "density": _PAIR,
        **dict.fromkeys(("outputs", "transitions"), _TWO),
        "t": Time(_AT.t),
        **dict.fromkeys(("x0", "x_t", "eps", "noise"), Data(_X)),
    }
}
ROWS = {
    "autoregressive.Categorical/log_prob": call(
        autoregressive.Categorical(num_codes=2).log_prob, x=Classes(np.array([0, 1]), num_classes=2)
    ),
    "autoregressive.Categorical/sample": call(
        autoregressive.Categorical(num_codes=3).sample, outputs=Data(_LOGITS.value, f"{_ANY_LOGITS}; integer")
    ),
    "autoregressive.Normal/log_prob": call(autoregressive.Normal().log_prob, x=_ONE_VALUE),
    "autoregressive.LogisticMixture/log_prob": call(
        autoregressive.LogisticMixture(components=1, bins=3).log_prob, outputs=_OUTPUTS, x=_ONE_VALUE
    ),
    "autoregressive.ar_process": call(coefficients=Data(floats(0.5, 0.1), "integer: one only, not stationary")),
    "autoregressive.markov_chain": call(initial=Data(np.zeros(2, np.float32), "integer", alias="transitions")),
    "autoregressive.log_prob/values": call(model=_PROCESS, x=_VALUES),
    "autoregressive.density_distillation_loss": call(
        teacher=_PROCESS, x=_VALUES, z=_VALUES, log_scale=_VALUES, regularisation=1.0
    ),
    "autoregressive.classifier_free": call(
        lambda guidance_scale: autoregressive.classifier_free(_CHAIN, _CHAIN, guidance_scale).outputs(
            jnp.zeros((1, 2), int)
        )
    ),
    "autoregressive.sample_joint": call(model=_GUIDED, length=3, answer=lambda found: found.x),
    "autoregressive.sample": call(length=3),
    "autoregressive.sample/prefix": call(length=3, prefix=_CODES),
    "autoregressive.beam_search": call(answer=lambda found: found.log_prob),
    "autoregressive.hamming_agreement": call(
        candidates=_ANY_CODES, samples=Data(_VALUES.value, "integer", alias="candidates")
    ),
    "autoregressive.minimum_bayes_risk": call(candidates=_ANY_CODES, samples=_ANY_CODES),
    "autoregressive.temperature": call(logits=_LOGITS),
    "autoregressive.top_k": call(logits=_LOGITS, k=1, answer=jax.nn.softmax),
    **{f"autoregressive.{name}": call(logits=_LOGITS, answer=jax.nn.softmax) for name in ("nucleus", "typical")},
    "autoregressive.condition_on_noise": call(
        lambda scale: autoregressive.condition_on_noise(_MODEL, COSINE, scale)(0.5).conditions, scale=0.25
    ),
    "autoregressive.smoothed_log_density": call(then="x t", x=_VALUES, t=0.5),
    "autoregressive.smoothed_loss": call(x0=_VALUES),
    "forcing.draw_times": call(sampler=times.uniform()),
    "forcing.denoising_loss": call(x0=_STATE),
    "forcing.denoising_loss_at": call(times=_AT),
    "forcing.denoising_loss_at/times": call(
        lambda t: forcing.denoising_loss_at(_zero, COSINE, _X, _X, Times(t, _AT.weight))[0]
    ),
    "forcing.exact_denoiser": call(then=""),
    "forcing.exact_denoiser/call": call(),
    "forcing.history_guidance": call(denoiser=forcing.exact_denoiser(_PAIR, COSINE, 2), x_t=_X, t=floats([0.0, 0.5])),
    "forcing.sample": call(key=None, x_init=_STATE, levels=Data(floats([1.0, 1.0], [0.0, 0.0])), stabilisation=0.1),
    "forcing.roll_out": call(
        functools.partial(forcing.roll_out, _independent, COSINE, solvers.Euler()),
        answer=lambda found: found.levels,
        context=0,
        chunk=1,
        stabilisation=0.1,
    ),
    "forcing.RollOut": call(lambda history: _ROLL.init(KEY, history).x, history=Data(_X, "shape")),
    "forcing.RollOut/length": call(lambda length: _ROLL.init(KEY, _X, length).x, length=Count(1, least=0)),
    "forcing.sample_long": call(
        sampler=_ROLL,
        like=Data(_X, "nan: only its shape is used", alias="history"),
        history=Data(_X, "nan: is not read by a denoiser of independent frames"),
    ),
}
