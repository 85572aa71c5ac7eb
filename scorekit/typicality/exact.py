"""Typical sets of distributions in closed form: coin tosses, Gaussians, and the Gaussian mirage.

All functions are closed forms or quadratures to machine precision, in float64 if it is enabled, without sampling. In
K dimensions the radius of a standard Gaussian is chi distributed, and ``-log p - H = (r^2 - K) / 2`` nats, so that its
typical sets are shells. A traced argument out of its range gives NaN.

>>> round(float(jnp.exp(log_sphere_area(3)) / jnp.pi), 3)
4.0
>>> [round(float(x), 4) for x in (shell_mass(100, 9.0, 11.0), mirage_typical_radius(1e6) / 1e3)]
[0.8428, 0.5298]
>>> table: CoinTable = coin_table(0.75, 16)
>>> int(table.log_sequence.argmax()), int(table.log_mass.argmax()), round(float(jnp.exp(table.log_mass).sum()), 4)
(16, 12, 1.0)

Source: Cover and Thomas 2006.
"""

import math
from typing import Annotated, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, xlog1py

from scorekit.arguments import Between, Positive, PositiveInt, checked
from scorekit.checks import check, check_not_nan
from scorekit.trees import is_traced
from scorekit.typicality._units import Unit, in_nats
from scorekit.typing import Array, ArrayLike, Number

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(160)
_REACH = 9.0
"""The chi distribution is truncated at this distance from sqrt(K), or at 0: 13 standard deviations for large K."""


class CoinTable(NamedTuple):
    """Sequences of n tosses, grouped by the number of heads; every field is ``(n + 1,)``.

    Attributes:
      heads: 0, ..., n.
      log_sequence: the log-probability of one sequence with this number of heads, nats.
      log_count: the log of the number of such sequences.
      log_mass: their sum, the log-probability of this number of heads.
    """

    heads: Array
    log_sequence: Array
    log_count: Array
    log_mass: Array


@checked
def coin_table(p: Annotated[float, Between(0, 1, "both")], n: PositiveInt) -> CoinTable:
    """The probabilities of single sequences of coin tosses and of their number of heads.

    ``p(sequence) = p^h (1 - p)^(n - h)`` for each of the ``n! / (h! (n - h)!)`` sequences with h heads. The most likely
    sequence is not one with the most likely number of heads.

    Args:
      p: probability of heads.
      n: number of tosses.

    Source: Loader 2000, "Fast and accurate computation of binomial probabilities", for the mass, in which no large
    terms cancel.
    """
    chance = jnp.asarray(p, float)
    heads = jnp.arange(n + 1)
    log_sequence = heads * jnp.log(chance) + (n - heads) * jnp.log1p(-chance)
    h, rest = (jnp.asarray(jnp.clip(count, 1, max(n - 1, 1)), chance.dtype) for count in (heads, n - heads))
    whole = jnp.asarray(n, chance.dtype)
    remainder = _stirling(whole) - _stirling(h) - _stirling(rest) - _deviance(h, whole * chance)
    log_mass = remainder - _deviance(rest, whole * (1.0 - chance)) - 0.5 * jnp.log(2 * math.pi * h * (rest / whole))
    log_mass = jnp.where((heads == 0) | (heads == n), log_sequence, log_mass)
    return CoinTable(heads, log_sequence, log_mass - log_sequence, log_mass)


def _deviance(x: Array, mean: Array) -> Array:
    """``x log(x / mean) + mean - x``, by a series where x is near the mean."""
    v = (x - mean) / (x + mean)
    near = jnp.clip(v, -0.1, 0.1)
    series = sum(near ** (2 * j) / (2 * j + 1) for j in range(1, 8))
    return jnp.where(jnp.abs(v) < 0.1, (x - mean) * v + 2.0 * x * v * series, x * jnp.log(x / mean) + mean - x)


@checked
def log_sphere_area(dim: Positive[Number]) -> Array:
    """The log of the surface of the unit sphere in K dimensions, ``2 pi^(K/2) / Gamma(K/2)``; largest at K = 7.

    Args:
      dim: number K of dimensions, any shape.
    """
    half = 0.5 * _nan_below(0.0, jnp.asarray(dim, float))
    return math.log(2.0) + half * math.log(math.pi) - gammaln(half)


def _nan_below(least: float, x: Array) -> Array:
    """NaN in place of values below ``least``; only traced ones can be."""
    return jnp.where(x >= least, x, jnp.nan)


@checked
def shell_mass(dim: Annotated[ArrayLike, Between(1)], low: ArrayLike, high: ArrayLike) -> Array:
    """The probability that a standard Gaussian in K dimensions has its radius in ``[low, high]``.

    ``int_low^high r^(K-1) exp(-r^2 / 2) dr / (2^(K/2-1) Gamma(K/2))``, by Gauss-Legendre quadrature of the density
    expanded around ``sqrt(K)``, where no large terms cancel: accurate to 1e-12 in float64 for K from 1 to above 1e6.

    Args:
      dim: number K of dimensions, any shape.
      low: inner radius.
      high: outer radius, at least ``low``; may be infinite.

    Source: the Gaussian annulus theorem (Vershynin 2018) bounds it.
    """
    check_not_nan(low=low, high=high)
    if not is_traced(low):
        check(lambda r: r >= np.asarray(low), f">= low = {low}", high=high)
    dim, low, high = jnp.broadcast_arrays(*(jnp.asarray(x, float) for x in (dim, low, high)))
    dim, low = _nan_below(1.0, dim), jnp.where(low <= high, low, jnp.nan)
    middle = jnp.sqrt(dim)
    least, most = jnp.maximum(middle - _REACH, 0.0), middle + _REACH
    low, high = jnp.clip(low, least, most), jnp.clip(high, least, most)
    half = 0.5 * (high - low)
    nodes, weights = jnp.asarray(_NODES, dim.dtype), jnp.asarray(_WEIGHTS, dim.dtype)
    # r = sqrt(K) (1 + w)
    w = (low[..., None] + half[..., None] * (1.0 + nodes)) / middle[..., None] - 1.0
    exponent = xlog1py(dim[..., None] - 1.0, w) - dim[..., None] * w * (1.0 + 0.5 * w)
    return half * jnp.sum(weights * jnp.exp(exponent - _stirling(0.5 * dim)[..., None]), axis=-1) / math.sqrt(math.pi)


def _stirling(z: Array) -> Array:
    """``log Gamma(z) - ((z - 1/2) log z - z + log(2 pi) / 2)``."""
    large = jnp.maximum(z, 16.0)
    u = 1.0 / (large * large)
    series = (1 / 12 - u * (1 / 360 - u * (1 / 1260 - u * (1 / 1680 - u * (1 / 1188 - u * 691 / 360360))))) / large
    small = jnp.minimum(z, 16.0)
    direct = gammaln(small) - ((small - 0.5) * jnp.log(small) - small + 0.5 * math.log(2 * math.pi))
    return jnp.where(z > 16.0, series, direct)


@checked
def typical_mass(dim: Annotated[ArrayLike, Between(1)], epsilon: Positive[Number], unit: Unit = "nats") -> Array:
    """The probability of the typical set of a Gaussian in K dimensions, the same for every mean and covariance.

    ``P(|-log p - H| <= epsilon) = P(K - 2 epsilon <= r^2 <= K + 2 epsilon)``, which tends to 1 as K grows for any
    ``epsilon`` proportional to K (asymptotic equipartition).

    Args:
      dim: number K of dimensions, any shape.
      epsilon: half the width of the typical set, in ``unit``, for the full vector (not per dimension).
      unit: unit of ``epsilon``.

    >>> dims = jnp.array([1, 10, 100, 1000])
    >>> print([f"{mass:.3f}" for mass in typical_mass(dims, 0.1 * dims)])
    ['0.098', '0.344', '0.845', '1.000']
    """
    dim, width = _nan_below(1.0, jnp.asarray(dim, float)), _nan_below(0.0, 2.0 * in_nats(epsilon, unit))
    return shell_mass(dim, jnp.sqrt(jnp.maximum(dim - width, 0.0)), jnp.sqrt(dim + width))


def _lambert_w_exp(y: Array) -> Array:
    """Lambert's ``W(exp(y))``, the ``w > 0`` with ``w + log w = y``, for any real ``y`` without overflow.

    Newton's method in ``log w``, which converges from any start because ``exp(v) + v`` is convex (Corless et al. 1996).
    """
    v = jnp.where(y > 1.0, jnp.log(jnp.maximum(y, 1.0)), y)
    for _ in range(7):
        w = jnp.exp(v)
        v = v - (w + v - y) / (w + 1.0)
    return jnp.exp(v)


@checked
def mirage_typical_radius(dim: Annotated[ArrayLike, Between(1)]) -> Array:
    """The radius at which ``-log p = H`` for the Gaussian mirage, :func:`scorekit.densities.gaussian_mirage`.

    The root of ``r^2 / (2K) + (K - 1) log r = 1/2 + (K - 1) (log(K / 2) - gamma) / 2``, which is ``r = sqrt(K (K - 1)
    W(z))`` with ``log z = 1 / (K - 1) + log(K / 2) - gamma - log(K (K - 1))``, in units of the data; 1 for K = 1, and
    ``r / sqrt(K)`` tends to ``exp(-gamma / 2) / sqrt(2) = 0.52984`` as K grows.

    Args:
      dim: number K of dimensions, any shape.

    Source: Dieleman 2020, "Addendum: quantifying our flawed intuitions".
    """
    dim = _nan_below(1.0, jnp.asarray(dim, float))
    rest = jnp.where(dim > 1, dim - 1.0, 1.0)
    log_z = 1.0 / rest - math.log(2.0) - np.euler_gamma - jnp.log(rest)
    return jnp.where(dim > 1, jnp.sqrt(dim * rest * _lambert_w_exp(log_z)), dim)  # 1, or NaN
