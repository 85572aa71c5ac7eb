"""Checks of rewards and references, and Gaussian steps."""

import jax
import jax.numpy as jnp

from scorekit.checks import check_finite, check_floating, check_real
from scorekit.numerics import wide
from scorekit.samplers.log_prob import gaussian_rows
from scorekit.trees import batch_size, is_traced, sum_per_example


def check_rewards(batch, **named):
    """Raises a ``ValueError`` unless the numbers are real, finite where they are known, and of shape ``(B,)``."""
    check_finite(**named)
    check_per_example(batch, **named)


def check_per_example(batch, **named):
    """Raises a ``ValueError`` unless the numbers are real and of shape ``(B,)``."""
    check_real(**named)
    for name, value in named.items():
        if jnp.shape(value) != (batch,):
            raise ValueError(f"{name} must have shape ({batch},), one value per example, got {jnp.shape(value)}")


def reward_of(reward, x):
    """The rewards of samples, checked: a reward of integers has no gradient."""
    named = {"the result of reward": reward(x)}
    check_floating(**named)
    check_rewards(batch_size(x), **named)
    return wide(*named.values())


def check_reference(reference, kl):
    if reference is None and (is_traced(kl) or kl != 0):
        raise ValueError(f"reference must be given where kl is not 0, got None for kl = {kl}")


def one_step_rows(solver, schedule, ts):
    """The rows of a solver whose steps are Gaussians that depend on the last state alone."""
    rows, name = gaussian_rows(solver, schedule, ts), type(solver).__name__
    if solver.max_past:
        raise ValueError(f"solver must take steps from the last state alone, got {name}, which uses earlier states")
    return rows


def step_mean(solver, state, x, row, denoiser):
    return solver.mean(state, x, row, denoiser)[0]


def whitened(mean, other, std):
    """``(mean - other) / std``, in at least float32; 0 for ``std = 0``."""
    scale = jnp.where(std == 0, 0.0, 1.0 / jnp.where(std == 0, 1.0, std))  # NaN stays visible
    return jax.tree.map(lambda a, b: scale * (wide(a) - wide(b)), mean, other)


def step_kl(mean, other, std):
    return 0.5 * sum_per_example(jnp.square, whitened(mean, other, std))
