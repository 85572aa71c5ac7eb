"""Likelihood bounds. All values are in nats per example; :mod:`scorekit.data` turns them into bits per dimension."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.process import perturb
from scorekit.times import stratified_uniform
from scorekit.trees import batch_size, check, event_size, normal_like, sum_per_example
from scorekit.typing import Array, ArrayLike, Denoiser, Key, PyTree, Schedule


class VariationalBound(NamedTuple):
    """The parts of a bound on ``-log p(x0)``, nats per example ``(B,)``."""

    prior: Array
    reconstruction: Array
    diffusion: Array

    @property
    def total(self) -> Array:
        """``-log p(x0) <= prior + reconstruction + diffusion`` in expectation."""
        return self.prior + self.reconstruction + self.diffusion


def variational_bound(
    key: Key,
    denoiser: Denoiser,
    schedule: Schedule,
    x0: PyTree,
    *,
    num_times: int = 16,
    t_min: ArrayLike = 1e-3,
    t_max: ArrayLike = 1.0 - 1e-3,
    levels: int | None = None,
) -> VariationalBound:
    """A Monte-Carlo estimate of the continuous-time variational bound on ``-log p(x0)``.

    ``prior = KL(q(x_tmax | x0) || N(0, sigma(t_max)^2))``,
    ``reconstruction = -E log N(x0; x_tmin / alpha, sigma^2 / alpha^2)`` and
    ``diffusion = 1/2 int ||eps - eps_hat||^2 dlog_snr`` with times uniform in log-SNR, stratified per example.

    With ``levels`` the data are discrete, ``linspace(-1, 1, levels)``, and the bound is on the log-probability of the
    values themselves, without dequantisation: the decoder is the same Gaussian, normalised over the levels.

    Args:
      key: PRNG key.
      denoiser: ``(x_t, t) -> Prediction``, called with ``t`` ``(B,)``.
      schedule: the noise schedule, with finite log-SNR at ``t_min`` and ``t_max``.
      x0: data, a tree of ``(B, ...)`` arrays; discrete data need ``levels`` or to be dequantised first.
      num_times: noise levels per example.
      t_min: the data end; smaller is tighter.
      t_max: the noise end.
      levels: number of values of discrete data, or None for a density.

    Returns:
      A :class:`VariationalBound`.

    Raises:
      ValueError: if ``num_times`` is below 1 or ``levels`` below 2, if ``t_min >= t_max``, or if the log-SNR is
        infinite at either.

    >>> from scorekit.densities import gaussian
    >>> from scorekit.denoisers import exact_denoiser
    >>> from scorekit.schedules import cosine
    >>> data, schedule = gaussian(jnp.zeros(2), std=1.0), cosine()
    >>> x0 = data.sample(jax.random.key(0), (2000,))
    >>> bound = variational_bound(jax.random.key(1), exact_denoiser(data, schedule), schedule, x0)
    >>> abs(float(bound.total.mean() - data.entropy())) < 0.3
    True

    Source: Kingma et al. 2021, eq. 11-17 (https://arxiv.org/abs/2107.00630).
    """
    if num_times < 1:
        raise ValueError(f"num_times must be >= 1, got {num_times}")
    if levels is not None and levels < 2:
        raise ValueError(f"levels must be >= 2, got {levels}")
    b, d = batch_size(x0), event_size(x0)
    first, last = schedule.log_snr(t_min), schedule.log_snr(t_max)
    check(lambda t: t > t_min, f"> t_min = {t_min}", t_max=t_max)
    check(np.isfinite, "finite", **{"log_snr(t_min)": first, "log_snr(t_max)": last})

    def squared_error(key, u):
        t = schedule.time_at(first + (last - first) * u)
        eps = normal_like(key, x0)
        predicted = denoiser(perturb(x0, eps, t, schedule), t).eps
        return sum_per_example(jnp.square, jax.tree.map(jnp.subtract, predicted, eps))

    for_times, for_noise, for_decoder = jax.random.split(key, 3)
    u = jax.vmap(lambda k: stratified_uniform(k, num_times))(jax.random.split(for_times, b)).T
    errors = jax.lax.map(lambda args: squared_error(*args), (jax.random.split(for_noise, num_times), u))
    ratio = schedule.alpha(t_max) / schedule.sigma(t_max)
    if levels is None:
        reconstruction = jnp.full(b, 0.5 * d * (1.0 + math.log(2 * math.pi) - first))
    else:
        reconstruction = _discrete_reconstruction(for_decoder, x0, jnp.exp(-0.5 * first), levels)
    return VariationalBound(
        prior=0.5 * jnp.square(ratio) * sum_per_example(jnp.square, x0),
        reconstruction=reconstruction,
        diffusion=0.5 * (first - last) * jnp.mean(errors, axis=0),
    )


def _discrete_reconstruction(key: Key, x0: PyTree, noise: Array, levels: int) -> Array:
    """``-E log p(x0 | x0 + noise eps)`` with ``p`` proportional to the Gaussian likelihood over the levels."""
    values = jnp.linspace(-1.0, 1.0, levels)

    def leaf(x, eps):
        x = x.astype(jnp.float32)
        logits = -0.5 * jnp.square((x + noise * eps)[..., None] - values) / jnp.square(noise)
        level = jnp.round((x + 1.0) * (levels - 1) / 2.0).astype(jnp.int32)
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), level[..., None], axis=-1)[..., 0]
        return -log_p

    return sum_per_example(lambda x: x, jax.tree.map(leaf, x0, normal_like(key, x0)))
