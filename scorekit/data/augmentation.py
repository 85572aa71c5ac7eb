"""Augmentation of images as pure functions of a key and a batch.

Random flips and crops change the distribution that a model learns: a model of flipped images draws flipped ones. The
non-leaking augmentation of EDM tells the network the transformation: a network that is given the parameters of the
transformation as a condition learns the transformed distributions apart, and draws untransformed images at the
condition zero. Each transformation is done with its own probability:

====  ===============  ================================================  =================  =====================
a     transformation   of the content                                    a                  labels
====  ===============  ================================================  =================  =====================
0     x-flip           ``diag(1 - 2 a0, 1)``                             0 or 1, even odds  a0
1     y-flip           ``diag(1, 1 - 2 a1)``                             0 or 1, even odds  a1
2     scaling          ``2^(a2 / 5)``                                    N(0, 1)            a2
3     rotation         ``R(a3)``                                         U(-π, π)           cos a3 - 1, sin a3
4, 5  anisotropy       ``R(a4) diag(2^(a5 / 5), 2^(-a5 / 5)) R(-a4)``    U(-π, π), N(0, 1)  a5 cos a4, a5 sin a4
6, 7  translation      by ``(W a6 / 8, H a7 / 8)`` pixels                N(0, 1), N(0, 1)   a6, a7
====  ===============  ================================================  =================  =====================

What is not done has the parameters zero, which is the identity and the labels zero. The description leaves open, and
this implementation decides:

* the order: as in the table, the flips first and the translation last;
* whether an enabled flip flips always or half of the time: half of the time, so that a flip's own probability is half
  of the argument; the paper flips from left to right with a separate probability, here ``flip_probability``;
* directions: x points right, y down, angles turn from x to y, translations move the content right and down;
* resampling: Keys's cubic convolution of the image mirrored at its edge pixels, which is exact where pixels fall on
  pixels (flips, quarter turns of square images, whole translations), where the paper takes longer wavelet filters.

>>> x = jnp.arange(3.0).reshape(1, 1, 3, 1)
>>> random_flip(jax.random.key(0), x, probability=1.0).ravel().tolist()
[2.0, 1.0, 0.0]
>>> random_crop(jax.random.key(1), x, 1, mode="wrap").shape
(1, 1, 3, 1)
>>> y, labels = edm_augment(jax.random.key(0), x, probability=0.0)
>>> bool((y == x).all()), labels.tolist()
(True, [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
"""

from typing import Literal

import jax
import jax.numpy as jnp

from scorekit.arguments import Fraction, NonNegativeInt, checked
from scorekit.checks import check_floating
from scorekit.numerics import wide
from scorekit.typing import Array, ArrayLike, Key, Number

_Mode = Literal["constant", "edge", "reflect", "wrap"]


@checked
def random_flip(key: Key, x: ArrayLike, probability: Fraction[Number] = 0.5) -> Array:
    """Flips each image from left to right with a probability: ``y[b, i, j] = x[b, i, W - 1 - j]``.

    Args:
      key: PRNG key.
      x: images ``(B, H, W, C)`` of any dtype.
      probability: probability of each flip.
    """
    x = jnp.asarray(x)
    _check_images(x)
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
      padding: pixels on each side; with ``"reflect"`` and ``"wrap"`` at most as much as an image can supply.
      mode: pixels outside: ``"constant"`` (zeros), ``"edge"`` (the pixel at the edge), ``"reflect"`` (the image
        mirrored at its edge pixels) or ``"wrap"`` (the image again).
    """
    x = jnp.asarray(x)
    _check_images(x)
    most = min(x.shape[1:3]) - (mode == "reflect")
    if mode in ("reflect", "wrap") and padding > most:
        raise ValueError(f"padding must be at most {most} for images {x.shape[1:3]} with mode={mode!r}, got {padding}")
    padded = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode=mode)
    corner = jax.random.randint(key, (x.shape[0], 2), 0, 2 * padding + 1)
    return jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), x.shape[1:]))(padded, corner)


EDM_LABELS = 9
"""The number of labels of an image from :func:`edm_augment`."""
_SCALE, _TRANSLATION = 2.0**0.2, 0.125


@checked
def edm_augment(
    key: Key, x: ArrayLike, probability: Fraction[Number] = 0.12, flip_probability: Fraction[Number] | None = None
) -> tuple[Array, Array]:
    """Random geometric transformations of images, and the labels that describe them to the network.

    ``y(p) = x(A⁻¹ (p - t))`` with positions ``p`` from the centre of the image, the matrix A the product of flips,
    scaling, rotation and anisotropic scaling, and the translation t; the labels are zero where nothing was done.

    Args:
      key: PRNG key.
      x: images ``(B, H, W, C)``, floating.
      probability: probability of each of the six transformations; the paper has 0.12 for images of 32 by 32 and 0.15
        for larger ones.
      flip_probability: probability of the x-flip, ``probability`` if None. The paper draws it always, 1.0.

    Source: Karras et al. 2022, appendix F.2 (https://arxiv.org/abs/2206.00364).
    """
    x = jnp.asarray(x)
    _check_images(x)
    check_floating(x=x)
    flip_probability = probability if flip_probability is None else flip_probability
    a = _draw(key, x.shape[0], jnp.asarray(probability), jnp.asarray(flip_probability))
    return _transform(x, a), _labels(a)


def _transform(x: Array, a: Array) -> Array:
    """Images ``(B, H, W, C)`` transformed by their parameters ``a``, ``(B, 8)``; the module explains these."""
    height, width = x.shape[1:3]
    inverse, shift = jax.vmap(lambda a: _inverse(a, height, width))(a)
    return jax.vmap(_resample)(x, inverse, shift)


def _draw(key: Key, n: int, probability: Array, flip_probability: Array) -> Array:
    """The parameters ``(n, 8)``, zero for a transformation that is not done."""
    chosen, flip, angle, normal = jax.random.split(key, 4)
    chances = jnp.stack([flip_probability, *[probability] * 5])
    done = jax.random.uniform(chosen, (n, 6)) < chances
    flips = jax.random.bernoulli(flip, 0.5, (n, 2)).astype(jnp.float32)
    angles = jax.random.uniform(angle, (n, 2), minval=-jnp.pi, maxval=jnp.pi)
    normals = jax.random.normal(normal, (n, 4))
    a = [flips[:, 0], flips[:, 1], normals[:, 0], angles[:, 0], angles[:, 1], *normals[:, 1:].T]
    return jnp.stack(a, axis=1) * done[:, jnp.array([0, 1, 2, 3, 4, 4, 5, 5])]


def _labels(a: Array) -> Array:
    a0, a1, a2, a3, a4, a5, a6, a7 = a.T
    cosine, sine = 0.0 - 2.0 * jnp.sin(a3 / 2.0) ** 2, jnp.sin(a3)  # cos a3 - 1
    return jnp.stack([a0, a1, a2, cosine, sine, a5 * jnp.cos(a4), a5 * jnp.sin(a4), a6, a7], axis=1)


def _inverse(a: Array, height: int, width: int) -> tuple[Array, Array]:
    """A⁻¹ ``(2, 2)`` and t ``(2,)`` in pixels, both in the order (x, y)."""
    scale, stretch = _SCALE ** -a[2], _SCALE ** -a[5]
    flips = jnp.diag(1.0 - 2.0 * a[:2])
    unstretch = _rotation(a[4]) @ jnp.diag(jnp.stack([stretch, 1.0 / stretch])) @ _rotation(-a[4])
    shift = _TRANSLATION * a[6:] * jnp.array([width, height])
    return scale * flips @ _rotation(-a[3]) @ unstretch, shift


def _rotation(angle: Array) -> Array:
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.array([[c, -s], [s, c]])


def _resample(image: Array, inverse: Array, shift: Array) -> Array:
    """One image ``(H, W, C)`` at the positions ``inverse (p - shift)``."""
    size = jnp.array(image.shape[1::-1])  # W, H
    centre = (size - 1) / 2.0
    rows, columns = jnp.meshgrid(*(jnp.arange(n, dtype=jnp.float32) for n in image.shape[:2]), indexing="ij")
    from_centre = jnp.stack([columns, rows], axis=-1) - centre - shift
    position = jnp.einsum("ij,hwj->hwi", inverse, from_centre, precision="highest") + centre  # pixels, (x, y)
    nearest = jnp.round(position)
    position = jnp.where(jnp.abs(position - nearest) < 1e-4, nearest, position)  # rounding must not blur
    first = jnp.floor(position)
    weights = _cubic(position - first)  # (4, H, W, 2)
    at = jnp.stack([_mirror(first.astype(jnp.int32) + k, size) for k in range(-1, 3)])
    values = wide(image)

    def of_row(k):
        return jnp.sum(weights[..., 0, None] * values[at[k, ..., 1], at[..., 0]], axis=0)

    total = jnp.sum(jnp.stack([weights[k, ..., 1, None] * of_row(k) for k in range(4)]), axis=0)
    return total.astype(image.dtype)


def _cubic(u: Array) -> Array:
    """The weights of the four pixels around a position ``u`` in [0, 1) after the second of them."""
    return jnp.stack(
        [
            u * (-0.5 + u * (1.0 - 0.5 * u)),
            1.0 + u * u * (-2.5 + 1.5 * u),
            u * (0.5 + u * (2.0 - 1.5 * u)),
            u * u * (-0.5 + 0.5 * u),
        ]
    )


def _mirror(index: Array, size: Array) -> Array:
    """Indices of any value as indices of the image mirrored at its edge pixels."""
    period = jnp.maximum(2 * (size - 1), 1)
    index = jnp.mod(index, period)
    return jnp.minimum(index, jnp.minimum(period - index, size - 1))


def _check_images(x: ArrayLike) -> None:
    """Raises a ``ValueError`` unless ``x`` has the shape of images ``(B, H, W, C)`` and holds values."""
    shape = jnp.shape(x)
    if len(shape) != 4 or 0 in shape:
        raise ValueError(f"x must be images (B, H, W, C), none of them 0, got shape {shape}")
