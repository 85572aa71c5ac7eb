"""Peak normalisation of sounds."""

import jax.numpy as jnp

from scorekit.arguments import Positive, checked
from scorekit.audio._checks import check_signal
from scorekit.typing import Array, ArrayLike

__all__ = ["normalise_peak"]


@checked
def normalise_peak(sound: ArrayLike, peak: Positive) -> Array:
    """Scales each sound so that its largest absolute sample is ``peak``: ``x peak / max |x|``.

    Args:
      sound: sounds ``(..., L)``, full scale [-1, 1].
      peak: peak of the result. Sounds whose peak is below 2^-15 are scaled as if it were 2^-15.

    Returns:
      Shaped like ``sound``; silence stays silent.

    >>> normalise_peak(jnp.array([[0.0, 0.5, -0.25], [0.0, 0.0, 0.0]]), 0.75)
    Array([[ 0.   ,  0.75 , -0.375],
           [ 0.   ,  0.   ,  0.   ]], dtype=float32)
    """
    check_signal("(..., L)", sound=sound)
    return jnp.asarray(sound) * (peak / jnp.maximum(jnp.max(jnp.abs(sound), axis=-1, keepdims=True), 2.0**-15))
