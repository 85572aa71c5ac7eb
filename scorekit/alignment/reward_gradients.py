"""Losses of a differentiable reward: its gradient through the sampler, and adjoint matching."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from scorekit.alignment._steps import check_reference, one_step_rows, reward_of, step_kl, step_mean, whitened
from scorekit.arguments import NonNegative, Positive, PositiveInt, checked
from scorekit.checks import check_floating, check_prediction
from scorekit.numerics.grids import check_grid, check_samples
from scorekit.numerics.meshes import scan
from scorekit.samplers import sample_with_log_probs
from scorekit.trees import combine, sum_per_example
from scorekit.typing import Array, ArrayLike, Denoiser, Key, PyTree, Schedule, Solver


@checked
def reward_gradient_loss(
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x_init: PyTree,
    ts: ArrayLike,
    reward: Callable[[PyTree], Array],
    *,
    key: Key | None = None,
    last: PositiveInt = 1,
    reference: Denoiser | None = None,
    kl: NonNegative[float] = 0.0,
) -> Array:
    """``-r(x_n) + kl sum_k KL_k`` of each sample; the gradient and the sum are of the last K steps (DRaFT-K).

    Without kl it tends to the maxima of the reward, where all samples look alike; with ``kl = lambda`` and all steps it
    has the minimum of :func:`policy_gradient_loss`.

    Args:
      denoiser: ``(x_t, t) -> Prediction``; the gradient goes through K evaluations.
      schedule: the noise schedule.
      solver: any; with a reference, one whose steps are Gaussians from the last state alone.
      x_init, ts: the start, leaves ``(B, ...)``, and decreasing times ``(n + 1,)``.
      reward: ``x -> r``, ``(B,)``, differentiable.
      key: PRNG key; may be None for a deterministic solver.
      last: K, at most n.
      reference: the denoiser to stay close to, K evaluations more; None for kl = 0.
      kl: weight of the KL divergence of a step from that of the reference, in the units of the reward.

    Source: Clark et al. 2023 (https://arxiv.org/abs/2309.17400).
    """
    times = check_grid(ts)
    check_floating(x_init=x_init)
    check_reference(reference, kl)
    n = times.shape[0] - 1
    if last > n:
        raise ValueError(f"last must be at most the number of steps, {n}, got {last}")
    if solver.stochastic and key is None:
        raise ValueError(f"key must be a PRNG key for the stochastic solver {type(solver).__name__}, got None")
    rows = solver.plan(schedule, times) if reference is None else one_step_rows(solver, schedule, times)
    inputs = rows, None if key is None or not solver.stochastic else jax.random.split(key, n)

    def body(denoiser, reference, carry, inputs):
        (x, state), (row, key) = carry, inputs
        if reference is None:
            return solver.step(state, x, row, denoiser, key=key), 0.0
        prediction = check_prediction(denoiser(x, row.t))
        once = lambda x, t: prediction
        mean, other = (step_mean(solver, state, x, row, each) for each in (once, reference))
        return solver.step(state, x, row, once, key=key), step_kl(mean, other, row.std)

    carry, fixed = (x_init, solver.init(x_init)), lambda x, t: jax.lax.stop_gradient(denoiser(x, t))
    if last < n:
        first = jax.tree.map(lambda leaf: leaf[: n - last], inputs)
        carry = jax.lax.stop_gradient(scan(lambda *step: body(fixed, None, *step), carry, first)[0])
    rest = jax.tree.map(lambda leaf: leaf[n - last :], inputs)
    (x, _), costs = scan(lambda *step: body(denoiser, reference, *step), carry, rest)
    check_samples(x, schedule=schedule, solver=solver, ts=times, x_init=x_init)
    return kl * jnp.sum(costs, axis=0) - reward_of(reward, x)


@checked
def adjoint_matching_loss(
    key: Key,
    denoiser: Denoiser,
    reference: Denoiser,
    schedule: Schedule,
    solver: Any,
    x_init: PyTree,
    ts: ArrayLike,
    reward: Callable[[PyTree], Array],
    *,
    temperature: Positive[float] = 1.0,
) -> Array:
    """``sum_k |u_k + std_k a_(k+1)|^2 / 2`` of each path, ``u = (mean - mean_ref) / std``, over the steps with noise.

    ``a_n = -grad r(x_n) / lambda`` and ``a_k = (d mean_ref / d x_k)^T a_(k+1)`` along a path of the denoiser, all
    without a gradient. Terms of the true adjoint that this leaves out have mean 0 at the optimum: for any steps the
    minimum is that of :func:`policy_gradient_loss` with ``kl = lambda``.

    Args:
      key: PRNG key of the path.
      denoiser: ``(x_t, t) -> Prediction``, evaluated n times without and n times with a gradient.
      reference: the denoiser before fine-tuning, evaluated n times, with n products with its Jacobian.
      schedule: the noise schedule of both.
      solver: a solver whose steps are Gaussians from the last state alone.
      x_init, ts: the start, leaves ``(B, ...)``, and decreasing times ``(n + 1,)``.
      reward: ``x -> r``, ``(B,)``, differentiable.
      temperature: lambda, in the units of the reward.

    Source: Domingo-Enrich et al. 2024 (https://arxiv.org/abs/2409.08861).
    """
    rows, fixed = one_step_rows(solver, schedule, check_grid(ts)), lambda x, t: jax.lax.stop_gradient(denoiser(x, t))
    drawn = jax.lax.stop_gradient(sample_with_log_probs(key, fixed, schedule, solver, x_init, ts))
    slope = jax.grad(lambda x: jnp.sum(reward_of(reward, x)))(drawn.x)

    def body(a, inputs):
        x, row = inputs
        mean, pull = jax.vjp(lambda x: step_mean(solver, (), x, row, reference), x)
        u = whitened(step_mean(solver, (), x, row, denoiser), jax.lax.stop_gradient(mean), row.std)
        rest = jnp.where(row.std == 0, 0.0, sum_per_example(jnp.square, combine((1.0, u), (row.std, a))))
        return jax.lax.stop_gradient(pull(a)[0]), 0.5 * rest

    backwards = jax.tree.map(lambda leaf: leaf[::-1], (jax.tree.map(lambda leaf: leaf[:-1], drawn.trajectory), rows))
    return jnp.sum(scan(body, combine((-1.0 / temperature, slope)), backwards)[1], axis=0)
