"""Gradients of a reward through linear samplers against derivatives of the exact law, and its optimum."""

import functools

import jax
import jax.numpy as jnp
import linear_quadratic as lq
import numpy as np
import pytest
from errors import raising
from problems import agrees

from scorekit import alignment, samplers, solvers


def through(table, solver=lq.SOLVER, x=lq.START, reward=lq.reward, **options):
    args = lq.denoiser(table), lq.SCHEDULE, solver, x, lq.TS, reward
    return alignment.reward_gradient_loss(*args, key=lq.KEY, **options)


@pytest.mark.parametrize("solver", [lq.SOLVER, solvers.DPMSolverPP2M()], ids=["sde", "multistep"])
def test_the_gradient_goes_through_the_samples_and_through_the_last_step_alone(solver):
    x = lq.START[:5]
    draw = lambda t: samplers.trajectory(lq.denoiser(t), lq.SCHEDULE, solver, x, lq.TS, key=lq.KEY)
    reward = lambda table: -lq.reward(draw(table)[0])
    found = jax.jit(
        lambda t: [(through(t, solver, x, last=n), jax.jacrev(through)(t, solver, x, last=n)) for n in (3, 1)]
    )
    (value, all_steps), (same, last_step) = found(lq.OTHER)
    np.testing.assert_allclose(np.stack([value, same]), [reward(lq.OTHER)] * 2, rtol=1e-5)
    np.testing.assert_allclose(all_steps, jax.jacrev(reward)(lq.OTHER), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(last_step[:, :2], 0.0)
    if solver is lq.SOLVER:
        last, states = draw(lq.OTHER)
        by_x0 = (last - lq.CENTRE) * lq.steps(lq.OTHER, lq.TS)[3][-1]
        expected = by_x0 * jnp.concatenate([states[-2], jnp.ones((5, 1))], axis=1)
        np.testing.assert_allclose(last_step[:, -1], expected, rtol=1e-4, atol=1e-6)


def matching(table, solver=lq.SOLVER, x=lq.START):
    models, args = (lq.denoiser(table), lq.denoiser(lq.REFERENCE)), (lq.SCHEDULE, solver, x, lq.TS, lq.reward)
    return alignment.adjoint_matching_loss(lq.KEY, *models, *args, temperature=lq.TEMPERATURE)


@jax.jit
def gradients(table):
    """Of each path, ``(B, n, 2)``: through the sampler, and of adjoint matching."""
    drift = lambda table: through(table, last=3, reference=lq.denoiser(lq.REFERENCE), kl=lq.TEMPERATURE)
    return jax.jacfwd(drift)(table), jax.jacfwd(matching)(table)


def test_both_vanish_at_the_optimum_of_dynamic_programming_only():
    assert all(map(agrees, gradients(lq.BEST)))
    drift, adjoint = gradients(lq.OTHER)
    assert agrees(drift, jax.grad(lq.objective)(lq.OTHER))
    assert not agrees(adjoint, errors=20)


def test_the_optimum_tends_to_the_tilted_law_from_noise_alone():
    def errors(t_max, *expected):
        grids = [jnp.linspace(t_max, 0.0, n + 1) for n in (50, 100)]
        return np.abs(np.array([lq.law(lq.optimum(ts), ts)[:2] for ts in grids]) - expected)

    from_noise, ts = errors(1.0, lq.TILTED_MEAN, lq.TILTED_VARIANCE), jnp.linspace(1.0, 0.0, 201)
    np.testing.assert_allclose(from_noise[0] / from_noise[1], 2.0, atol=0.15)
    np.testing.assert_allclose(lq.optimum(ts), lq.exact_table(ts, lq.TILTED_MEAN, lq.TILTED_VARIANCE), atol=0.03)
    # x0 given x_t, which has the variance w and a mean that is linear in x_t, is tilted, and the law of x_t stays
    w = 1 / (1 / lq.VARIANCE + lq.SCHEDULE.alpha(0.5) ** 2 / lq.SCHEDULE.sigma(0.5) ** 2)
    shrink = 1 / (1 + w / lq.TEMPERATURE)
    mean = shrink * (lq.MEAN + w * lq.CENTRE / lq.TEMPERATURE)
    biased = errors(0.5, mean, shrink * w + shrink**2 * (lq.VARIANCE - w))
    np.testing.assert_allclose(biased[0] / biased[1], 2.0, atol=0.15)
    assert lq.TILTED_MEAN - mean > 0.15


short = functools.partial(through, lq.REFERENCE, x=lq.START[:2])
test_errors_name_the_argument = raising(
    {
        "^the result of reward must be finite, but 2 of 2": lambda: short(reward=lambda x: x[:, 0] * np.nan),
        "^the result of reward must hold floating .* int32": lambda: short(reward=lambda x: jnp.ones(2, int)),
        "^the result of reward must hold floating .* complex64": lambda: short(reward=lambda x: x[:, 0] + 1j),
        r"^the result of reward must have shape \(2,\)": lambda: short(reward=lambda x: x),
        "^last must be at most the number of steps, 3, got 4": lambda: short(last=4),
        "^solver must take steps from the last .* SASolver": lambda: matching(lq.REFERENCE, solvers.SASolver()),
    }
)
