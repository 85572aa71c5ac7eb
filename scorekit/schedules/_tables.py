"""Schedules given by values at knots: discrete beta tables and a learnable monotone log-SNR."""

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Between, Finite, PositiveInt, checked
from scorekit.checks import check
from scorekit.numerics import wide
from scorekit.schedules._variance_preserving import VariancePreserving
from scorekit.trees import pytree_dataclass
from scorekit.typing import ArrayLike, Number


@pytree_dataclass
class Tabulated(VariancePreserving):
    """See :func:`from_betas`.

    Attributes:
      table: log-SNR at ``linspace(0, 1, N)``, decreasing, in nats.
    """

    table: ArrayLike

    def __post_init__(self):
        if np.shape(self.table)[-1:] < (2,):
            raise ValueError(f"table must have shape (N,) with N >= 2, got shape {np.shape(self.table)}")
        falls = lambda x: np.isfinite(x).all() & np.all(np.diff(x) < 0)
        check(falls, "finite and decrease strictly", table=self.table)

    def log_snr(self, t):
        table = jnp.asarray(self.table)
        position = wide(t) * (table.shape[0] - 1)
        index = jnp.clip(jnp.floor(position).astype(jnp.int32), 0, table.shape[0] - 2)
        return table[index] + (position - index) * (table[index + 1] - table[index])

    def time_at(self, log_snr):
        table, log_snr = jnp.asarray(self.table), wide(log_snr)
        index = jnp.clip(jnp.searchsorted(-table, -log_snr, side="right") - 1, 0, table.shape[0] - 2)
        fraction = (log_snr - table[index]) / (table[index + 1] - table[index])
        return (index + fraction) / (table.shape[0] - 1)


@checked
def from_betas(betas: Annotated[ArrayLike, Between(0, 1, "both")]) -> Tabulated:
    """The continuous schedule of a discrete table of betas, linear in log-SNR between its entries.

    ``alpha_i^2 = prod_{j<=i} (1 - beta_j)`` at ``t_i = i / (N - 1)``; outside [0, 1] it is extrapolated linearly. The
    sums are computed in float64 on the host. The first entry is already noisy, so ``sigma(0) > 0``, as in DDPM.

    Args:
      betas: table of betas ``(N,)``, N >= 2: e.g. ``linspace(1e-4, 0.02, 1000)`` (DDPM) or
        ``linspace(0.00085**0.5, 0.012**0.5, 1000)**2`` (Stable Diffusion).

    >>> ddpm = from_betas(np.linspace(1e-4, 0.02, 1000))
    >>> float(ddpm.alpha(1.0) ** 2)  # doctest: +ELLIPSIS
    4.03...e-05

    Source: Ho et al. 2020, eq. 4 (https://arxiv.org/abs/2006.11239).
    """
    betas = np.asarray(betas, np.float64)
    if betas.ndim != 1 or betas.size < 2:
        raise ValueError(f"betas must have shape (N,) with N >= 2, got shape {betas.shape}")
    log_alpha_squared = np.cumsum(np.log1p(-betas))
    table = log_alpha_squared - np.log(-np.expm1(log_alpha_squared))
    return Tabulated(table=jnp.asarray(table, float))


_FLOOR = 1e-3  # minimum relative decrease and slope of a piece, so that every piece decreases strictly


@pytree_dataclass
class Learned(VariancePreserving):
    """See :func:`learned`.

    Attributes:
      heights: logits of the K decreases, ``(K,)``.
      slopes: raw slopes at the knots, ``(K + 1,)``.
      log_snr_max: log-SNR at t = 0, in nats.
      log_snr_min: log-SNR at t = 1, in nats, < ``log_snr_max``.
    """

    heights: Finite[Number]
    slopes: Finite[Number]
    log_snr_max: Number = 13.3
    log_snr_min: Finite[Number] = -5.0

    def __post_init__(self):
        knots, slopes = (np.shape(leaf)[-1:] for leaf in (self.heights, self.slopes))
        if not knots or slopes != (knots[0] + 1,):
            raise ValueError(f"slopes must have shape (K + 1,), one more than heights, {knots}, got {slopes}")
        check(
            lambda x: np.isfinite(x) & (x > self.log_snr_min),
            f"finite and > log_snr_min = {self.log_snr_min}",
            log_snr_max=self.log_snr_max,
        )

    def _knots(self):
        """Rational-quadratic spline on [0, 1]: ``(y at the knots, slope at the knots, chord slopes)``."""
        heights = jax.nn.softmax(jnp.asarray(self.heights))
        heights = _FLOOR / heights.shape[0] + (1.0 - _FLOOR) * heights
        knots = jnp.concatenate([jnp.zeros(1, heights.dtype), jnp.cumsum(heights)])
        knots = knots.at[-1].set(1.0)
        chords = jnp.diff(knots) * heights.shape[0]
        slopes = _FLOOR + (1.0 - _FLOOR) * jax.nn.softplus(jnp.asarray(self.slopes)) / jnp.log(2.0)
        return knots, slopes, chords

    def log_snr(self, t):
        knots, slopes, chords = self._knots()
        position = wide(t) * chords.shape[0]
        k = jnp.clip(jnp.floor(position).astype(jnp.int32), 0, chords.shape[0] - 1)
        u = position - k
        a, b, chord = slopes[k], slopes[k + 1], chords[k]
        rise = (chord * u * u + a * u * (1 - u)) / (chord + (a + b - 2 * chord) * u * (1 - u))
        y = knots[k] + (knots[k + 1] - knots[k]) * rise
        return self.log_snr_max * (1.0 - y) + self.log_snr_min * y

    def time_at(self, log_snr):
        knots, slopes, chords = self._knots()
        y = (wide(log_snr) - self.log_snr_max) / (jnp.asarray(self.log_snr_min) - self.log_snr_max)
        y = jnp.where(y < 0, 0.0, jnp.where(y > 1, 1.0, y))  # values beyond the ends are clipped
        k = jnp.clip(jnp.searchsorted(knots, y, side="right") - 1, 0, chords.shape[0] - 1)
        a, b, chord = slopes[k], slopes[k + 1], chords[k]
        rise = (y - knots[k]) / (knots[k + 1] - knots[k])
        # rise = (chord u^2 + a u (1-u)) / (chord + (a+b-2 chord) u (1-u)), a quadratic in u; its stable root.
        excess = rise * (a + b - 2 * chord)
        qa, qb, qc = chord - a + excess, a - excess, -rise * chord
        root = jnp.sqrt(jnp.maximum(qb * qb - 4 * qa * qc, 0.0))
        return (k + 2 * qc / (-qb - root)) / chords.shape[0]


@checked
def learned(num_knots: PositiveInt = 8, log_snr_max: Number = 13.3, log_snr_min: Finite[Number] = -5.0) -> Learned:
    """A learnable, strictly decreasing, continuously differentiable log-SNR with given endpoints.

    A monotone rational-quadratic spline from ``(0, log_snr_max)`` to ``(1, log_snr_min)``; any values of its leaves
    give a valid schedule, and its inverse is exact. It is initialised to a straight line. To learn the shape but not
    the endpoints, exclude ``log_snr_max`` and ``log_snr_min`` from the gradient.

    Learn the endpoints, as array leaves, with the network by the gradient of
    :func:`scorekit.likelihood.variational_bound` at ``t_min=0``, ``t_max=1``, which does not depend on the shape, or of
    a denoising loss with :func:`scorekit.likelihood.boundary_terms`.

    Args:
      num_knots: number of spline pieces K.
      log_snr_max: log-SNR at t = 0, in nats.
      log_snr_min: log-SNR at t = 1, in nats, < ``log_snr_max``.

    >>> float(learned(log_snr_max=10.0, log_snr_min=-10.0).log_snr(0.5))
    0.0

    Source: Kingma et al. 2021 (https://arxiv.org/abs/2107.00630); Gregory & Delbourgo 1982 (the spline).
    """
    return Learned(
        heights=jnp.zeros(num_knots),
        slopes=jnp.zeros(num_knots + 1),
        log_snr_max=log_snr_max,
        log_snr_min=log_snr_min,
    )
