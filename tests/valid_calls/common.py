"""What the valid calls of several packages share: a key, schedules, small arrays, and functions that are constant."""

import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import schedules
from scorekit.typing import Prediction
from valid_calls.kinds import Data, Shaped, Time

KEY = jax.random.key(0)
FLOW, COSINE = schedules.rectified_flow(), schedules.cosine()
X = np.ones((2, 3), np.float32)
EACH = np.ones(2, np.float32)
T, S = np.array([0.5, 0.75], np.float32), np.array([0.125, 0.25], np.float32)
ANY_T, ANY_S = (Time(t, "axes, longer") for t in (T, S))
ENDS = "integer: 0 and 1 are times"


def fixed(x0):
    """A denoiser whose prediction is ``x0``, and NaN where the state or the time is; a flow map as well."""

    def denoiser(x, t, s=0.0):
        zero = 0.0 * (jnp.sum(x) + jnp.sum(t))
        value = jax.tree.map(lambda leaf: leaf + zero, x0)
        return Prediction(value, value)

    return denoiser


def constant(output):
    """A network with this output."""
    return lambda *inputs: output


def denoiser(x, t, s=0.0):
    """Predicts the state itself."""
    return fixed(x)(x, t)


def in_folder(function):
    """A function of a temporary folder and of named arguments, as one of the arguments alone."""

    def run(**arguments):
        with tempfile.TemporaryDirectory() as folder:
            return function(folder, **arguments)

    return run


PREDICTION = Shaped(X, alias="prediction", of=fixed)
OUTPUT = Shaped(X, alias="output", of=constant)
SAME = Data(X, alias="t")
