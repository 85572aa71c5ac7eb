"""The parts of flows: scalar transforms, activation norm, invertible 1 x 1 convolution, couplings."""

import math
from typing import Annotated, Any, Literal, TypeAlias

import flax.linen as nn
import jax.numpy as jnp

from scorekit.arguments import Count, Positive, PositiveInt
from scorekit.networks._module import Module, Shape
from scorekit.networks._spatial import DType, add_map
from scorekit.networks.flows._splines import num_parameters, spline
from scorekit.typing import Array, ArrayLike

Transform: TypeAlias = Literal["additive", "affine", "spline"]
"""The bijection of each value: ``v + b``, ``v exp(a) + b``, or a spline of ``v exp(a) + b``."""
_LARGEST = 3.0
"""Bound of the log-scale a, so that a scale and its inverse stay within a factor of 20."""


class Flow(Module, kw_only=True):
    """An invertible network ``x -> z``, whose latents z are shaped like x and standard normal.

    A subclass has ``_forward`` and ``_inverse``, each ``(array, labels, vector, dense_map) -> (array, log_det)``.

    Attributes:
      transform: the bijection of each value: ``v + b`` ("additive"), ``v exp(a) + b`` ("affine", a in [-3, 3]), or a
        monotone rational-quadratic "spline" of the latter.
      bins: bins of a spline.
      bound: half of the length of the interval in which a spline is not the identity.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      dtype: dtype of the computation.
    """

    transform: Transform = "affine"
    bins: Annotated[int, Count(2, 256)] = 8
    bound: Positive[float] = 4.0
    num_classes: PositiveInt | None = None
    vector_size: PositiveInt | None = None
    dtype: DType = jnp.float32

    def __call__(
        self, x: ArrayLike, labels: ArrayLike | None = None, vector: Any = None, dense_map: Any = None
    ) -> tuple[Array, Array]:
        """The latents of data, and ``log |det dz/dx|``, ``(B,)``.

        Args:
          x: data ``(B, ...)``.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`Masked`, or None.
        """
        return self._forward(x, labels, vector, dense_map)

    def inverse(
        self, z: ArrayLike, labels: ArrayLike | None = None, vector: Any = None, dense_map: Any = None
    ) -> tuple[Array, Array]:
        """The data of latents, and ``log |det dx/dz|``, ``(B,)``.

        Args:
          z: latents, shaped like the data.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`Masked`, or None.
        """
        return self._inverse(z, labels, vector, dense_map)

    def log_prob(
        self, x: ArrayLike, labels: ArrayLike | None = None, vector: Any = None, dense_map: Any = None
    ) -> Array:
        """``log N(z; 0, I) + log |det dz/dx|``, nats ``(B,)``.

        Args:
          x: data ``(B, ...)``.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`Masked`, or None.
        """
        z, log_det = self(x, labels, vector, dense_map)
        return summed(-0.5 * jnp.square(z) - 0.5 * math.log(2.0 * math.pi)) + log_det


def summed(values: Array) -> Array:
    """The sum over all axes but the first."""
    return values.reshape(values.shape[0], -1).sum(1)


def num_outputs(transform: Transform, bins: int) -> int:
    """Parameters of the transform of one value."""
    return {"additive": 1, "affine": 2, "spline": 2 + num_parameters(bins)}[transform]


def transformed(x: Array, raw: Array, bound: float, inverse: bool) -> tuple[Array, Array]:
    """Transforms each value by its parameters ``(*x.shape, P)``; the identity where these are 0.

    Returns:
      The values, and the logarithms of the slopes, shaped like ``x``.
    """
    shift = raw[..., 0]
    a = _LARGEST * jnp.tanh(raw[..., 1] / _LARGEST) if raw.shape[-1] > 1 else jnp.zeros_like(x)
    curved = raw.shape[-1] > 2
    if inverse:
        y, log_slope = spline(x, raw[..., 2:], bound, inverse=True) if curved else (x, jnp.zeros_like(x))
        return (y - shift) * jnp.exp(-a), log_slope - a
    y = x * jnp.exp(a) + shift
    y, log_slope = spline(y, raw[..., 2:], bound) if curved else (y, jnp.zeros_like(x))
    return y, log_slope + a


class ActNorm(nn.Module):
    """``(x + b) exp(s)`` for each channel; the batch of initialisation comes out with mean 0 and variance 1.

    Source: Kingma and Dhariwal 2018 (https://arxiv.org/abs/1807.03039).
    """

    @nn.compact
    def __call__(self, x: Array, inverse: bool = False) -> tuple[Array, Array]:
        flat = x.reshape(-1, x.shape[-1])
        std = flat.std(0)
        log_scale = self.param("log_scale", lambda _: jnp.where(std > 1e-6, -jnp.log(jnp.maximum(std, 1e-6)), 0.0))
        bias = self.param("bias", lambda _: -flat.mean(0))
        log_det = jnp.sum(log_scale) * math.prod(x.shape[1:-1])
        if inverse:
            return x * jnp.exp(-log_scale) - bias, -log_det
        return (x + bias) * jnp.exp(log_scale), log_det


class InvertibleConv(nn.Module):
    """A 1 x 1 convolution by a square matrix, which begins as a rotation.

    Source: Kingma and Dhariwal 2018 (https://arxiv.org/abs/1807.03039).
    """

    @nn.compact
    def __call__(self, x: Array, inverse: bool = False) -> tuple[Array, Array]:
        channels = x.shape[-1]
        kernel = self.param("kernel", nn.initializers.orthogonal(), (channels, channels), jnp.float32)
        log_det = jnp.linalg.slogdet(kernel)[1] * math.prod(x.shape[1:-1])
        if inverse:
            return jnp.linalg.solve(kernel.T, x.reshape(-1, channels).T).T.reshape(x.shape), -log_det
        return jnp.matmul(x, kernel, precision="highest"), log_det


class Conditioner(nn.Module):
    """A residual network from some channels, and the conditions, to parameters of the others; zero at initialisation.

    Block i convolves with the dilation 2^i.
    """

    outputs: int
    features: int
    blocks: int
    map_shape: Shape | None
    dtype: DType

    @nn.compact
    def __call__(self, x: Array, total: Array | None, dense_map: Any = None) -> Array:
        rank, dtype = x.ndim - 2, self.dtype

        def layer(features, name, dilation=1, side=3, **options):
            if not rank:
                return nn.Dense(features, dtype=dtype, name=name, **options)
            return nn.Conv(features, (side,) * rank, kernel_dilation=dilation, dtype=dtype, name=name, **options)

        if total is not None and not self.blocks:
            raise ValueError("blocks must be >= 1 for a coupling with labels or a vector, which enter them, got 0")
        h = layer(self.features, "input")(x)
        h = add_map(h, dense_map, self.map_shape, dtype) if rank else h
        for i in range(self.blocks):
            y = layer(self.features, f"in_{i}", 2**i)(nn.silu(h))
            if total is not None:
                y = y + jnp.expand_dims(nn.Dense(self.features, name=f"film_{i}")(total), range(1, 1 + rank))
            h = h + layer(self.features, f"out_{i}", side=1)(nn.silu(y))
        zeros = nn.initializers.zeros
        return layer(self.outputs, "output", kernel_init=zeros)(nn.silu(h)).astype(jnp.float32)


class Coupling(nn.Module):
    """Transforms the second half of the channels, with parameters from the first half.

    Source: Dinh et al. 2015, NICE (https://arxiv.org/abs/1410.8516); Dinh et al. 2017, Real NVP
    (https://arxiv.org/abs/1605.08803).
    """

    transform: Transform
    bins: int
    bound: float
    features: int
    blocks: int
    map_shape: Shape | None
    dtype: DType

    @nn.compact
    def __call__(self, given: Array, x: Array, conditions: tuple, inverse: bool) -> tuple[Array, Array]:
        each = num_outputs(self.transform, self.bins)
        conditioner = Conditioner(x.shape[-1] * each, self.features, self.blocks, self.map_shape, self.dtype)
        raw = conditioner(given, *conditions).reshape(*x.shape, each)
        y, log_slope = transformed(x, raw, self.bound, inverse)
        return y, summed(log_slope)
