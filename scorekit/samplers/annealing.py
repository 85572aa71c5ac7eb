"""Posterior samples for linear operators, exact in the limit of many steps: annealing with an added noise.

With ``y = A x0 + s z`` take ``u = x0 + rho w``, where the noise w shares its observed part with z. As long as
``rho^2 A A' <= s^2``, u is a noisy copy of x0 of level ``rho`` and y given u does not depend on x0, so that the two
draws

    ``u | x0, y``: a Gaussian,     ``x0 | u``: from a noisy copy to data,

leave ``p(x0 | y)`` invariant for every such rho, not only in the limit of a small one. A level above that bound does
the same for the posterior whose noise is ``max(s, rho a)`` along each singular direction of A, with a its singular
value. Particles go down these levels from the prior to the posterior: weights for the change of the level, which need
no evaluation, resampling, and some pairs of draws. Nothing is differentiated, and no density of the prior is needed.

Along a right singular vector, with ``g = min((rho a / s)^2, 1)`` and c for y over a, the first draw is

    ``u = x0 + g (c - x0) + rho sqrt(1 - g) w``:

an observed coordinate moves to its observation. The second draw is the flow of the data ``d = (x0 - u) / rho`` from
noise to 0: if ``x_t = alpha d + sigma eps`` with ``alpha^2 + sigma^2 = 1``, then ``u + rho alpha x_t`` is a noisy copy
of x0 of level ``rho sigma`` and holds all information of u and x_t on x0. Hence any denoiser of the prior gives the
denoiser of the flow,

    ``E[d | x_t, u] = (E[x0 | u + rho alpha x_t] - u) / rho``.
"""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from scorekit.arguments import Count, Fraction, Positive, PositiveInt, checked
from scorekit.checks import check, check_finite, check_floating, nan_unless
from scorekit.guidance.operators import Operator
from scorekit.numerics import wide
from scorekit.numerics.grids import check_grid, check_samples
from scorekit.numerics.meshes import scan, take_rows, unsplit
from scorekit.predictions import bounded_log_snr
from scorekit.samplers.resampling import log_mean_weight, resample_if_due, systematic_resample
from scorekit.samplers.sampling import sample
from scorekit.schedules import Cosine
from scorekit.trees import event_size, is_traced
from scorekit.typing import Array, ArrayLike, Denoiser, Key, Number, Prediction, PyTree, Schedule, Solver


class AnnealedResult(NamedTuple):
    """Samples of a posterior.

    Attributes:
      x: the samples, of equal weight, leaves ``(B, ...)``.
      log_evidence: estimate of ``log p(U'y)``; U has the left singular vectors of singular values above 0.
      levels: rho of every stage, ``(num_stages,)``.
      ess: effective sample size after the change to each level, before resampling, ``(num_stages,)``.
      misfit: mean of ``|y - A x|^2 / (m s^2)`` over samples and the m observed directions; near 1 or below.

    >>> out = AnnealedResult(jnp.ones((2, 1)), 0.0, jnp.array([0.5, 0.1]), jnp.array([2.0, 1.5]), 1.0)
    >>> print(f"{out.levels[-1]:.1f}")
    0.1

    Source: Del Moral, Doucet & Jasra 2006 (https://doi.org/10.1111/j.1467-9868.2006.00553.x).
    """

    x: PyTree
    log_evidence: Array
    levels: Array
    ess: Array
    misfit: Array


@checked
def annealed_posterior(
    key: Key,
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x_init: PyTree,
    ts: ArrayLike,
    operator: Operator,
    observation: PyTree,
    noise_std: Positive[float],
    *,
    num_stages: Annotated[int, Count(1, 2**20)] = 40,
    steps: PositiveInt = 12,
    power: Positive[float] = 1.75,
    pace: Fraction[Number] = 0.9,
    threshold: Fraction[Number] = 0.5,
) -> AnnealedResult:
    """Samples of ``p(x0 | y)`` for one observation, exact in the limit of many particles and small steps.

    Every level is the smallest at which the particles keep a fraction ``pace`` of their effective sample size, or the
    next level of a geometric sequence to the last level, ``rho = s / |A|``, if that is smaller. Any remaining stages
    repeat the last level. The result is biased by the error of ``steps`` steps and by the finite number of particles;
    the draws at the last level undo the rest. It costs ``len(ts) - 1 + num_stages steps`` evaluations of the batch and
    no gradients. The matrix of A is built and decomposed, which suits up to some thousands of values.

    Args:
      key: PRNG key.
      denoiser: the prior, ``(x_t, t) -> Prediction``.
      schedule: its schedule.
      solver: any solver, as for :func:`scorekit.samplers.sample`; ``DPMSolverPP2M()`` is recommended.
      x_init: noise at ``ts[0]``, from :func:`scorekit.process.sample_prior`, one draw for each particle.
      ts: decreasing times to 0, ``(n + 1,)``, of the unconditional samples of the start.
      operator: A, linear: one of :mod:`scorekit.guidance.operators` or any linear function.
      observation: y of one example, leaves ``(...)`` without a batch axis. Values outside the range of A are ignored.
      noise_std: s, the standard deviation of its noise.
      num_stages: number of levels, with a pair of draws at each.
      steps: number of steps of each second draw.
      power: exponent of the grid of these steps, ``t_i = (1 - i / steps)^power``.
      pace: least fraction of the effective sample size that a level keeps; 1 is the geometric sequence.
      threshold: particles are resampled where the effective sample size is below this fraction of B.

    Returns:
      An :class:`AnnealedResult`.

    Raises:
      ValueError: for an operator that is not linear or observes nothing, a last level below the noise of the schedule
        at ``t = 0``, and a prior without samples near the observation; traced, everything is NaN.

    >>> from scorekit import denoisers, densities, process, schedules, solvers
    >>> schedule, data = schedules.Cosine(), densities.gaussian(jnp.zeros(1), std=1.0)
    >>> prior, ts = denoisers.exact_denoiser(data, schedule), solvers.grids.uniform(20)
    >>> noise = process.sample_prior(jax.random.key(0), schedule, jnp.zeros((1000, 1)))
    >>> run = jax.jit(annealed_posterior, static_argnames=("operator", "num_stages", "steps"))
    >>> arguments = schedule, solvers.DPMSolverPP2M(), noise, ts, lambda x: 2.0 * x, jnp.array([2.0]), 1.0
    >>> out = run(jax.random.key(1), prior, *arguments, num_stages=4, steps=8)
    >>> abs(float(out.x.mean()) - 0.8) < 0.05, abs(float(out.x.var()) - 0.2) < 0.05  # N(0.8, 0.2)
    (True, True)

    Source: the auxiliary variable is by Marnissi et al. 2018 (https://doi.org/10.3390/e20020110); with ``x0 | u`` by a
    reverse process and the level as a parameter, Wu et al. 2024 (https://arxiv.org/abs/2405.18782).
    """
    times = check_grid(ts)
    check_floating(x_init=x_init, observation=observation)
    check_finite(x_init=x_init, observation=observation)
    like, (x_init, observation) = x_init, jax.tree.map(wide, (x_init, observation))
    unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], unsplit(x_init)))[1]
    observed = _decomposed(operator, unravel, x_init, observation, noise_std)
    last = 1.0 / jnp.sqrt(observed.precision.max())
    check(lambda t: t <= 0.01, "at most 0.01, where the data have no noise", **{"ts[-1]": times[-1]})
    least = schedule.sigma(0.0) / schedule.alpha(0.0)
    if not is_traced(last - least):
        limit = float(least * noise_std / last)
        allowed = f"> {limit:.3g}, the norm of the operator times the noise of the schedule at t = 0"
        check(lambda std: std > limit, allowed, noise_std=noise_std)
    most = jnp.exp(-0.5 * bounded_log_snr(schedule, times[0]))
    grid, inner = (1.0 - jnp.arange(steps + 1) / steps) ** power, Cosine()

    def draw(key, u, level):
        """Of ``x0 | u``."""
        given = _Given(denoiser, schedule, inner, unravel, u, level)
        return u + level * sample(given, inner, solver, jax.random.normal(key, u.shape, u.dtype), grid, key=key)

    def stage(carry, inputs):
        z, level, log_like, log_weights, log_evidence = carry
        key, left = inputs
        for_resampling, for_noise, for_steps = jax.random.split(key, 3)
        level = _next_level(observed, z, log_like, log_weights, (last, level), pace, left)
        log_weights = log_weights + observed.log_likelihood(z, level) - log_like
        z, log_weights, gained, ess, _ = resample_if_due(for_resampling, log_weights, z, threshold)
        z = draw(for_steps, observed.augment(for_noise, z, level), level)
        return (z, level, observed.log_likelihood(z, level), log_weights, log_evidence + gained), (level, ess)

    for_prior, for_stages, for_last = jax.random.split(key, 3)
    z = _flat(sample(denoiser, schedule, solver, x_init, times, key=for_prior))
    start = z, jnp.asarray(most, z.dtype), jnp.zeros(len(z)), jnp.zeros(len(z)), jnp.zeros(())
    inputs = jax.random.split(for_stages, num_stages), jnp.arange(num_stages, 0, -1)
    (z, _, _, log_weights, log_evidence), (levels, ess) = scan(stage, start, inputs)
    log_evidence = log_evidence + log_mean_weight(log_weights) + observed.log_constant
    z = take_rows(z, systematic_resample(for_last, log_weights))
    x = check_samples(jax.vmap(unravel)(z), schedule=schedule, ts=times, x_init=x_init)
    x = jax.tree.map(lambda leaf, given: leaf.astype(given.dtype), x, like)
    misfit = observed.misfit(z)
    possible = misfit <= 1.0 + 10.0 / jnp.sqrt(observed.rank)
    if not is_traced(possible) and not possible:
        raise ValueError(
            f"observation must be possible under the prior, but its samples miss it by {float(misfit) ** 0.5:.3g} "
            f"standard deviations of the noise: the prior has no samples near it, or noise_std = {noise_std} is too "
            "small for these steps and stages"
        )
    result = AnnealedResult(x, log_evidence, levels, ess, misfit)
    return nan_unless(possible & (noise_std > 0) & (last > least), result)


def _flat(x: PyTree) -> Array:
    return jax.vmap(lambda one: ravel_pytree(one)[0])(x)


class _Given(NamedTuple):
    """The denoiser of ``(x0 - u) / level`` given u, for the variance-preserving schedule ``inner``."""

    denoiser: Denoiser
    schedule: Schedule
    inner: Schedule
    unravel: Callable[[Array], PyTree]
    u: Array
    level: Array

    def __call__(self, x_t: Array, t: Array) -> Prediction:
        alpha, sigma = self.inner.alpha(t), self.inner.sigma(t)
        at = jnp.clip(self.schedule.time_at(-2.0 * jnp.log(self.level * sigma)), 0.0, 1.0)
        noisy = self.schedule.alpha(at) * (self.u + self.level * alpha * x_t)
        d = (_flat(self.denoiser(jax.vmap(self.unravel)(noisy), at).x0) - self.u) / self.level
        return Prediction(d, (x_t - alpha * d) / sigma)


class _Observed(NamedTuple):
    """The observation along the right singular vectors ``basis`` ``(r, D)``: ``N(value, 1 / precision)``."""

    basis: Array
    value: Array
    precision: Array
    log_constant: Array

    @property
    def rank(self) -> Array:
        return jnp.sum(self.precision > 0)

    def augment(self, key: Key, z: Array, level: Array) -> Array:
        """``u | x0 = z, y`` at this level."""
        gain = jnp.minimum(jnp.square(level) * self.precision, 1.0)
        noise = level * jax.random.normal(key, z.shape, z.dtype)
        pull = gain * (self.value - z @ self.basis.T) + (jnp.sqrt(1.0 - gain) - 1.0) * (noise @ self.basis.T)
        return z + noise + pull @ self.basis

    def log_likelihood(self, z: Array, level: ArrayLike) -> Array:
        """Of z, with the noise raised to the level; normalised up to ``log_constant``."""
        precision = jnp.minimum(self.precision, 1.0 / jnp.square(level))
        log_scale = jnp.sum(jnp.where(precision > 0, jnp.log(jnp.where(precision > 0, precision, 1.0)), 0.0))
        return 0.5 * (log_scale - jnp.square(z @ self.basis.T - self.value) @ precision)

    def misfit(self, z: Array) -> Array:
        return jnp.mean(jnp.square(z @ self.basis.T - self.value) @ self.precision) / self.rank


def _decomposed(operator, unravel, x_init, observation, noise_std) -> _Observed:
    dim = event_size(x_init)
    apply = lambda rows: _flat(operator(jax.vmap(unravel)(rows)))
    y = ravel_pytree(observation)[0]
    matrix = apply(jnp.eye(dim, dtype=y.dtype)).T
    if matrix.shape[0] != y.size:
        raise ValueError(f"observation must have the {matrix.shape[0]} values of the operator's output, got {y.size}")
    far = 7.0 * jnp.cos(jnp.arange(2.0 * dim, dtype=y.dtype)).reshape(2, dim)
    gap = jnp.abs(apply(far) - far @ matrix.T).max() / jnp.maximum(jnp.abs(matrix).max(), 1e-30)
    check(lambda value: value <= 1e-2, "within 0.01 of linear (relative)", operator=gap)
    left, scale, basis = jnp.linalg.svd(matrix, full_matrices=False)
    kept = scale > jnp.finfo(scale.dtype).eps * dim * jnp.maximum(scale.max(), 1e-30)
    check(
        lambda value: value > 0,
        "an operator that observes something: all of its singular values are 0",
        operator=kept.sum(),
    )
    precision = jnp.where(kept, jnp.square(scale / noise_std), 0.0)
    value = jnp.where(kept, (left.T @ y) / jnp.where(kept, scale, 1.0), 0.0)
    value = jnp.where(gap <= 1e-2, value, jnp.nan)
    log_constant = -jnp.sum(jnp.where(kept, 0.5 * jnp.log(2 * jnp.pi) + jnp.log(jnp.where(kept, scale, 1.0)), 0.0))
    return _Observed(basis, value, precision, log_constant)


def _next_level(observed, z, log_like, log_weights, bounds, pace, left) -> Array:
    """The level by bisection, and the pace of a geometric sequence with ``left`` stages."""
    last, level = bounds
    log_weights = jax.nn.log_softmax(log_weights)

    def kept(log_level):
        gain = observed.log_likelihood(z, jnp.exp(log_level)) - log_like
        return jnp.exp(2 * jax.nn.logsumexp(log_weights + gain) - jax.nn.logsumexp(log_weights + 2 * gain))

    def halve(ends, _):
        low, high = ends
        middle = 0.5 * (low + high)
        good = kept(middle) >= pace
        return (jnp.where(good, low, middle), jnp.where(good, middle, high)), None

    ends = jnp.log(last), jnp.log(level)
    (_, high), _ = scan(halve, ends, length=40)
    by_size = jnp.where(kept(jnp.log(last)) >= pace, last, jnp.exp(high))
    return jnp.clip(by_size, last, level * (last / level) ** (1.0 / left))
