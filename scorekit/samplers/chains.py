"""Markov chains at one noise level: Langevin, with and without Metropolis adjustment, and corrupt-denoise rounds.

Each is one ``lax.scan`` over any pytree; examples of a batch are independent chains. A chain of a diffusion model at
time t has the score ``lambda x: scorekit.process.score(schedule, denoiser(x, t), t)``. A chain returns its last state;
a scan over calls keeps as many states as are wanted.

>>> every_tenth = lambda x, key: 2 * (langevin(key, lambda x: -x, x, 0.1, 10),)
>>> last, states = jax.lax.scan(every_tenth, jnp.zeros((3, 1)), jax.random.split(jax.random.key(0), 5))
>>> states.shape
(5, 3, 1)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Positive, PositiveInt, checked
from scorekit.checks import check, check_finite, check_floating, check_positive
from scorekit.numerics.grids import check_grid, check_samples
from scorekit.numerics.meshes import scan
from scorekit.process import perturb
from scorekit.samplers.sampling import sample
from scorekit.trees import batch_size, combine, normal_like, sum_per_example, where
from scorekit.typing import Array, ArrayLike, Denoiser, Key, PyTree, Schedule, Solver


class MetropolisResult(NamedTuple):
    """The result of a Metropolis-adjusted chain.

    Attributes:
      x: the last state.
      acceptance: fraction of accepted proposals of each chain, ``(B,)``.

    >>> float(MetropolisResult(x=jnp.ones((2, 1)), acceptance=jnp.array([0.5, 0.75])).acceptance.mean())
    0.625

    Source: Roberts & Tweedie 1996 (the Metropolis-adjusted Langevin algorithm).
    """

    x: PyTree
    acceptance: Array


@checked
def langevin(
    key: Key,
    score: Callable[[PyTree], PyTree],
    x: PyTree,
    step_size: Positive[ArrayLike],
    steps: PositiveInt,
) -> PyTree:
    """Unadjusted Langevin: ``x <- x + h score(x) + sqrt(2 h) z``.

    Its law tends to a density that is within O(h) of the target: for ``N(m, s^2)`` it has the mean m and the variance
    ``s^2 / (1 - h / (2 s^2))``, and it diverges for ``h >= 2 s^2``. :func:`metropolis_langevin` has no such bias.

    Args:
      key: PRNG key; each step uses its own.
      score: ``x -> grad log p(x)``, shaped like ``x``.
      x: the start, leaves ``(B, ...)``, one chain for each example.
      step_size: h, in squared units of ``x``: a number, or ``(steps,)``, one for each step.
      steps: number of steps, each with one evaluation of ``score``.

    Returns:
      The last state, shaped and typed like ``x``.

    >>> run = jax.jit(langevin, static_argnums=(1, 4))
    >>> x = run(jax.random.key(0), lambda x: -x, jnp.full((4000, 1), 5.0), 0.1, 100)
    >>> abs(float(x.var()) - 1 / (1 - 0.05)) < 0.1
    True

    Source: Roberts & Tweedie 1996 (https://doi.org/10.2307/3318418).
    """
    return sgld(key, lambda key, x: score(x), x, _step_sizes(step_size, steps))


@checked
def sgld(
    key: Key,
    noisy_score: Callable[[Key, PyTree], PyTree],
    x: PyTree,
    step_sizes: ArrayLike,
) -> PyTree:
    """Stochastic-gradient Langevin: ``x <- x + h_k score_k(x) + sqrt(2 h_k) z`` with an unbiased random score.

    With ``sum h_k = inf`` and ``sum h_k^2 < inf``, such as ``h_k = a (b + k)^-c`` with c in (1/2, 1], the noise of the
    score and the error of the steps vanish in the limit. The paper's epsilon is ``2 h``.

    Args:
      key: PRNG key; each step uses its own.
      noisy_score: ``(key, x) -> estimate of grad log p(x)``, for instance from a random minibatch.
      x: the start, leaves ``(B, ...)``, one chain for each example.
      step_sizes: ``(n,)``, in squared units of ``x``.

    Returns:
      The last state, shaped and typed like ``x``.

    >>> noisy = lambda key, x: -x + jax.random.normal(key, x.shape)
    >>> run = jax.jit(sgld, static_argnums=1)
    >>> x = run(jax.random.key(0), noisy, jnp.zeros((4000, 1)), 0.5 / (1.0 + jnp.arange(50.0)))
    >>> abs(float(x.var()) - 1.0) < 0.15
    True

    Source: Welling & Teh 2011 (https://dl.acm.org/doi/10.5555/3104482.3104568).
    """
    if np.ndim(step_sizes) != 1 or np.shape(step_sizes)[0] < 1:
        raise ValueError(f"step_sizes must have shape (n,) with n >= 1, got shape {np.shape(step_sizes)}")
    check_positive(step_sizes=step_sizes)
    check_floating(x=x)

    def body(x, inputs):
        key, h = inputs
        for_score, for_noise = jax.random.split(key)
        return combine((1.0, x), (h, noisy_score(for_score, x)), (jnp.sqrt(2.0 * h), normal_like(for_noise, x))), None

    last = _scan(body, key, x, jnp.asarray(step_sizes))
    return check_samples(last, advice="score and step sizes must keep the chain finite", x=x)


@checked
def metropolis_langevin(
    key: Key,
    log_density: Callable[[PyTree], Array],
    x: PyTree,
    step_size: Positive[ArrayLike],
    steps: PositiveInt,
) -> MetropolisResult:
    """Metropolis-adjusted Langevin (MALA), which leaves ``p`` exactly invariant at any step size.

    ``y = x + h score(x) + sqrt(2 h) z`` is accepted with probability ``min(1, p(y) q(x | y) / (p(x) q(y | x)))``;
    with ``g = score(x) + score(y)``, ``log q(x | y) - log q(y | x) = -sqrt(h / 2) z . g - h |g|^2 / 4``. A proposal
    where ``log p`` is ``-inf`` or NaN is rejected. Tune h for an acceptance near 0.57.

    Args:
      key: PRNG key; each step uses its own.
      log_density: ``x -> log p(x)`` up to a constant, differentiable, ``(B,)``; no term may mix examples.
      x: the start, leaves ``(B, ...)``, where ``p > 0``.
      step_size: h, in squared units of ``x``: a number, or ``(steps,)``, one for each step.
      steps: number of steps, each with one value and gradient of ``log_density`` (and one before the first).

    Returns:
      A :class:`MetropolisResult`.

    Raises:
      ValueError: if ``log_density`` does not return ``(B,)`` or, called eagerly, is not finite at the start.

    >>> log_density = lambda x: -0.5 * jnp.sum(x**2, -1)
    >>> start = jax.random.normal(jax.random.key(0), (100, 2))
    >>> run = jax.jit(metropolis_langevin, static_argnums=(1, 4))
    >>> result = run(jax.random.key(1), log_density, start, 0.005, 20)
    >>> bool(result.acceptance.mean() > 0.5)
    True

    Source: Roberts & Tweedie 1996 (https://doi.org/10.2307/3318418); Roberts & Rosenthal 1998
    (https://doi.org/10.1111/1467-9868.00123) for the tuning.
    """
    check_floating(x=x)
    check_finite(x=x)
    b = batch_size(x)

    def evaluate(x):
        def total(x):
            value = log_density(x)
            if jnp.shape(value) != (b,):
                raise ValueError(f"log_density must return shape ({b},), one value per chain, got {jnp.shape(value)}")
            return jnp.sum(value), value

        (_, value), slope = jax.value_and_grad(total, has_aux=True)(x)
        return value, slope

    def body(carry, inputs):
        x, value, slope, accepted = carry
        key, h = inputs
        for_noise, for_test = jax.random.split(key)
        z = normal_like(for_noise, x)
        y = combine((1.0, x), (h, slope), (jnp.sqrt(2.0 * h), z))
        value_y, slope_y = evaluate(y)
        g = combine((1.0, slope), (1.0, slope_y))
        dot = sum_per_example(lambda a: a, jax.tree.map(jnp.multiply, z, g))
        back = -jnp.sqrt(0.5 * h) * dot - 0.25 * h * sum_per_example(jnp.square, g)
        accept = jnp.log(jax.random.uniform(for_test, (b,))) < value_y - value + back  # NaN compares as False
        x, slope = where(accept, y, x), where(accept, slope_y, slope)
        value = jnp.where(accept, value_y, value)
        return (x, value, slope, accepted + accept), None

    value, slope = evaluate(x)
    check(np.isfinite, "finite at the start x", log_density=value)
    start = x, value, slope, jnp.zeros(b, jnp.int32)
    last, _, _, accepted = _scan(body, key, start, _step_sizes(step_size, steps))
    check_samples(last, advice="log_density must keep the chain finite", x=x)
    return MetropolisResult(last, accepted / steps)


@checked
def corrupt_denoise(
    key: Key,
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x: PyTree,
    ts: ArrayLike,
    num_rounds: PositiveInt,
) -> PyTree:
    """The chain of a generative stochastic network: add noise up to ``ts[0]``, sample along ``ts``, repeat.

    ``x_t = alpha x + sigma eps`` at ``t = ts[0]``, then ``x <- sample(x_t, ts)``.

    If ``x`` has the law of the data, ``x_t`` has the law ``p_t``, which any exact solver maps back to the data: a
    stochastic solver by drawing from ``p(x | x_t)`` (the chain is then reversible), the deterministic flow by
    transport. The data distribution is thus stationary for both, and is the only stationary law, since the noise has
    full support. For Gaussian data of variance ``s^2`` the correlation between rounds is ``r^2`` with the stochastic
    solver and the larger r with the flow, ``r = alpha s / sqrt(alpha^2 s^2 + sigma^2)``: the flow mixes half as fast.
    With finite steps the chain converges to where the errors of the solver balance, and a last time above 0 adds its
    noise in every round.

    Args:
      key: PRNG key; each round uses its own.
      denoiser: ``(x_t, t) -> Prediction``.
      schedule: the noise schedule of the denoiser.
      solver: one of :mod:`scorekit.solvers`, as for :func:`scorekit.samplers.sample`.
      x: the start at t = 0, leaves ``(B, ...)``.
      ts: decreasing times ``(n + 1,)``; the first is the time of corruption, the last should be 0.
      num_rounds: number of rounds.

    Returns:
      The last state, shaped and typed like ``x``.

    >>> from scorekit import denoisers, densities, schedules, solvers
    >>> data, schedule = densities.gaussian(jnp.zeros(1), std=0.5), schedules.Cosine()
    >>> denoiser, ts = denoisers.exact_denoiser(data, schedule), solvers.grids.uniform(8, 0.7)
    >>> start = jnp.full((2000, 1), 3.0)
    >>> run = jax.jit(corrupt_denoise, static_argnums=6)
    >>> x = run(jax.random.key(0), denoiser, schedule, solvers.DPMSolverPP2M(), start, ts, 10)
    >>> abs(float(x.std()) - 0.5) < 0.05
    True

    Source: Bengio et al. 2013 (https://arxiv.org/abs/1305.6663); Bengio et al. 2014
    (https://arxiv.org/abs/1306.1091).
    """
    check_floating(x=x)
    ts = check_grid(ts)

    def body(x, inputs):
        for_noise, for_solver = jax.random.split(inputs[0])
        x_t = perturb(schedule, x, normal_like(for_noise, x), ts[0])
        return sample(denoiser, schedule, solver, x_t, ts, key=for_solver), None

    return check_samples(_scan(body, key, x, jnp.zeros(num_rounds)), schedule=schedule, ts=ts, x=x)


def _scan(body, key, carry, per_step):
    """``body(carry, (key_k, per_step[k]))`` over all k: the last carry."""
    keys = jax.random.split(key, per_step.shape[0])
    return scan(body, carry, (keys, per_step))[0]


def _step_sizes(step_size: ArrayLike, steps: int) -> Array:
    if np.shape(step_size) not in ((), (steps,)):
        raise ValueError(f"step_size must be a number or have shape ({steps},), got shape {np.shape(step_size)}")
    return jnp.broadcast_to(jnp.asarray(step_size, jnp.result_type(float, step_size)), (steps,))
