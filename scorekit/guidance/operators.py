"""Observation operators: ``y = A(x0) + noise_std z``, with A as a plain function.

An operator is any function from a batch of data to a batch of observations, trees of arrays with a leading batch axis.
It is never a matrix: methods use ``A v`` and ``A' u``, and the latter is the transpose of the function. The operators
of this module apply to every leaf of a tree, and all but :func:`clip` are linear. Any other differentiable function
works as well: :mod:`scorekit.guidance.inverse` linearises nonlinear operators. Data of which an argument has another
number of axes, sizes or channels are a ``ValueError``.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from scorekit.arguments import Between, NonNegativeInt, Positive, PositiveInt, checked
from scorekit.checks import check, check_axes, check_broadcasts, check_finite, check_floating
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, Number, Numbers, PyTree

__all__ = [
    "Operator",
    "adjoint",
    "average_pool",
    "blur",
    "clip",
    "gaussian_kernel",
    "grayscale",
    "low_pass_kernel",
    "mask",
]

Operator: TypeAlias = Callable[[PyTree], PyTree]
"""``x0 -> y``: the noiseless observation of the data."""


def adjoint(operator: Operator, like: PyTree) -> Operator:
    """The adjoint ``A'``, with ``<A x, y> = <x, A' y>``, by transposing the function.

    Args:
      operator: a linear function. (An additive constant is not detected.)
      like: arrays or ``jax.ShapeDtypeStruct`` with the shapes and dtypes of its argument.

    Returns:
      ``y -> A' y``, shaped like ``like``.

    >>> adjoint(average_pool(2), jnp.zeros((1, 4, 1)))(jnp.ones((1, 2, 1))).ravel()
    Array([0.5, 0.5, 0.5, 0.5], dtype=float32)
    """
    check_floating(like=like)
    transposed = jax.linear_transpose(operator, like)

    def apply(y):
        try:
            return transposed(y)[0]
        except (NotImplementedError, AssertionError) as error:
            raise ValueError(f"operator must be linear to have an adjoint, got {operator}") from error

    return apply


def _masked(keep, x):
    check_floating(x=x)
    check_broadcasts("x", x, keep=keep)
    exact = lambda k: jnp.where((k == 0) | (k == 1), k, jnp.nan)  # a traced mask
    return jax.tree.map(lambda leaf, k: leaf * exact(jnp.asarray(k, leaf.dtype)), x, keep)


def mask(keep: PyTree) -> Operator:
    """Inpainting: ``A x = keep x``; unobserved values are 0 in the observation.

    Args:
      keep: mask, True or 1 where the data are observed, a tree like one example (or like the batch).

    >>> mask(jnp.array([True, False]))(jnp.full((1, 2), 3.0))
    Array([[3., 0.]], dtype=float32)
    """
    for leaf in jax.tree.leaves(keep):
        check(lambda m: (m == 0) | (m == 1), "True or 1 where the data are observed, else False or 0", keep=leaf)
    return Partial(_masked, keep)


@pytree_dataclass
class _AveragePool:
    factor: int = static()

    def __call__(self, x):
        return jax.tree.map(self._leaf, x)

    def _leaf(self, x):
        _check_spatial(x)
        sizes = x.shape[1:-1]
        if any(size % self.factor for size in sizes):
            raise ValueError(f"x must have spatial sizes that are multiples of factor = {self.factor}, got {sizes}")
        split = [part for size in sizes for part in (size // self.factor, self.factor)]
        blocks = x.reshape(x.shape[0], *split, x.shape[-1])
        return jnp.mean(blocks, axis=tuple(range(2, 2 * len(sizes) + 1, 2)))


@checked
def average_pool(factor: PositiveInt) -> Operator:
    """Super-resolution: the mean over blocks of ``factor`` pixels along each spatial axis of ``(B, ..., C)``.

    Args:
      factor: the size of a block, a divisor of the sizes.

    >>> average_pool(2)(jnp.arange(4.0).reshape(1, 4, 1)).ravel()
    Array([0.5, 2.5], dtype=float32)
    """
    return _AveragePool(factor=factor)


@pytree_dataclass
class _Blur:
    kernel: ArrayLike
    edge: str = static()

    def __call__(self, x):
        return jax.tree.map(self._leaf, x)

    def _leaf(self, x):
        _check_spatial(x)
        kernel, spatial = jnp.asarray(self.kernel, x.dtype), x.ndim - 2
        if kernel.ndim != spatial:
            raise ValueError(f"kernel must have the {spatial} spatial axes of x, got shape {kernel.shape}")
        before_after = [((size - 1) // 2, size // 2) for size in kernel.shape]
        mode = "constant" if self.edge == "zero" else self.edge
        padded = jax.vmap(lambda image: jnp.pad(image, [*before_after, (0, 0)], mode=mode))(x)
        rows = jnp.moveaxis(padded, -1, 1)  # every channel is a separate image
        flipped = jnp.flip(kernel)[None, None]  # a convolution, where lax correlates
        out = jax.lax.conv_general_dilated(
            rows.reshape(-1, 1, *rows.shape[2:]),
            flipped,
            (1,) * spatial,
            "VALID",
            precision=jax.lax.Precision.HIGHEST,
        )
        return jnp.moveaxis(out.reshape(*rows.shape[:2], *out.shape[2:]), 1, -1)


@checked
def blur(kernel: ArrayLike, edge: Literal["edge", "reflect", "wrap", "zero"] = "edge") -> Operator:
    """Deblurring: convolution of every channel with ``kernel``; the output has the size of the data.

    Args:
      kernel: ``(k, k)`` for images ``(B, H, W, C)``, ``(k,)`` for signals ``(B, L, C)``, centred at index ``k // 2``.
      edge: the padding: "edge" repeats the outermost value, "reflect" mirrors, "wrap" is periodic, "zero" is zeros.

    >>> blur(jnp.ones(3) / 3)(jnp.arange(4.0).reshape(1, 4, 1)).ravel().round(1)
    Array([0.3, 1. , 2. , 2.7], dtype=float32)
    """
    if jnp.ndim(kernel) < 1 or jnp.size(kernel) == 0:
        raise ValueError(f"kernel must hold values, got shape {jnp.shape(kernel)}")
    check_finite(kernel=kernel)
    return _Blur(kernel=kernel, edge=edge)


@checked
def gaussian_kernel(std: Positive[Number], radius: NonNegativeInt, num_axes: PositiveInt = 2) -> Array:
    """``exp(-|i|^2 / (2 std^2))`` for ``|i| <= radius`` along each axis, with sum 1; for :func:`blur`.

    Args:
      std: standard deviation, in pixels.
      radius: half the extent: the kernel has ``2 radius + 1`` entries along an axis.
      num_axes: number of axes, 2 for images and 1 for signals.

    >>> gaussian_kernel(1.0, 1, num_axes=1).round(1)
    Array([0.3, 0.5, 0.3], dtype=float32)
    """
    line = jnp.exp(-0.5 * jnp.square(jnp.arange(-radius, radius + 1) / std))
    kernel = line
    for _ in range(num_axes - 1):
        kernel = kernel[..., None] * line
    return kernel / kernel.sum()


@checked
def low_pass_kernel(cutoff: Annotated[float, Between(0, 0.5, "both")], radius: PositiveInt) -> np.ndarray:
    """A low-pass filter for bandwidth extension, for :func:`blur`: a sinc with a Hann window, with sum 1.

    ``sin(2 pi cutoff i) / (pi i) cos^2(pi i / (2 radius + 2))`` for ``|i| <= radius``, over its sum.

    Args:
      cutoff: frequency at which the gain is 1/2, in cycles per sample (frequency over sample rate).
      radius: half the extent: the kernel has ``2 radius + 1`` entries; the gain falls from 1 to 0 over about
        ``2 / radius``.

    >>> low_pass_kernel(0.25, 2).round(2).tolist()
    [0.0, 0.24, 0.51, 0.24, 0.0]
    """
    i = np.arange(-radius, radius + 1)
    kernel = 2 * cutoff * np.sinc(2 * cutoff * i) * np.cos(np.pi * i / (2 * radius + 2)) ** 2
    return kernel / kernel.sum()


def _clipped(level, intact, x):
    def clipped(leaf, keep):
        bound = jnp.asarray(level, leaf.dtype)
        return jnp.where(keep, leaf, jnp.clip(leaf, -bound, bound))

    check_floating(x=x)
    check_broadcasts("x", x, intact=intact)
    return jax.tree.map(clipped, x, intact)


@checked
def clip(level: Positive[Number], intact: PyTree) -> Operator:
    """Declipping: ``min(max(x, -level), level)``, and x itself where the observation is not clipped.

    Piecewise linear. Where the data were clipped, an estimate below the level is moved up to it, and one beyond the
    level agrees with the observation and is not changed: the gradient there is 0. Without ``intact`` an estimate beyond
    the level would not be changed even where the observation is below it.

    Args:
      level: largest absolute value, a scalar or an array that broadcasts with the data.
      intact: a tree like the observations: True where ``|y| < level``.

    >>> y = jnp.array([[-1.0, 0.5, 1.0]])
    >>> clip(1.0, jnp.abs(y) < 1)(jnp.array([[-3.0, 2.0, 0.7]]))
    Array([[-1. ,  2. ,  0.7]], dtype=float32)
    """
    return Partial(_clipped, level, intact)


def _weighted_channels(weights, x):
    check_floating(x=x)
    for leaf in jax.tree.leaves(x):
        check_axes(np.size(weights), x=leaf)
    return jax.tree.map(lambda leaf: jnp.sum(leaf * jnp.asarray(weights, leaf.dtype), axis=-1), x)


def grayscale(weights: Numbers = (0.299, 0.587, 0.114)) -> Operator:
    """Colourisation: the luminance of ``(B, ..., C)`` data, ``(B, ...)``.

    Args:
      weights: weight of each of the C channels; by default the luma of ITU-R BT.601.

    >>> grayscale()(jnp.ones((1, 2, 2, 3))).shape
    (1, 2, 2)
    """
    if np.ndim(weights) != 1 or np.size(weights) == 0:
        raise ValueError(f"weights must be (C,), one for each channel, got {np.shape(weights)}")
    check_finite(weights=weights)
    return Partial(_weighted_channels, np.asarray(weights) if isinstance(weights, Sequence) else weights)


def _check_spatial(x: Array) -> None:
    check_floating(x=x)
    if jnp.ndim(x) < 3:
        raise ValueError(f"x must be (B, ..., C) with spatial axes between, got shape {jnp.shape(x)}")
