"""Policy gradients of linear policies: the exact gradient of the objective, whose zero is the exact optimum."""

import jax
import jax.numpy as jnp
import linear_quadratic as lq
import numpy as np
from errors import raising
from problems import agrees

from scorekit import alignment, denoisers, samplers, schedules, solvers
from scorekit.samplers import sample_with_log_probs

OF_PATHS = lq.SCHEDULE, lq.SOLVER


@jax.jit
def gradients(table, kl):
    """Of each path, at the parameters that made it, ``(B, n, 2)``."""
    path = sample_with_log_probs(lq.KEY, lq.denoiser(table), *OF_PATHS, lq.START, lq.TS)
    args, options = (*OF_PATHS, path, lq.TS, lq.reward(path.x)), {"reference": lq.denoiser(lq.REFERENCE), "kl": kl}
    return jax.jacfwd(lambda table: alignment.policy_gradient_loss(lq.denoiser(table), *args, **options))(table)


def test_the_mean_gradient_is_that_of_the_objective_which_vanishes_at_the_optimum():
    for kl in (0.0, lq.TEMPERATURE):
        found = gradients(lq.OTHER, kl)
        assert agrees(found, jax.grad(lq.objective)(lq.OTHER, kl))
        assert not agrees(found, errors=20)
    np.testing.assert_allclose(jax.grad(lq.objective)(lq.BEST), 0.0, atol=1e-5)
    assert agrees(gradients(lq.BEST, lq.TEMPERATURE))


def test_ratios_are_clipped_as_in_the_paper():
    path = sample_with_log_probs(lq.KEY, lq.denoiser(lq.REFERENCE), *OF_PATHS, lq.START[:64], lq.TS)
    a, log_ratio = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    args, ratio = (*OF_PATHS, path._replace(log_probs=path.log_probs - log_ratio), lq.TS, a), np.exp(log_ratio)
    loss = lambda table: alignment.policy_gradient_loss(lq.denoiser(table), *args, clip=0.1)
    expected = -3 * np.minimum(ratio * a, np.clip(ratio, 0.9, 1.1) * a)
    np.testing.assert_allclose(loss(lq.REFERENCE), expected, rtol=1e-4, atol=1e-5)
    moved = np.any(np.asarray(jax.jacfwd(loss)(lq.REFERENCE)) != 0, axis=(1, 2))
    np.testing.assert_array_equal(moved, np.where(a > 0, ratio < 1.1, ratio > 0.9))


def test_path_kl_is_the_log_ratio_at_the_means_of_the_steps_also_with_a_history():
    """The last step has no noise."""
    schedule, solver, ts = schedules.LinearVP(), solvers.SASolver(steps=2), jnp.array([0.9, 0.6, 0.3, 0.0])
    one, two = (
        denoisers.denoiser_from_network(lambda x, t, g=g: g * jnp.tanh(x[:, ::-1]), schedule, "x0") for g in (0.8, 0.3)
    )
    states, state, rows = [jnp.ones((2, 3))], solver.init(jnp.ones((2, 3))), solver.plan(schedule, ts)
    for k in range(3):
        mean, state = solver.mean(state, states[-1], jax.tree.map(lambda leaf, k=k: leaf[k], rows), one)
        states.append(mean)
    args = schedule, solver, jnp.stack(states), ts
    log_p, log_q = (samplers.trajectory_log_probs(model, *args) for model in (one, two))
    found = alignment.path_kl(one, two, *args)
    np.testing.assert_allclose(found, log_p - log_q, rtol=1e-4)
    np.testing.assert_array_equal(np.asarray(found) > 1e-3, [[True] * 2, [True] * 2, [False] * 2])


def loss_of(advantages, solver=lq.SOLVER, **options):
    path = samplers.LoggedSample(lq.START[:2], lq.START[:8].reshape(4, 2, 1), jnp.ones((3, 2)))
    args = lq.denoiser(lq.REFERENCE), lq.SCHEDULE, solver, path, lq.TS, np.array(advantages)
    return alignment.policy_gradient_loss(*args, **options)


test_errors_name_the_argument = raising(
    {
        "^advantages must be finite, but 1 of 2": lambda: loss_of([1.0, np.nan]),
        "^advantages must hold real numbers": lambda: loss_of([1j, 0j]),
        "^reference must be given where kl is not 0": lambda: loss_of([1.0, 0.0], kl=0.1),
        "^solver must be stochastic, got the deterministic Euler": lambda: loss_of([1.0, 0.0], solvers.Euler()),
    }
)
