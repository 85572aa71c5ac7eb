"""Peak normalisation of sounds."""

import jax.numpy as jnp

from scorekit.audio._checks import check_signal
from scorekit.checks import check_positive
from scorekit.typing import Array, ArrayLike

__all__ = ["normalise_peak"]


def normalise_peak(sound: ArrayLike, peak: ArrayLike) -> Array:
    """Scales each sound so that its largest absolute sample is ``peak``: ``x peak / max |x|``.

    Args:
      sound: ``(..., L)``, full scale [-1, 1].
      peak: the peak of the result, > 0. Sounds whose peak is below 2^-15 are scaled as if it were 2^-15.

    Returns:
      Shaped like ``sound``; silence stays silent.

    Raises:
      ValueError: if ``sound`` is not real or is empty, or ``peak`` not finite and > 0.

    >>> normalise_peak(jnp.array([[0.0, 0.5, -0.25], [0.0, 0.0, 0.0]]), 0.75)
    Array([[ 0.   ,  0.75 , -0.375],
           [ 0.   ,  0.   ,  0.   ]], dtype=float32)
    """
    check_signal("(..., L)", sound=sound)
    check_positive(peak=peak)
    return jnp.asarray(sound) * (peak / jnp.maximum(jnp.max(jnp.abs(sound), axis=-1, keepdims=True), 2.0**-15))
