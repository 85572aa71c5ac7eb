"""Weighted particles: samples of the *tilted data*, which guiding the denoiser alone does not give.

Guidance tilts the noisy density at every noise level, ``p_t(x) p_t(y | x)^gamma``, and follows its score. Unless gamma
is 0 or 1 these densities are not noisy versions of one another, so that a sampler that follows them does not end in
``p(x) p(y | x)^gamma``, with any number of steps. Here the guided steps are only proposals: each particle carries a
weight that corrects for them, and particles are resampled when few weights dominate (sequential Monte Carlo).

With ``p(x_s | x_t) = N(m(x_t), v)`` a step of the model, the two samplers weight paths towards

    ``prior prod p(x_s | x_t) p(y | x_0)^gamma``           :func:`twisted_sample`, for a likelihood of clean data,
    ``prior prod p(x_s | x_t)^(1 - gamma) p(x_s | x_t, y)^gamma``   :func:`product_sample`, for conditional denoisers.

The first samples the tilted distribution of the sampler with any number of steps. The second samples it in the limit of
small steps: exact reverse processes share the kernel of the forward one, ``p(path) = p(x_0) q(path | x_0)``, hence
``p(path)^(1 - gamma) p(path | y)^gamma = p(x_0)^(1 - gamma) p(x_0 | y)^gamma q(path | x_0)``.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Finite, Fraction, NonNegative, checked
from scorekit.checks import check, check_finite, check_floating, check_prediction, check_real
from scorekit.numerics import wide
from scorekit.numerics.grids import check_grid, check_samples
from scorekit.numerics.meshes import scan
from scorekit.predictions import bounded_log_snr
from scorekit.samplers._gaussian_rows import gaussian_rows
from scorekit.samplers.resampling import effective_sample_size, log_mean_weight, resample_if_due
from scorekit.trees import batch_size, combine, normal_like, sum_per_example
from scorekit.typing import Array, ArrayLike, Denoiser, Key, Number, PyTree, Schedule


class ParticleResult(NamedTuple):
    """Weighted samples: ``sum_i exp(log_weights_i) f(x_i)`` estimates the mean of f.

    Attributes:
      x: the particles, leaves ``(B, ...)``; :func:`scorekit.samplers.systematic_resample` makes them equally weighted.
      log_weights: ``(B,)``, normalised to sum to one.
      log_normalizer: the logarithm of an unbiased estimate of the integral of the tilted density.
      ess: effective sample size of the weights at every time of the grid, before resampling, ``(n + 1,)``.
      resampled: whether the particles were resampled at each time but the last, ``(n,)``.

    >>> x, log_weights = jnp.array([1.0, 3.0]), jnp.log(jnp.array([0.5, 0.5]))
    >>> out = ParticleResult(x, log_weights, log_normalizer=0.0, ess=jnp.ones(3), resampled=jnp.zeros(2, bool))
    >>> float(jnp.sum(jnp.exp(out.log_weights) * out.x))
    2.0

    Source: Wu et al. 2023 (https://arxiv.org/abs/2306.17775).
    """

    x: PyTree
    log_weights: Array
    log_normalizer: Array
    ess: Array
    resampled: Array

    @classmethod
    def of(cls, x: PyTree, log_weights: Array, log_normalizer: Array, ess: Array, resampled: Array) -> "ParticleResult":
        """The result after the last change of the weights.

        Args:
          x: the particles, leaves ``(B, ...)``.
          log_weights: ``(B,)``, not normalised.
          log_normalizer: the estimate without those weights.
          ess: effective sample size at the earlier times, ``(n,)``.
          resampled: whether the particles were resampled at each of them, ``(n,)``.

        Returns:
          The result, with normalised weights.

        >>> one = ParticleResult.of(jnp.zeros(2), jnp.zeros(2), jnp.zeros(()), ess=jnp.ones(1), resampled=jnp.ones(1))
        >>> float(one.log_normalizer), one.ess.tolist()
        (0.0, [1.0, 2.0])
        """
        log_normalizer = log_normalizer + log_mean_weight(log_weights)
        ess = jnp.append(ess, effective_sample_size(log_weights))
        return cls(x, jax.nn.log_softmax(log_weights), log_normalizer, ess, resampled)


@checked
def twisted_sample(
    key: Key,
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Any,
    x_init: PyTree,
    ts: ArrayLike,
    log_likelihood: Callable[[PyTree], Array],
    guidance_scale: Finite[float] = 1.0,
    *,
    softening: NonNegative[float] = 10.0,
    twist: Callable[[PyTree, Array], Array] | None = None,
    threshold: Fraction[Number] = 0.5,
) -> ParticleResult:
    """Samples of ``p(x) p(y | x)^gamma``, p the law of ``sample(denoiser, schedule, solver, x_init, ts, key=key)``.

    The twisted diffusion sampler: with ``psi_t(x_t)`` a guess of the later likelihood, a step and the factor of
    its weight are

        ``x_s ~ N(m + v grad log psi_t(x_t), v)``,   ``p(x_s | x_t) psi_s(x_s) / (r(x_s | x_t) psi_t(x_t))``

    with r the density of the proposal, and ``psi`` exact at the last time. For gamma = 1 this is posterior sampling
    with any likelihood. For any guess and any number of particles, ``E[exp(log_normalizer)]`` is the integral of
    ``p(x) p(y | x)^gamma``; the estimates converge with the number of particles, faster for a better guess. The law p
    is the law of the data up to the error of the steps, which the integral shares: for data and a measurement
    ``N(x, 0.5^2)`` of 2.0 in one dimension, data ``N(0, 1)`` and 96 equal steps of the cosine schedule
    ``log_normalizer`` is 0.005 above the evidence with ``DPMSolverPP2MSDE`` and 0.044 below it with ``Ancestral``. With
    an overconfident guess, a few particles have nearly all the weight in a few of many runs; the effective sample size
    of the other runs does not show this, but the scatter of ``log_normalizer`` over runs does.

    The guess is ``p(y | x0(x_t))^(gamma c)`` at the clean estimate, flatter with more noise: ``c = SNR / (SNR + k)``.
    For data of variance 1 and a Gaussian likelihood of standard deviation d, ``k = gamma / d^2`` is about right, and
    too large is safer than too small; k = 0 is the choice of the paper.

    Args:
      key: PRNG key of the steps and the resampling.
      denoiser: ``(x_t, t) -> Prediction``, unguided; differentiated in ``x_t`` unless ``twist`` is given.
      schedule: the noise schedule of the denoiser.
      solver: a stochastic solver whose step is one Gaussian: ``Ancestral``, ``DPMSolverPP2MSDE``, ...
      x_init: the particles at the first time, from :func:`scorekit.process.sample_prior`, leaves ``(B, ...)``.
      ts: decreasing times ``(n + 1,)``.
      log_likelihood: ``x -> log p(y | x)`` of the final state, up to a constant, ``(B,)``; no term may mix examples.
        Only with a ``twist`` may it be -inf somewhere.
      guidance_scale: gamma, the power of the likelihood.
      softening: k.
      twist: another guess, ``(x_t, t) -> log psi_t``, ``(B,)``, finite and differentiable. The best is the logarithm of
        ``E[p(y | x0)^gamma | x_t]``; for gamma = 1 a noise-conditional classifier learns that.
      threshold: particles are resampled where the effective sample size is below this fraction of B: 0 never, 1 always.

    Returns:
      A :class:`ParticleResult`. It costs n evaluations of the denoiser, with their gradients (of ``twist`` if given).

    Raises:
      ValueError: for a solver without noise or whose step is not one Gaussian.

    >>> from scorekit import denoisers, densities, process, schedules, solvers
    >>> schedule, data = schedules.Cosine(), densities.gaussian(jnp.zeros(1), std=1.0)
    >>> noise = process.sample_prior(jax.random.key(0), schedule, jnp.zeros((1000, 1)))
    >>> denoiser, ts = denoisers.exact_denoiser(data, schedule), jnp.linspace(1, 0, 33)
    >>> y = lambda x: -0.5 * jnp.sum((x - 2.0) ** 2, -1)  # N(0, 1) times N(2, 1): the mean is half-way between
    >>> run = jax.jit(twisted_sample, static_argnums=6)
    >>> result = run(jax.random.key(1), denoiser, schedule, solvers.Ancestral(), noise, ts, y)
    >>> abs(float(jnp.sum(jnp.exp(result.log_weights) * result.x[:, 0])) - 1.0) < 0.1
    True

    Source: Wu et al. 2023 (https://arxiv.org/abs/2306.17775).
    """
    rows = _checked_rows(solver, schedule, x_init, ts)

    def log_power(value, power):
        if jnp.shape(value) != (batch_size(x_init),):
            raise ValueError(f"log_likelihood and twist must return shape (B,), got {jnp.shape(value)}")
        check_real(**{"the result of log_likelihood or twist": value})
        return jnp.asarray(jnp.where(power == 0, 0.0, wide(power) * wide(value)), float)

    def guess_and_prediction(x, t):
        prediction = check_prediction(denoiser(x, t))
        if twist is None:
            sure = jax.nn.sigmoid(bounded_log_snr(schedule, t) - jnp.log(softening))
            guess = log_power(log_likelihood(prediction.x0), guidance_scale * sure)
        else:
            guess = log_power(twist(x, t), 1.0)
        return jnp.sum(guess), (guess, prediction)

    def propose(x, carry, row):
        pull, (guess, prediction) = jax.grad(guess_and_prediction, has_aux=True)(x, row.t)
        state, last_guess = carry
        mean, state = solver.mean(state, x, row, lambda x, t: prediction)
        return guess - last_guess, _Move(mean, pull, (state, guess))

    start = solver.init(x_init), jnp.zeros(batch_size(x_init))
    last_factor = lambda x, carry: log_power(log_likelihood(x), guidance_scale) - carry[1]
    finite = f"denoiser and {'log_likelihood' if twist is None else 'twist'}, with their gradients,"
    return _run(key, ts, schedule, rows, x_init, start, propose, last_factor, threshold, finite)


@checked
def product_sample(
    key: Key,
    uncond: Denoiser,
    schedule: Schedule,
    solver: Any,
    x_init: PyTree,
    ts: ArrayLike,
    conds: Sequence[Denoiser],
    weights: Sequence[Number],
    *,
    threshold: Fraction[Number] = 0.5,
) -> ParticleResult:
    """Samples of ``p(x) prod_i (p(x | y_i) / p(x))^w_i``: classifier-free guidance, with the right density.

    Particles follow the guided denoiser ``uncond + sum_i w_i (cond_i - uncond)``, and a step multiplies their
    weight by

        ``exp(-(sum_i w_i |m_i - m|^2 - |sum_i w_i (m_i - m)|^2) / (2 v))``,

    where ``N(m, v)`` and ``N(m_i, v)`` are the steps of the unguided denoisers. For one condition it is the exponential
    of ``gamma (gamma - 1) / 2 g^2 |score_y - score|^2 dt``. A last step without noise leaves the weights alone,
    an error of the order of the last time before it. At every time the weighted particles have the tilted density of
    that noise level. A grid that does not start in the common prior of all denoisers adds an error.

    Args:
      key: PRNG key of the steps and the resampling.
      uncond: the unconditional denoiser.
      schedule: the noise schedule of the denoisers.
      solver: a stochastic solver whose step is one Gaussian: ``Ancestral``, ``DPMSolverPP2MSDE``, ...
      x_init: the particles at the first time, from :func:`scorekit.process.sample_prior`, leaves ``(B, ...)``.
      ts: decreasing times ``(n + 1,)``.
      conds: the conditional ones.
      weights: w_i, one guidance scale for each of them, of either sign; the product must have a finite integral.
      threshold: particles are resampled where the effective sample size is below this fraction of B: 0 never, 1 always.

    Returns:
      A :class:`ParticleResult`. It costs n evaluations of every denoiser.

    >>> from scorekit import denoisers, densities, process, schedules, solvers
    >>> schedule, data = schedules.Cosine(), [densities.gaussian(jnp.full(1, m), std=1.0) for m in (0.0, 1.0)]
    >>> uncond, cond = (denoisers.exact_denoiser(density, schedule) for density in data)
    >>> noise = process.sample_prior(jax.random.key(0), schedule, jnp.zeros((1000, 1)))
    >>> arguments = schedule, solvers.Ancestral(), noise, jnp.linspace(1, 0, 33)
    >>> run = jax.jit(product_sample)
    >>> result = run(jax.random.key(1), uncond, *arguments, [cond], [2.0])  # N(0, 1)^-1 N(1, 1)^2 = N(2, 1)
    >>> abs(float(jnp.sum(jnp.exp(result.log_weights) * result.x[:, 0])) - 2.0) < 0.15
    True

    Source: Skreta et al. 2025 (https://arxiv.org/abs/2503.02819), as a product of path measures.
    """
    if len(conds) != len(weights) or not conds:
        raise ValueError(f"weights must be one for each of conds, at least one, got {len(weights)} for {len(conds)}")
    if any(map(jnp.ndim, weights)):
        raise ValueError(f"weights must be scalars, got shapes {[jnp.shape(weight) for weight in weights]}")
    check(np.isfinite, "finite", weights=jnp.stack([jnp.asarray(weight, float) for weight in weights]))
    rows = _checked_rows(solver, schedule, x_init, ts)
    scales = [wide(weight) for weight in weights]

    def propose(x, carry, row):
        means, states = zip(
            *(solver.mean(state, x, row, d) for d, state in zip((uncond, *conds), carry, strict=True)), strict=True
        )
        apart = [combine((1.0, mean), (-1.0, means[0])) for mean in means[1:]]
        pull = combine(*zip(scales, apart, strict=True))
        squares = sum(c * sum_per_example(jnp.square, d) for c, d in zip(scales, apart, strict=True))
        noisy = row.std > 0
        precision = jnp.where(noisy, 1.0 / jnp.square(jnp.where(noisy, row.std, 1.0)), 0.0)
        log_factor = -0.5 * precision * (squares - sum_per_example(jnp.square, pull))
        return log_factor, _Move(combine((1.0, means[0]), (1.0, pull)), None, states)

    start = (solver.init(x_init),) * (1 + len(conds))
    return _run(key, ts, schedule, rows, x_init, start, propose, lambda x, carry: 0.0, threshold, "uncond and conds")


class _Move(NamedTuple):
    """The next step ``N(mean + v pull, v)`` (``N(mean, v)`` without a pull), and what the one after it carries."""

    mean: PyTree
    pull: PyTree | None
    carry: PyTree


def _run(key, ts, schedule, rows, x_init, start, propose, last_factor, threshold, finite) -> ParticleResult:
    """Weight, resample and move the particles along ``rows``.

    ``propose(x, carry, row)`` gives the logarithm of a factor of the weight and the :class:`_Move`.
    """

    def body(carry, inputs):
        x, past, log_weights, log_normalizer = carry
        row, for_noise, for_resampling = inputs
        log_factor, move = propose(x, past, row)
        move, log_weights, gained, ess, due = resample_if_due(for_resampling, log_weights + log_factor, move, threshold)
        z = normal_like(for_noise, x)
        x = combine((1.0, move.mean), (row.std, z))
        if move.pull is not None:
            x = combine((1.0, x), (jnp.square(row.std), move.pull))
            along = sum_per_example(lambda a: a, jax.tree.map(jnp.multiply, z, move.pull))
            squares = sum_per_example(jnp.square, move.pull)
            log_weights = log_weights - row.std * along - 0.5 * jnp.square(row.std) * squares
        return (x, move.carry, log_weights, log_normalizer + gained), (ess, due)

    n = rows.t.shape[0]
    for_noise, for_resampling = jax.random.split(key)
    keys = jax.random.split(for_noise, n), jax.random.split(for_resampling, n)
    carry = x_init, start, jnp.zeros(batch_size(x_init)), jnp.zeros(())
    (x, past, log_weights, log_normalizer), (ess, resampled) = scan(body, carry, (rows, *keys))
    check_samples(x, schedule=schedule, ts=ts, advice=f"{finite} must be finite along ts", x_init=x_init)
    log_weights = log_weights + last_factor(x, past)
    allowed = "possible for a sample at least, and finite for all unless twist is given"
    check(lambda w: np.all(w < np.inf) & np.any(w > -np.inf), allowed, log_likelihood=log_weights)
    return ParticleResult.of(x, log_weights, log_normalizer, ess, resampled)


def _checked_rows(solver, schedule, x_init, ts):
    times = check_grid(ts)
    check_floating(x_init=x_init)
    check_finite(x_init=x_init)
    return gaussian_rows(solver, schedule, times)
