"""Policy gradients of samplers with Gaussian steps, for any reward of their samples.

A gradient goes through all n evaluations: with the network in ``jax.checkpoint`` it needs the memory of one.
"""

from typing import Any

import jax
import jax.numpy as jnp

from scorekit.alignment._steps import check_reference, check_rewards, step_kl
from scorekit.arguments import NonNegative, PositiveFraction, checked
from scorekit.checks import check_floating
from scorekit.numerics import wide
from scorekit.samplers import LoggedSample
from scorekit.samplers.log_prob import gaussian_steps
from scorekit.typing import Array, ArrayLike, Denoiser, PyTree, Schedule


@checked
def policy_gradient_loss(
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Any,
    path: LoggedSample,
    ts: ArrayLike,
    advantages: ArrayLike,
    *,
    clip: PositiveFraction[float] = 0.2,
    reference: Denoiser | None = None,
    kl: NonNegative[float] = 0.0,
) -> Array:
    """``sum_k (kl KL_k - min(rho_k A_k, clip(rho_k, 1 - c, 1 + c) A_k))`` of each path, rho the ratio of the steps.

    ``A_k = A - kl sum_(j > k) KL_j``: an earlier step answers for the distances that follow it (Flow-GRPO has A alone).
    With rewards for A and ``kl = lambda``, rounds of new paths tend to the Gaussian steps of these deviations whose
    path law is the nearest in KL divergence to ``p(path) exp(r / lambda)`` GIVEN the start. In many small steps from
    noise that is independent of the sample (``Ancestral`` from alpha = 0) that is the tilted law; from another start,
    whose law stays as it is, it is not. Without kl they tend to the maxima of the reward.

    Args:
      denoiser: ``(x_t, t) -> Prediction``, with the new parameters.
      schedule, solver: of the path.
      path: the result of :func:`scorekit.samplers.sample_with_log_probs` with the old parameters.
      ts: times of the path, ``(n + 1,)``.
      advantages: A of each path, ``(B,)``, from :func:`advantages`.
      clip: c; a step whose ratio is further outside, in the direction of ``A_k``, gets no gradient of it.
      reference: the denoiser to stay close to, n evaluations more; None for kl = 0.
      kl: weight of :func:`path_kl`, in the units of A.

    Source: Black et al. 2023 (https://arxiv.org/abs/2305.13301); Liu et al. 2025 (https://arxiv.org/abs/2505.05470).
    """
    check_reference(reference, kl)
    check_floating(path=path)
    log_probs, means, std = gaussian_steps(denoiser, schedule, solver, path.trajectory, ts)
    if path.log_probs.shape != log_probs.shape:
        raise ValueError(f"path must have log_probs of shape {log_probs.shape}, got {path.log_probs.shape}")
    check_rewards(log_probs.shape[1], advantages=advantages)
    a, log_ratio, costs = wide(advantages), log_probs - path.log_probs, jnp.zeros(())
    if reference is not None:
        costs = kl * jax.vmap(step_kl)(means, gaussian_steps(reference, schedule, solver, path.trajectory, ts)[1], std)
        a = a - jax.lax.stop_gradient(jnp.sum(costs, axis=0) - jnp.cumsum(costs, axis=0))
    limited = jnp.where(a > 0, jnp.minimum(log_ratio, jnp.log1p(clip)), jnp.maximum(log_ratio, jnp.log1p(-clip)))
    return jnp.sum(costs - jnp.exp(limited) * a, axis=0)


@checked
def path_kl(
    denoiser: Denoiser, reference: Denoiser, schedule: Schedule, solver: Any, trajectory: PyTree, ts: ArrayLike
) -> Array:
    """``|mean - mean_ref|^2 / (2 std^2)``, ``(n, B)``: KL divergences of steps from those of a reference, in nats.

    Its sum, averaged over paths of the denoiser, is that of the laws of paths. A step without noise counts 0.

    Args:
      denoiser, reference: ``(x_t, t) -> Prediction``, evaluated n times each.
      schedule, solver: of the trajectory.
      trajectory, ts: every state, leaves ``(n + 1, B, ...)``, and its times, ``(n + 1,)``.

    Source: Liu et al. 2025 (https://arxiv.org/abs/2505.05470).
    """
    means = [gaussian_steps(each, schedule, solver, trajectory, ts)[1:] for each in (denoiser, reference)]
    return jax.vmap(step_kl)(means[0][0], *means[1])
