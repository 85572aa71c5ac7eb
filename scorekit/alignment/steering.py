"""Steering to a reward while sampling, without its gradient: by weighted particles (Feynman-Kac), or the best of N.

Particles follow the unguided sampler. A guess g_k, the reward of the clean estimate over the temperature, multiplies
the weight at step k by a potential, ``g_0 = 0``, and few effective particles are resampled:

    "difference": ``G_k = exp(g_k - g_(k-1))``,   "max": ``exp(max_(j <= k) g_j)``,   "sum": ``exp(sum_(j <= k) g_j)``.

A last factor ``exp(r(x) / lambda) / prod G`` makes the law exact for each of them. "max" and "sum" count a guess again
at each later guess: with more than a few guesses (``guess_steps``) hardly a particle survives, as ``ess`` shows.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.alignment._steps import check_per_example
from scorekit.arguments import Fraction, Positive, PositiveInt, checked
from scorekit.checks import check, check_classes, check_finite, check_floating, check_not_nan, check_prediction
from scorekit.discrete import Process, TokenDenoiser, TokenSolver
from scorekit.numerics.codes import as_index, check_drawn, is_missing, no_code
from scorekit.numerics.grids import check_grid, check_samples
from scorekit.numerics.meshes import cond, scan, unsplit
from scorekit.samplers import ParticleResult, resample_if_due
from scorekit.trees import batch_size
from scorekit.typing import Array, ArrayLike, Denoiser, Key, Number, PyTree, Schedule, Solver


@checked
def steered_sample(
    key: Key,
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x_init: PyTree,
    ts: ArrayLike,
    reward: Callable[[PyTree], Array],
    *,
    temperature: Positive[float] = 1.0,
    potential: Literal["difference", "max", "sum"] = "difference",
    threshold: Fraction[Number] = 0.5,
    guess_steps: PositiveInt = 1,
) -> ParticleResult:
    """Weighted samples of ``p(x) exp(r(x) / lambda) / Z``, p the law of :func:`~scorekit.samplers.sample` on this grid.

    The mean of ``exp(log_normalizer)`` is Z for any number of particles.

    Args:
      key: PRNG key of the steps and the resampling.
      denoiser: ``(x_t, t) -> Prediction``, evaluated once for the guess and the solver where that evaluates the state
        itself first (else once more each step); the guess is the reward of its x0.
      schedule: the noise schedule of the denoiser.
      solver: any stochastic solver; copies of a particle would stay equal without noise.
      x_init: the particles at the first time, leaves ``(B, ...)``.
      ts: decreasing times ``(n + 1,)``.
      reward: ``x -> r``, ``(B,)``, not differentiated: it may be a ``jax.pure_callback``. Minus infinity excludes a
        sample, and as a guess is left out.
      temperature: lambda, in the units of the reward.
      potential: how guesses become factors of the weights.
      threshold: particles are resampled where the effective sample size is below this fraction of B: 0 never, 1 always.
      guess_steps: number of steps for one guess.

    Raises:
      ValueError: for rewards that are NaN, infinite, or minus infinity for all samples; traced, the weights are NaN.

    >>> from scorekit import denoisers, densities, process, schedules, solvers
    >>> schedule, data = schedules.Cosine(), densities.gaussian(jnp.zeros(1), std=1.0)
    >>> noise = process.sample_prior(jax.random.key(0), schedule, jnp.zeros((2000, 1)))
    >>> rest = schedule, solvers.DPMSolverPP2MSDE(), noise, jnp.linspace(1, 0, 33)
    >>> run = jax.jit(steered_sample, static_argnums=6)
    >>> out = run(jax.random.key(1), denoisers.exact_denoiser(data, schedule), *rest, lambda x: x[:, 0])
    >>> abs(float(jnp.exp(out.log_weights) @ out.x[:, 0]) - 1.0) < 0.15  # N(0, 1) e^x is N(1, 1)
    True

    Source: Singhal et al. 2025 (https://arxiv.org/abs/2501.06848).
    """
    check_floating(x_init=x_init)
    check_finite(x_init=x_init)
    times = check_grid(ts)

    def step(key, state, x, row, prediction):
        reused = lambda x_t, t: prediction if x_t is x else denoiser(x_t, t)
        return solver.step(state, x, row, reused, key=key)

    look = lambda x, t: check_prediction(denoiser(x, t))
    guess = lambda prediction: _rewards(reward, prediction.x0)
    final = lambda x: _rewards(reward, check_samples(x, schedule=schedule, solver=solver, ts=times, x_init=x_init))
    options = temperature, potential, threshold, guess_steps
    return _steer(key, solver, schedule, x_init, times, look, guess, step, final, *options)


@checked
def steered_tokens(
    key: Key,
    denoiser: TokenDenoiser,
    process: Process,
    solver: TokenSolver,
    z_init: Array,
    ts: ArrayLike,
    reward: Callable[[Array], Array],
    *,
    temperature: Positive[float] = 1.0,
    potential: Literal["difference", "max", "sum"] = "difference",
    threshold: Fraction[Number] = 0.5,
    guess_steps: PositiveInt = 1,
) -> ParticleResult:
    """Weighted tokens of ``p(x) exp(r(x) / lambda) / Z``, p the law of :func:`scorekit.discrete.sample` on this grid.

    The guess is the reward of the most probable token at each place: equal particles have equal weights, while a drawn
    guess would resample them by chance.

    Args:
      key: PRNG key of the steps and the resampling.
      denoiser: ``(z_t, t) -> log p``, evaluated once more each step for solvers of several evaluations or guided rates.
      process: the forward process.
      solver: one of :mod:`scorekit.discrete.solvers` or your own.
      z_init: the particles at the first time, integers ``(B, ...)``.
      ts: decreasing times ``(n + 1,)``.
      reward: ``x -> r``, ``(B,)``, of tokens without masks.
      temperature, potential, threshold, guess_steps: as for :func:`steered_sample`, and so are the errors.

    >>> from scorekit import discrete
    >>> process, z, ts = discrete.absorbing(2), jnp.full((2000, 1), 2), jnp.linspace(1, 0, 5)
    >>> fair, ancestral = discrete.exact_denoiser(jnp.log(jnp.full(2, 0.5)), process), discrete.Ancestral()
    >>> run = jax.jit(steered_tokens, static_argnums=6)
    >>> out = run(jax.random.key(0), fair, process, ancestral, z, ts, lambda x: x[:, 0] * jnp.log(3.0))
    >>> abs(float(jnp.exp(out.log_weights) @ out.x[:, 0]) - 0.75) < 0.05
    True
    """
    check_classes(process.num_states, z_init=z_init)
    if no_code(z_init.dtype) in range(process.num_states):
        raise ValueError(f"z_init must be of a type of more than {process.num_states} integers, got {z_init.dtype}")
    times = check_grid(ts)
    reusable = solver.evals_per_step == 1 and not hasattr(denoiser, "log_rates")

    def step(key, state, z, row, log_p):
        return solver.step(key, state, z, row, (lambda z, t: log_p) if reusable else denoiser)

    def final(z):
        check_drawn("return normalised log-probabilities that are not NaN", denoiser=z)
        missing = jnp.any(is_missing(z).reshape(len(z), -1), axis=1)
        return jnp.where(missing, jnp.nan, _rewards(reward, as_index(z)))

    look = lambda z, t: denoiser(as_index(z), t)
    guess = lambda log_p: _rewards(reward, jnp.argmax(log_p, axis=-1).astype(z_init.dtype))
    options = temperature, potential, threshold, guess_steps
    return _steer(key, solver, process, z_init, times, look, guess, step, final, *options)


def _rewards(reward, x):
    rewards = reward(x)
    check_per_example(batch_size(x), **{"the result of reward": rewards})
    return unsplit(jnp.asarray(rewards, float))  # all weights decide which particles are resampled


def _steer(key, solver, noise, x, times, look, guess, step, final, temperature, potential, threshold, guess_steps):
    """Weight by ``guess(look(x, t))``, resample and step along the times; in the end correct by ``final(x)``."""
    if not solver.stochastic:
        raise ValueError(
            f"solver must be stochastic, or copies stay equal, got the deterministic {type(solver).__name__}"
        )
    n, zeros = len(times) - 1, jnp.zeros(batch_size(x))

    def body(carry, inputs):
        x, state, last, total, log_weights, log_normalizer = carry
        row, t, due, for_step, for_rows = inputs
        prediction = look(x, t)
        value = cond(due, guess, lambda _: zeros - jnp.inf, prediction) / temperature
        new = {"difference": value, "max": jnp.maximum(last, value), "sum": last + value}[potential]
        new = jnp.where(value == -jnp.inf, last, new)
        factor = jnp.where(value == -jnp.inf, 0.0, new - last if potential == "difference" else new)
        particles = x, state, prediction, new, total + factor
        particles, *weights, ess, resampled = resample_if_due(for_rows, log_weights + factor, particles, threshold)
        x, state, prediction, new, total = particles
        x, state = step(for_step, state, x, row, prediction)
        return (x, state, new, total, weights[0], log_normalizer + weights[1]), (ess, resampled)

    keys = (jax.random.split(each, n) for each in jax.random.split(key))
    carry = x, solver.init(x), zeros - (jnp.inf if potential == "max" else 0.0), zeros, zeros, jnp.zeros(())
    inputs = solver.plan(noise, times), times[:-1], jnp.arange(1, n + 1) % guess_steps == 0, *keys
    (x, _, _, total, log_weights, log_normalizer), (ess, resampled) = scan(body, carry, inputs)
    log_weights = log_weights + final(x) / temperature - total
    allowed = "below infinity, and finite for one particle"
    check(lambda w: np.all(w < np.inf) & np.any(w > -np.inf), allowed, **{"reward: the log-weights": log_weights})
    return ParticleResult.of(x, log_weights, log_normalizer, ess, resampled)


@checked
def best_of(x: PyTree, rewards: ArrayLike, num_candidates: PositiveInt) -> PyTree:
    """Of each N consecutive samples the one of the largest reward, ``argmax_i r(x_i)``.

    From independent samples of p its density is ``p(x) N F(r(x))^(N - 1)`` with F the distribution function of the
    rewards under p, if they have no ties: ``log N - (N - 1) / N`` nats from p, and not the tilted law.

    Args:
      x: the samples, leaves ``(B, ...)``.
      rewards: their rewards, ``(B,)``.
      num_candidates: N, which divides B.

    Returns:
      Leaves ``(B / N, ...)``; where one of the N rewards is a traced NaN, NaN, or no code (``jnp.take``) of integers.

    >>> best_of(jnp.array([1, 2, 3, 4]), jnp.array([0.0, 1.0, 5.0, 2.0]), 2).tolist()
    [2, 3]
    """
    check_not_nan(rewards=rewards)
    size = batch_size(x)
    check_per_example(size, rewards=rewards)
    if size % num_candidates or not size:
        raise ValueError(f"num_candidates must divide the {size} samples of x, got {num_candidates}")
    groups = jnp.asarray(rewards).reshape(-1, num_candidates)
    best = jnp.argmax(groups, axis=1) + num_candidates * jnp.arange(len(groups))
    rows = jnp.where(jnp.any(jnp.isnan(groups), axis=1), size, best)
    return jax.tree.map(lambda leaf: jnp.take(leaf, rows, axis=0, mode="fill"), unsplit(x))
