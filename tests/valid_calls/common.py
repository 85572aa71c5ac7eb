"""What the valid calls of several packages share: a key, schedules, small arrays, and functions that are constant."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import schedules
from scorekit.typing import Prediction
from valid_calls.kinds import Data, Shaped, Time

KEY = jax.random.key(0)
FLOW, COSINE = schedules.RectifiedFlow(), schedules.Cosine()


def floats(*values):
    """An array of these numbers in single precision."""
    return np.array(values, np.float32)


def ones(*shape):
    """An array of ones in single precision."""
    return np.ones(shape, np.float32)


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


def zero(x, t):
    """A network whose output is zero, and NaN where the state is."""
    return 0.0 * x


X, EACH, T = ones(2, 3), ones(2), floats(0.25, 0.5)
TS = floats(1.0, 0.5, 0.0)
ENDS = "integer: 0 and 1 are times"
FLOATS = Data(EACH, "integer")
PREDICTION = Shaped(X, alias="prediction", of=fixed)
OUTPUT = Shaped(X, alias="output", of=constant)
SAME = Data(X, alias="t")
USUAL = {
    "scorekit": {
        "key": KEY,
        "schedule": FLOW,
        "network": zero,
        "t": Time(T),
        "guidance_scale": 2.0,
        **dict.fromkeys(("x0", "eps"), Data(X)),
    }
}
