"""Stationary Gaussian random fields on a periodic grid: exact distributions of images and signals of any size."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Finite, Positive, PositiveInt, checked
from scorekit.checks import check, check_axes, check_scalar, check_shape
from scorekit.numerics import wide
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, Key, Number, Prediction


@pytree_dataclass
class RandomField:
    """A stationary Gaussian field; build it with :func:`random_field` or :func:`power_law`.

    A stationary covariance is diagonal in the Fourier basis: the orthonormal coefficient at frequency f has variance
    ``P(f)``, the power spectrum, and all operations of a Gaussian are filters. With ``x0 = m + field`` and
    ``x_t = alpha x0 + sigma eps`` the exact denoiser is the Wiener filter,

        ``E[x0 | x_t](f) = m(f) + alpha P / (alpha^2 P + sigma^2) (x_t - alpha m)(f)``.

    Fields have the shape ``(..., *grid, C)``: one to three axes of the grid and a last axis of independent channels
    with the same spectrum. :func:`scorekit.denoisers.exact_denoiser` makes a denoiser of one.

    Attributes:
      power: the variance of each orthonormal Fourier coefficient, shaped as the grid and ordered as by ``fftfreq``.
      mean: mean of the field, a number or an array that broadcasts to ``(*grid, C)``.
      channels: number C of independent channels.

    >>> field: RandomField = random_field(jnp.ones((4, 6)))
    >>> field.flow(jnp.ones((4, 6, 1)), (1.0, 1.0), (1.0, 0.0)).mean().round(4)  # less noise: towards the mean of 0
    Array(0.7071, dtype=float32)
    """

    power: Array
    mean: Number = 0.0
    channels: int = static(default=1)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one field, ``(*grid, C)``."""
        return (*self.power.shape, self.channels)

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-1 - self.power.ndim, -1))

    def _filter(self, x: Array, gain: Array) -> Array:
        """Multiplies each Fourier coefficient of ``x`` by ``gain`` (grid,), which is even in the frequency."""
        half = gain[..., : self.power.shape[-1] // 2 + 1, None]
        x = wide(x)
        return jnp.fft.irfftn(jnp.fft.rfftn(x, axes=self._axes) * half, s=self.power.shape, axes=self._axes)

    def sample(self, key: Key, shape: tuple[int, ...] = ()) -> Array:
        """Draws ``shape + (*grid, C)``."""
        check_shape(shape=shape)
        noise = jax.random.normal(key, (*shape, *self.shape), self.power.dtype)
        return jnp.asarray(self.mean) + self._filter(noise, jnp.sqrt(self.power))

    def log_density(self, x: Array) -> Array:
        """``log p(x)`` in nats; ``(..., *grid, C) -> (...)``."""
        check_axes(*self.shape, x=x)
        coefficients = jnp.fft.fftn(x - self.mean, axes=self._axes, norm="ortho")
        squares = jnp.square(coefficients.real) + jnp.square(coefficients.imag)
        quadratic = jnp.sum(squares / self.power[..., None], axis=(*self._axes, -1))
        return -0.5 * (quadratic + self._log_det() + math.prod(self.shape) * math.log(2 * math.pi))

    def entropy(self) -> Array:
        """Differential entropy in nats, ``(D (1 + log 2 pi) + C sum log P) / 2``."""
        return 0.5 * (self._log_det() + math.prod(self.shape) * (1.0 + math.log(2 * math.pi)))

    def _log_det(self) -> Array:
        return self.channels * jnp.sum(jnp.log(self.power))

    def marginal(self, alpha: Number, sigma: Number) -> "RandomField":
        """The density of ``alpha x0 + sigma eps``: white noise raises the spectrum by its variance."""
        check_scalar(alpha=alpha, sigma=sigma)
        power = jnp.square(alpha) * self.power + jnp.square(sigma)
        return RandomField(power=power, mean=alpha * self.mean, channels=self.channels)

    def predict(self, x_t: Array, alpha: Number, sigma: Number) -> Prediction:
        """The exact ``E[x0 | x_t]`` and ``E[eps | x_t]``; alpha and sigma are scalars."""
        check_axes(*self.shape, x_t=x_t)
        noisy = self.marginal(alpha, sigma)
        centred = x_t - noisy.mean
        x0 = self._filter(centred, alpha * self.power / noisy.power)
        return Prediction(self.mean + x0, self._filter(centred, sigma / noisy.power))

    def flow(self, x: Array, start: tuple[Number, Number], end: tuple[Number, Number]) -> Array:
        """The exact probability-flow map from ``(alpha, sigma) = start`` to ``end``.

        Args:
          x: states at ``start``, ``(..., *grid, C)``.
          start: ``(alpha, sigma)``, scalars.
          end: ``(alpha, sigma)`` of the result.

        Returns:
          The states at ``end``, shaped like ``x``.
        """
        check_axes(*self.shape, x=x)
        before, after = self.marginal(*start), self.marginal(*end)
        return jnp.asarray(after.mean) + self._filter(x - before.mean, jnp.sqrt(after.power / before.power))


@checked
def random_field(power: Positive[ArrayLike], mean: Finite[Number] = 0.0, channels: PositiveInt = 1) -> RandomField:
    """A stationary Gaussian field with the given power spectrum.

    Args:
      power: variance of each orthonormal Fourier coefficient, shaped as the grid of 1 to 3 axes, ordered as by
        ``jnp.fft.fftfreq``; > 0, and the same at f and -f. White noise of variance v is ``v`` everywhere; the mean of
        ``power`` is the variance of a pixel.
      mean: mean of the field, a number or an array that broadcasts to ``(*grid, C)``.
      channels: number C of independent channels, the last axis of a draw.

    >>> random_field(jnp.ones((4, 6))).predict(jnp.ones((4, 6, 1)), 1.0, 1.0).x0[0, 0]
    Array([0.5], dtype=float32)
    """
    power = jnp.asarray(power, jnp.result_type(power, float) if isinstance(power, jax.Array) else float)
    if not 1 <= power.ndim <= 3 or not power.size:
        raise ValueError(f"power must have the 1 to 3 axes of a grid, not empty, got shape {power.shape}")
    mean, shape = jnp.asarray(mean, power.dtype), (*power.shape, channels)
    if mean.ndim > len(shape) or any(a not in (1, b) for a, b in zip(mean.shape[::-1], shape[::-1], strict=False)):
        raise ValueError(f"mean must broadcast to the grid of power and channels, {shape}, got shape {mean.shape}")
    check(lambda p: np.abs(p - _reflected(p)) <= 1e-5 * p, "the same at f and -f", power=power)
    return RandomField(power=power, mean=mean, channels=channels)


def _reflected(power: np.ndarray) -> np.ndarray:
    """The spectrum with the sign of every frequency changed."""
    axes = tuple(range(power.ndim))
    return np.roll(np.flip(power, axes), 1, axes)


@checked
def power_law(
    grid: tuple[int, ...],
    exponent: Finite[float] = 2.0,
    variance: Positive[float] = 1.0,
    mean: Finite[Number] = 0.0,
    channels: PositiveInt = 1,
) -> RandomField:
    """A field whose power falls as ``|f|^-exponent``; 2 is typical of photographs, 0 is white noise.

    The constant component has the power of the lowest nonzero frequency of the grid.

    Args:
      grid: shape of the grid, ``(H, W)`` or ``(L,)``, of at least 2 points.
      exponent: exponent of the frequency.
      variance: variance of a pixel.
      mean: mean of the field, a number or an array that broadcasts to ``(*grid, C)``.
      channels: number C of independent channels, the last axis of a draw.

    >>> power_law((8, 8), exponent=2.0).power.mean().round(5)
    Array(1., dtype=float32)

    Source: Field 1987, "Relations between the statistics of natural images and the response properties of cortical
    cells".
    """
    check_shape(grid=grid)
    if not 1 <= len(grid) <= 3 or math.prod(grid) < 2:
        raise ValueError(f"grid must have 1 to 3 axes and at least 2 points, got {grid}")
    axes = np.meshgrid(*(np.fft.fftfreq(n) for n in grid), indexing="ij")
    radius = np.sqrt(sum(np.square(f) for f in axes))
    radius[radius == 0] = radius[radius > 0].min()
    power = jnp.power(jnp.asarray(radius / radius.min(), float), -exponent)
    return random_field(variance * power / jnp.mean(power), mean, channels)
