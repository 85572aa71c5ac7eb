"""Policy gradients of linear policies: the exact gradient of the objective, whose zero is the exact optimum."""

import jax
import jax.numpy as jnp
import linear_quadratic as lq
import numpy as np
import pytest

from scorekit import alignment, samplers, schedules, solvers
from scorekit.denoisers import denoiser_from_network

TS, KEY = jnp.array([0.9, 0.6, 0.3, 0.1]), jax.random.key(0)
REFERENCE = lq.exact_table(lq.DATA, TS)
OTHER = REFERENCE + 0.1 * jnp.arange(6.0).reshape(3, 2)
START = lq.starts(TS, 200_000)


@jax.jit
def gradients(table, kl):
    """Of each path, at the parameters that made it, ``(B, n, 2)``."""
    path = samplers.sample_with_log_probs(KEY, lq.denoiser(table, TS), lq.SCHEDULE, lq.SOLVER, START, TS)
    args = lq.SCHEDULE, lq.SOLVER, path, TS, lq.reward(path.x)
    ref = lq.denoiser(REFERENCE, TS)
    loss = lambda table: alignment.policy_gradient_loss(lq.denoiser(table, TS), *args, reference=ref, kl=kl)
    return jax.jacfwd(loss)(table)


@pytest.mark.parametrize("kl", [0.0, lq.TEMPERATURE])
def test_the_mean_gradient_is_that_of_the_objective(kl):
    expected = jax.grad(lq.objective)(OTHER, TS, kl)
    assert lq.agrees(gradients(OTHER, kl), expected)
    assert not lq.agrees(gradients(OTHER, kl), 0.0, errors=20)


def test_it_vanishes_at_the_optimum_of_dynamic_programming():
    best = lq.optimum(TS)
    np.testing.assert_allclose(jax.grad(lq.objective)(best, TS), 0.0, atol=1e-5)
    assert lq.agrees(gradients(best, lq.TEMPERATURE))


def test_ratios_are_clipped_as_in_the_paper():
    model, args = lq.denoiser(REFERENCE, TS), (lq.SCHEDULE, lq.SOLVER)
    path = samplers.sample_with_log_probs(KEY, model, *args, START[:64], TS)
    a, log_ratio = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    old = path._replace(log_probs=path.log_probs - log_ratio)
    ratio = np.exp(log_ratio)
    expected = -3 * np.minimum(ratio * a, np.clip(ratio, 0.9, 1.1) * a)
    loss = lambda table: alignment.policy_gradient_loss(lq.denoiser(table, TS), *args, old, TS, a, clip=0.1)
    np.testing.assert_allclose(loss(REFERENCE), expected, rtol=1e-4, atol=1e-5)
    moved = np.any(np.asarray(jax.jacfwd(loss)(REFERENCE)) != 0, axis=(1, 2))
    np.testing.assert_array_equal(moved, np.where(a > 0, ratio < 1.1, ratio > 0.9))


def test_path_kl_is_the_mean_log_ratio_of_the_steps_also_with_a_history():
    """Which for steps of equal deviation is the log-ratio at their means; 0 for the last step, which has no noise."""
    schedule, solver, ts = schedules.LinearVP(), solvers.SASolver(steps=2), jnp.array([0.9, 0.6, 0.3, 0.0])
    one, two = (denoiser_from_network(lambda x, t, g=g: g * jnp.tanh(x[:, ::-1]), schedule, "x0") for g in (0.8, 0.3))
    x, rows = jnp.ones((2, 3)), solver.plan(schedule, ts)
    states, state = [x], solver.init(x)
    for k in range(3):
        x, state = solver.mean(state, x, jax.tree.map(lambda leaf, k=k: leaf[k], rows), one)
        states.append(x)
    args = schedule, solver, jnp.stack(states), ts
    log_p, log_q = (samplers.trajectory_log_probs(model, *args) for model in (one, two))
    np.testing.assert_allclose(alignment.path_kl(one, two, *args), log_p - log_q, rtol=1e-4)
    assert np.all(np.asarray(log_p - log_q)[:2] > 1e-3)


def test_bad_arguments_are_named():
    model, args = lq.denoiser(REFERENCE, TS), (lq.SCHEDULE, lq.SOLVER)
    path = samplers.sample_with_log_probs(KEY, model, *args, START[:2], TS)
    loss = lambda a, **options: alignment.policy_gradient_loss(model, *args, path, TS, a, **options)
    wrong = {"finite": [1.0, np.nan], "real numbers": [1j, 0j], r"shape \(2,\)": [[1.0], [0.0]]}
    for words, values in wrong.items():
        with pytest.raises(ValueError, match=f"^advantages must .*{words}"):
            loss(np.array(values))
    with pytest.raises(ValueError, match="^reference must be given where kl is not 0"):
        loss(jnp.ones(2), kl=0.1)
    with pytest.raises(ValueError, match="^solver must be stochastic, got the deterministic Euler"):
        alignment.policy_gradient_loss(model, lq.SCHEDULE, solvers.Euler(), path, TS, jnp.ones(2))
