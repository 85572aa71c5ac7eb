"""Random flips and crops as pure functions of a key and a batch of images; none changes the values of pixels.

Both change the distribution that a model learns: a model of flipped images draws flipped ones. Where it must not,
:func:`scorekit.data.edm_augment` tells the network what was done.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from scorekit.arguments import Fraction, NonNegativeInt, checked
from scorekit.data._images import check_images
from scorekit.typing import Array, ArrayLike, Key

__all__ = ["random_crop", "random_flip"]

_Mode = Literal["constant", "edge", "reflect", "wrap"]


@checked
def random_flip(key: Key, x: ArrayLike, probability: Fraction = 0.5) -> Array:
    """Flips each image from left to right with a probability: ``y[b, i, j] = x[b, i, W - 1 - j]``.

    Args:
      key: PRNG key.
      x: images ``(B, H, W, C)`` of any dtype.
      probability: probability of each flip.

    Returns:
      Images of the shape and dtype of ``x``.

    >>> x = jnp.arange(3).reshape(1, 1, 3, 1)
    >>> random_flip(jax.random.key(0), x, probability=1.0).ravel().tolist()
    [2, 1, 0]
    """
    x = jnp.asarray(x)
    check_images(x)
    flipped = jax.random.bernoulli(key, probability, (x.shape[0], 1, 1, 1))
    return jnp.where(flipped, x[:, :, ::-1], x)


@checked
def random_crop(key: Key, x: ArrayLike, padding: NonNegativeInt, mode: _Mode = "reflect") -> Array:
    """Pads each image on all sides and crops it to its size again at a random position.

    ``y[b, i, j] = padded[b, i + m, j + n]`` with m and n uniform on 0, …, 2 ``padding``: a translation by up to
    ``padding`` pixels.

    Args:
      key: PRNG key.
      x: images ``(B, H, W, C)`` of any dtype.
      padding: pixels on each side; with ``"reflect"`` and ``"wrap"`` at most what an image can supply.
      mode: pixels outside: ``"constant"`` (zeros), ``"edge"`` (the pixel at the edge), ``"reflect"`` (the image
        mirrored at its edge pixels) or ``"wrap"`` (the image again).

    Returns:
      Images of the shape and dtype of ``x``.

    >>> x = jnp.arange(3).reshape(1, 1, 3, 1)
    >>> random_crop(jax.random.key(1), x, 1, mode="wrap").shape
    (1, 1, 3, 1)
    """
    x = jnp.asarray(x)
    check_images(x)
    most = min(x.shape[1:3]) - (mode == "reflect")
    if mode in ("reflect", "wrap") and padding > most:
        raise ValueError(f"padding must be at most {most} for images {x.shape[1:3]} with mode={mode!r}, got {padding}")
    padded = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode=mode)
    corner = jax.random.randint(key, (x.shape[0], 2), 0, 2 * padding + 1)
    return jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), x.shape[1:]))(padded, corner)
