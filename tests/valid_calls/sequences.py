"""Autoregressive models of two codes, and diffusion forcing of two frames of one value."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import autoregressive, forcing, solvers
from scorekit.times import Times
from scorekit.typing import Prediction
from valid_calls.common import COSINE, TS, floats, ones
from valid_calls.kinds import Classes, Data, Time, call

_CHAIN = autoregressive.markov_chain(np.zeros(2, np.float32), np.zeros((2, 2), np.float32))
_PROCESS = autoregressive.ar_process([0.5])
_CODES = Classes(np.array([[0, 1], [1, 1]]), num_classes=2)
_VALUES = Data(ones(2, 3, 1))
_ANY_LOGITS = "shape: any leading axes, and one code; empty: no logits"
_LOGITS = Data(np.zeros((2, 3), np.float32), _ANY_LOGITS)
_OUTPUTS, _ONE_VALUE = Data(_LOGITS.value, "integer"), Data(np.zeros((2, 1), np.float32), "integer", alias="outputs")
_TWO = Data(np.zeros((2, 2), np.float32), "integer")
_X = ones(1, 2, 1)
_STATE = Data(_X, "shape")
_AT = Times(0.5 * ones(1, 2), ones(1, 2))


def _zero(x, t):
    return jax.tree.map(jnp.zeros_like, x)


def _independent(x, t):
    return Prediction(_zero(x, t), x)


USUAL = {
    "autoregressive forcing": {
        "model": _CHAIN,
        "ts": Data(TS),
        "x": _CODES,
        "schedule": COSINE,
        "denoiser": _independent,
        "solver": solvers.Euler(),
        **dict.fromkeys(("outputs", "transitions"), _TWO),
        "t": Time(_AT.t),
    }
}
_BY_USUAL = """
    autoregressive.bits_per_sample autoregressive.log_prob autoregressive.position_log_probs
    forcing.full_sequence forcing.pyramid
"""
ROWS = {
    **dict.fromkeys(_BY_USUAL.split(), call()),
    "autoregressive.Categorical/log_prob": call(
        autoregressive.Categorical(num_codes=2).log_prob, x=Classes(np.array([0, 1]), num_classes=2)
    ),
    "autoregressive.Normal/log_prob": call(autoregressive.Normal().log_prob, x=_ONE_VALUE),
    "autoregressive.LogisticMixture/log_prob": call(
        autoregressive.LogisticMixture(components=1, bins=3).log_prob, outputs=_OUTPUTS, x=_ONE_VALUE
    ),
    "autoregressive.markov_chain": call(initial=Data(np.zeros(2, np.float32), "integer", alias="transitions")),
    "autoregressive.log_prob/values": call(model=_PROCESS, x=_VALUES),
    "autoregressive.sample/prefix": call(length=3, prefix=_CODES),
    "forcing.denoising_loss_at/times": call(
        lambda t: forcing.denoising_loss_at(_zero, COSINE, _X, _X, Times(t, _AT.weight))[0]
    ),
    "forcing.sample": call(key=None, x_init=_STATE, levels=Data(floats([1.0, 1.0], [0.0, 0.0])), stabilisation=0.1),
}
