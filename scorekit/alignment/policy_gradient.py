"""The policy gradient of a sampler with Gaussian steps, from paths and rewards; the reward need not be differentiable.

Both functions go through all n evaluations of the denoiser: with the network in ``jax.checkpoint`` a gradient needs the
memory of one evaluation and of n states.
"""

from typing import Any

import jax
import jax.numpy as jnp

from scorekit.alignment._steps import check_reference, check_rewards, whitened
from scorekit.arguments import NonNegative, PositiveFraction, checked
from scorekit.checks import check_floating
from scorekit.numerics import wide
from scorekit.samplers import LoggedSample
from scorekit.samplers.log_prob import gaussian_steps
from scorekit.trees import sum_per_example
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
    """``-sum_k min(rho_k A, clip(rho_k, 1 - c, 1 + c) A) + kl sum_k KL_k`` of each path, rho the ratio of the steps.

    With rewards r for A, ``kl = lambda`` and new paths in each round it tends to the means of the Gaussian steps whose
    path law is nearest in KL divergence to ``p(path) exp(r / lambda)`` GIVEN its start. In many small steps that is the
    tilted law, if the start is noise independent of the sample (``Ancestral`` from t = 1 where alpha is 0); otherwise
    the law of the start, which stays as it is, biases it. Without kl it tends to the maxima of the reward.

    Args:
      denoiser: ``(x_t, t) -> Prediction``, with the new parameters.
      schedule: the noise schedule.
      solver: the solver of the path.
      path: the result of :func:`scorekit.samplers.sample_with_log_probs` with the old parameters.
      ts: times of the path, ``(n + 1,)``.
      advantages: A of each path, ``(B,)``, from :func:`advantages`.
      clip: c; a step gets no gradient from A that would take rho further outside.
      reference: the denoiser to stay close to, n evaluations more; None for kl = 0.
      kl: weight of :func:`path_kl`, in the units of A.

    >>> from scorekit import denoisers, samplers, schedules, solvers
    >>> flow = schedules.RectifiedFlow()
    >>> model, args = denoisers.denoiser_from_network(lambda x, t: 0 * x, flow), (flow, solvers.Ancestral())
    >>> path = samplers.sample_with_log_probs(jax.random.key(0), model, *args, jnp.ones((1, 2)), [1.0, 0.5, 0.1])
    >>> policy_gradient_loss(model, *args, path, [1.0, 0.5, 0.1], jnp.array([3.0]))  # two steps, rho = 1
    Array([-6.], dtype=float32)

    Source: Black et al. 2023, DDPO (https://arxiv.org/abs/2305.13301); Liu et al. 2025, Flow-GRPO
    (https://arxiv.org/abs/2505.05470).
    """
    check_reference(reference, kl)
    check_floating(path=path)
    log_probs, means, std = gaussian_steps(denoiser, schedule, solver, path.trajectory, ts)
    if path.log_probs.shape != log_probs.shape:
        raise ValueError(f"path must have log_probs of shape {log_probs.shape}, got {path.log_probs.shape}")
    check_rewards(log_probs.shape[1], advantages=advantages)
    a, log_ratio, costs = wide(advantages), log_probs - path.log_probs, jnp.zeros(())
    if reference is not None:
        costs = kl * _kl(means, reference, schedule, solver, path.trajectory, ts, std)
        a = a - jax.lax.stop_gradient(jnp.sum(costs, axis=0) - jnp.cumsum(costs, axis=0))
    limited = jnp.where(a > 0, jnp.minimum(log_ratio, jnp.log1p(clip)), jnp.maximum(log_ratio, jnp.log1p(-clip)))
    return jnp.sum(costs - jnp.exp(limited) * a, axis=0)


@checked
def path_kl(
    denoiser: Denoiser, reference: Denoiser, schedule: Schedule, solver: Any, trajectory: PyTree, ts: ArrayLike
) -> Array:
    """``|mean - mean_ref|^2 / (2 std^2)``: the KL divergence of each step from that of a reference, ``(n, B)`` in nats.

    The mean over paths of the denoiser of its sum over steps is the KL divergence of the laws of the paths. A step
    without noise counts 0.

    Args:
      denoiser: ``(x_t, t) -> Prediction``.
      reference: another denoiser; it and the denoiser are evaluated n times.
      schedule: the noise schedule of both.
      solver: the solver of the trajectory, whose steps are Gaussian.
      trajectory: every state, leaves ``(n + 1, B, ...)``.
      ts: its times, ``(n + 1,)``.

    >>> from scorekit import denoisers, schedules, solvers
    >>> flow = schedules.RectifiedFlow()
    >>> one, two = (denoisers.denoiser_from_network(lambda x, t, m=m: 0 * x + m, flow, "x0") for m in (0.0, 1.0))
    >>> path_kl(one, two, flow, solvers.Ancestral(), jnp.zeros((2, 1, 1)), [1.0, 0.5])  # means 0 and 0.5, std 0.5
    Array([[0.5]], dtype=float32)

    Source: Liu et al. 2025 (https://arxiv.org/abs/2505.05470).
    """
    _, means, std = gaussian_steps(denoiser, schedule, solver, trajectory, ts)
    return _kl(means, reference, schedule, solver, trajectory, ts, std)


def _kl(means, reference, schedule, solver, trajectory, ts, std):
    others = gaussian_steps(reference, schedule, solver, trajectory, ts)[1]
    return jax.vmap(lambda *step: 0.5 * sum_per_example(jnp.square, whitened(*step)))(means, others, std)
