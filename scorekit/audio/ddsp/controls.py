"""Controls of a synthesiser: from frames to samples, and from any real numbers to amplitudes."""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from scorekit.arguments import PositiveInt, checked
from scorekit.audio._checks import check_signal
from scorekit.audio.stft import num_frames
from scorekit.typing import Array, ArrayLike

__all__ = ["exp_sigmoid", "upsample"]


@checked
def upsample(
    controls: ArrayLike, hop: PositiveInt, length: PositiveInt, method: Literal["linear", "hann"] = "linear"
) -> Array:
    """Controls of frames at every sample, ``sum_m w(n / hop - m) controls[m]``.

    ``w(u) = 1 - |u|`` (linear) or ``cos^2(pi u / 2)`` (overlapping Hann windows, smooth at the frames) for ``|u| < 1``:
    the weights of a sample add up to 1, and frame ``m`` is met at sample ``m hop``.

    Args:
      controls: controls ``(..., frames, C)``, with ``frames = 1 + ceil(length / hop)``.
      hop: samples from one frame to the next.
      length: number of samples of the result.
      method: kind of interpolation: "linear", for frequencies, or "hann", for amplitudes.

    Returns:
      Floating ``(..., length, C)``.

    >>> upsample(jnp.array([[0.0], [1.0], [0.0]]), 2, 4)[:, 0].tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    check_signal("(..., frames, C)", controls=controls)
    controls = jnp.asarray(controls)
    controls = controls.astype(jnp.promote_types(controls.dtype, jnp.float32))
    frames = num_frames(length, hop)
    if controls.shape[-2] != frames:
        raise ValueError(
            f"controls must have {frames} frames for a length of {length} and a hop of {hop}, got {controls.shape[-2]}"
        )
    fraction = jnp.arange(hop) / hop
    fraction = fraction if method == "linear" else jnp.sin(0.5 * jnp.pi * fraction) ** 2
    fraction = fraction[:, None].astype(controls.dtype)
    before, after = controls[..., :-1, None, :], controls[..., 1:, None, :]
    samples = (1.0 - fraction) * before + fraction * after
    return samples.reshape(*controls.shape[:-2], -1, controls.shape[-1])[..., :length, :]


def exp_sigmoid(x: ArrayLike) -> Array:
    """Real numbers as amplitudes: ``2 sigmoid(x)^ln(10) + 1e-7``, exponential for small ones and at most 2.

    Args:
      x: real numbers, such as the output of a network.

    Returns:
      Floating, shaped like ``x``, > 0.

    >>> [f"{a:.3f}" for a in exp_sigmoid(jnp.array([-2.0, 0.0, 10.0]))]
    ['0.015', '0.405', '2.000']
    """
    if jnp.issubdtype(jnp.result_type(x), jnp.complexfloating):
        raise ValueError(f"x must be real, got {jnp.result_type(x)}")
    x = jnp.asarray(x)
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return 2.0 * jnp.exp(math.log(10.0) * jax.nn.log_sigmoid(x)) + 1e-7
