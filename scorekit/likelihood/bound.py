"""Variational bounds on ``-log p(x0)``, in continuous time and on a time grid; nats per example."""

import math
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Count, Fraction, PositiveInt, checked
from scorekit.checks import check, check_floating, check_like, check_prediction
from scorekit.numerics import wide
from scorekit.numerics.grids import check_grid
from scorekit.process import perturb
from scorekit.times import stratified_uniform
from scorekit.trees import batch_size, event_size, normal_like, sum_per_example
from scorekit.typing import Array, ArrayLike, Denoiser, Key, PyTree, Schedule


class VariationalBound(NamedTuple):
    """The terms of a bound on ``-log p(x0)``, nats per example ``(B,)``.

    Attributes:
      prior: the divergence of ``q(x_1 | x0)`` from the prior, in nats, ``(B,)``.
      reconstruction: ``-log p(x0 | x_0)`` at the smallest noise, in nats, ``(B,)``.
      diffusion: the divergences of all steps, in nats, ``(B,)``.

    >>> VariationalBound(prior=jnp.zeros(1), reconstruction=jnp.ones(1), diffusion=jnp.full(1, 2.0)).total
    Array([3.], dtype=float32)

    Source: Kingma et al. 2021 (https://arxiv.org/abs/2107.00630).
    """

    prior: Array
    reconstruction: Array
    diffusion: Array

    @property
    def total(self) -> Array:
        """``-log p(x0) <= prior + reconstruction + diffusion`` in expectation."""
        return self.prior + self.reconstruction + self.diffusion


@checked
def variational_bound(
    key: Key,
    denoiser: Denoiser,
    schedule: Schedule,
    x0: PyTree,
    *,
    num_times: PositiveInt = 16,
    t_min: Fraction[float] | None = None,
    t_max: Fraction[float] = 1.0 - 1e-3,
    bins: Annotated[int, Count(2)] | None = None,
) -> VariationalBound:
    """A Monte-Carlo estimate of the continuous-time variational bound on ``-log p(x0)``.

    ``prior = KL(q(x_tmax | x0) || N(0, sigma(t_max)^2))``,
    ``reconstruction = -E log N(x0; x_tmin / alpha, sigma^2 / alpha^2)`` and
    ``diffusion = 1/2 int ||eps - eps_hat||^2 dlog_snr`` with times uniform in log-SNR, stratified per example.

    With ``bins`` the data are discrete, with values ``linspace(-1, 1, bins)``, and the bound is on their
    log-probability, without dequantisation: the decoder is the same Gaussian, normalised over the values.

    Args:
      key: PRNG key of the times and the noise.
      denoiser: ``(x_t, t) -> Prediction``, called with ``t`` ``(B,)``.
      schedule: the noise schedule, with finite log-SNR at ``t_min`` and ``t_max``.
      x0: data, a tree of floating ``(B, ...)`` arrays; discrete data need ``bins`` or dequantisation. With
        ``bins``, traced values outside [-1, 1] give NaN.
      num_times: noise levels per example.
      t_min: the time at the data end, where ``reconstruction`` is paid; None for 1e-3, and with ``bins`` for the time
        at which a bin is four standard deviations of the noise wide: below it rounding beats a network.
      t_max: the time at the noise end, above ``t_min``.
      bins: number K of values of discrete data ``linspace(-1, 1, K)``, whose log-probability is bounded; None for
        a density.

    >>> from scorekit.densities import gaussian
    >>> from scorekit.denoisers import exact_denoiser
    >>> from scorekit.schedules import Cosine
    >>> data, schedule = gaussian(jnp.zeros(2), std=1.0), Cosine()
    >>> x0 = data.sample(jax.random.key(0), (2000,))
    >>> bound = jax.jit(variational_bound)(jax.random.key(1), exact_denoiser(data, schedule), schedule, x0)
    >>> abs(float(bound.total.mean() - data.entropy())) < 0.3
    True

    Source: Kingma et al. 2021 (https://arxiv.org/abs/2107.00630).
    """
    _check_data(x0, bins)
    b = batch_size(x0)
    start = 1e-3 if t_min is None else t_min
    if t_min is None and bins is not None:
        start = jnp.maximum(schedule.time_at(2.0 * math.log(2.0 * (bins - 1))), 0.0)
    first, last = schedule.log_snr(start), schedule.log_snr(t_max)
    check(lambda t: t > start, f"> t_min = {start}", t_max=t_max)
    check(np.isfinite, "finite", **{"log_snr(t_min)": first, "log_snr(t_max)": last})

    def squared_error(key, u):
        t = schedule.time_at(first + (last - first) * u)
        eps = normal_like(key, x0)
        predicted = check_prediction(denoiser(perturb(schedule, x0, eps, t), t)).eps
        return sum_per_example(jnp.square, jax.tree.map(jnp.subtract, predicted, eps))

    for_times, for_noise, for_decoder = jax.random.split(key, 3)
    u = jax.vmap(lambda k: stratified_uniform(k, num_times))(jax.random.split(for_times, b)).T
    errors = jax.lax.map(lambda args: squared_error(*args), (jax.random.split(for_noise, num_times), u))
    return VariationalBound(
        prior=_prior(schedule, x0, t_max),
        reconstruction=_reconstruction(normal_like(for_decoder, x0), x0, first, bins),
        diffusion=0.5 * (first - last) * jnp.mean(errors, axis=0),
    )


@checked
def discrete_variational_bound(
    key: Key,
    denoiser: Denoiser,
    schedule: Schedule,
    x0: PyTree,
    ts: ArrayLike,
    *,
    bins: Annotated[int, Count(2)] | None = None,
) -> VariationalBound:
    """A Monte-Carlo estimate of the bound of the T-step model: the code length of an ancestral sampler on ``ts``.

    ``diffusion = sum_i KL(q(x_s | x_t, x0) || p(x_s | x_t)) = sum_i 1/2 (SNR(s) - SNR(t)) ||x0 - x0_hat(x_t, t)||^2``
    over the steps from ``t = ts[i]`` to ``s = ts[i + 1]``, each with one draw of ``x_t`` per example. With the exact
    denoiser its expectation is at least the continuous bound between the same ends, to which it converges as the grid
    is refined.

    Args:
      key: PRNG key of the times and the noise.
      denoiser: ``(x_t, t) -> Prediction``, called with a scalar ``t``, T times.
      schedule: the noise schedule, with finite log-SNR at the ends.
      x0: data, a tree of floating ``(B, ...)`` arrays.
      ts: decreasing times ``(T + 1,)``, with finite log-SNR at the last; alpha may be 0 at the first.
      bins: number K of values of discrete data ``linspace(-1, 1, K)``, whose log-probability is bounded; None for
        a density.

    >>> from scorekit import densities, denoisers, schedules
    >>> data, schedule = densities.gaussian(jnp.zeros(2), std=1.0), schedules.Cosine()
    >>> x0, denoiser = data.sample(jax.random.key(0), (2000,)), denoisers.exact_denoiser(data, schedule)
    >>> ts = schedule.time_at(jnp.linspace(-12.0, 12.0, 300))
    >>> bound = jax.jit(discrete_variational_bound)(jax.random.key(1), denoiser, schedule, x0, ts)
    >>> 0.0 < float(bound.total.mean() - data.entropy()) < 1.0
    True

    Source: Kingma et al. 2021 (https://arxiv.org/abs/2107.00630); Ho et al. 2020
    (https://arxiv.org/abs/2006.11239).
    """
    _check_data(x0, bins)
    check_grid(ts)
    ts = wide(ts)
    end = schedule.log_snr(ts[-1])
    check(np.isfinite, "finite", **{"log_snr(ts[-1])": end})

    def term(args):
        key, t, s = args
        eps = normal_like(key, x0)
        prediction = check_prediction(denoiser(perturb(schedule, x0, eps, t), t))
        error = lambda a, b: sum_per_example(jnp.square, jax.tree.map(jnp.subtract, a, b))
        here, after = schedule.log_snr(t), schedule.log_snr(s)
        # The two forms are equal; each is used where it does not suffer from cancellation.
        clean = here > 0
        noisy_form = (jnp.exp(after) - jnp.exp(here)) * error(x0, prediction.x0)
        clean_form = jnp.expm1(after - jnp.where(clean, here, after)) * error(eps, prediction.eps)
        return 0.5 * jnp.where(clean, clean_form, noisy_form)

    for_noise, for_decoder = jax.random.split(key)
    terms = jax.lax.map(term, (jax.random.split(for_noise, ts.shape[0] - 1), ts[:-1], ts[1:]))
    return VariationalBound(
        prior=_prior(schedule, x0, ts[0]),
        reconstruction=_reconstruction(normal_like(for_decoder, x0), x0, end, bins),
        diffusion=jnp.sum(terms, axis=0),
    )


@checked
def boundary_terms(
    schedule: Schedule,
    x0: PyTree,
    eps: PyTree,
    *,
    t_min: Fraction[float] = 0.0,
    t_max: Fraction[float] = 1.0,
    bins: Annotated[int, Count(2)] | None = None,
) -> tuple[Array, Array]:
    """The terms of :func:`variational_bound` at its two ends, which need no network; deterministic.

    ``prior = KL(q(x_tmax | x0) || N(0, sigma(t_max)^2))`` and
    ``reconstruction = -E log N(x0; x_tmin / alpha, sigma^2 / alpha^2)``. With half the integral of the squared error
    of eps over log-SNR, ``-1/2 dlog_snr/dt ||eps - eps_hat||^2`` at uniform times, they are a bound that trains the
    ends of a schedule with the network.

    Args:
      schedule: the noise schedule, with finite log-SNR at the ends.
      x0: data, a tree of floating ``(B, ...)`` arrays.
      eps: noise shaped like ``x0``, with which discrete data are decoded; not used for a density.
      t_min: the time at the data end; smaller is tighter.
      t_max: the time at the noise end, above ``t_min``.
      bins: number K of values of discrete data ``linspace(-1, 1, K)``, whose log-probability is bounded; None for
        a density.

    Returns:
      ``(prior, reconstruction)`` in nats, ``(B,)`` each.

    >>> from scorekit.schedules import learned
    >>> prior, reconstruction = boundary_terms(learned(), jnp.ones((2, 3)), jnp.zeros((2, 3)))
    >>> print(prior.round(4), reconstruction.round(1))
    [0.0101 0.0101] [-15.7 -15.7]

    Source: Kingma et al. 2021 (https://arxiv.org/abs/2107.00630).
    """
    _check_data(x0, bins)
    check_floating(eps=eps)
    check_like("x0", x0, eps=eps)
    check(lambda t: t > t_min, f"> t_min = {t_min}", t_max=t_max)
    first = schedule.log_snr(t_min)
    check(np.isfinite, "finite", **{"log_snr(t_min)": first})
    return _prior(schedule, x0, t_max), _reconstruction(eps, x0, first, bins)


def _check_data(x0: PyTree, bins: int | None) -> None:
    check_floating(x0=x0)
    if not batch_size(x0):
        raise ValueError("x0 must hold at least one example, got a batch of 0")
    if bins is None:
        return
    index = lambda x: (np.asarray(x, np.float64) + 1.0) * (bins - 1) / 2.0
    for leaf in jax.tree.leaves(x0):
        allowed = f"of the values linspace(-1, 1, bins), bins = {bins}"
        check(lambda x: _is_value(index(x), bins) | np.isnan(x), allowed, x0=leaf)


def _is_value(index: Any, bins: int) -> Any:
    """Whether a position among the values is that of one, up to rounding."""
    nearest = index.round()
    return (abs(index - nearest) < 0.1) & (nearest >= 0) & (nearest < bins)


def _prior(schedule: Schedule, x0: PyTree, t: ArrayLike) -> Array:
    """``KL(q(x_t | x0) || N(0, sigma^2)) = ||alpha x0||^2 / (2 sigma^2)``."""
    return 0.5 * jnp.square(schedule.alpha(t) / schedule.sigma(t)) * sum_per_example(jnp.square, x0)


def _reconstruction(eps: PyTree, x0: PyTree, log_snr: Array, bins: int | None) -> Array:
    """``-E log p(x0 | x_t)`` at the data end."""
    if bins is not None:
        return _discrete_reconstruction(eps, x0, jnp.exp(-0.5 * log_snr), bins)
    return jnp.full(batch_size(x0), 0.5 * event_size(x0) * (1.0 + math.log(2 * math.pi) - log_snr))


def _discrete_reconstruction(eps: PyTree, x0: PyTree, noise: Array, bins: int) -> Array:
    """``-E log p(x0 | x0 + noise eps)`` with ``p`` proportional to the Gaussian likelihood of each value."""
    values = jnp.linspace(-1.0, 1.0, bins)

    def leaf(x, eps):
        x = x.astype(jnp.float32)
        logits = -0.5 * jnp.square((x + noise * eps)[..., None] - values) / jnp.square(noise)
        index = (x + 1.0) * (bins - 1) / 2.0
        value = jnp.clip(jnp.round(index), 0, bins - 1).astype(jnp.int32)
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), value[..., None], axis=-1)
        return jnp.where(_is_value(index, bins), -log_p[..., 0], jnp.nan)

    return sum_per_example(lambda x: x, jax.tree.map(leaf, x0, eps))
