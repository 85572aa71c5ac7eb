"""Gradients of a reward through linear samplers against derivatives of the exact law, and its optimum."""

import jax
import jax.numpy as jnp
import linear_quadratic as lq
import numpy as np
import pytest

from scorekit import alignment, samplers, solvers

TS, KEY = jnp.array([0.9, 0.6, 0.3, 0.1]), jax.random.key(0)
REFERENCE = lq.exact_table(lq.DATA, TS)
OTHER = REFERENCE + 0.1 * jnp.arange(6.0).reshape(3, 2)
START = lq.starts(TS, 200_000)


def through(table, solver=lq.SOLVER, x=START, **options):
    model = lq.denoiser(table, TS)
    return alignment.reward_gradient_loss(model, lq.SCHEDULE, solver, x, TS, lq.reward, key=KEY, **options)


@pytest.mark.parametrize("solver", [lq.SOLVER, solvers.DPMSolverPP2M(), solvers.Heun()])
def test_the_gradient_through_all_steps_is_that_of_the_samples_and_through_the_last_one_of_that_step(solver):
    x = START[:5]
    draw = lambda table: samplers.trajectory(lq.denoiser(table, TS), lq.SCHEDULE, solver, x, TS, key=KEY)
    reward = lambda table: -lq.reward(draw(table)[0])
    found = [jax.jit(lambda table, n=n: (f := lambda t: through(t, solver, x, last=n), f(table), jax.jacrev(f)(table))[1:])(OTHER) for n in (3, 1)]
    for value, _ in found:
        np.testing.assert_allclose(value, reward(OTHER), rtol=1e-5)
    np.testing.assert_allclose(found[0][1], jax.jacrev(reward)(OTHER), rtol=1e-4, atol=1e-6)
    if solver is lq.SOLVER:
        last, states = draw(OTHER)
        by_mean = (last[:, 0] - lq.CENTRE) * lq.steps(OTHER, TS)[3][-1]
        expected = np.zeros((5, 3, 2))
        expected[:, -1] = np.stack([by_mean * states[-2, :, 0], by_mean], axis=-1)
        np.testing.assert_allclose(found[1][1], expected, rtol=1e-4, atol=1e-6)


@jax.jit
def gradients(table):
    """Of each path, ``(B, n, 2)``: through the sampler, and of adjoint matching."""
    ref = lq.denoiser(REFERENCE, TS)
    matching = lambda table: alignment.adjoint_matching_loss(
        KEY, lq.denoiser(table, TS), ref, lq.SCHEDULE, lq.SOLVER, START, TS, lq.reward, temperature=lq.TEMPERATURE
    )
    drift = lambda table: through(table, last=3, reference=ref, kl=lq.TEMPERATURE)
    return jax.jacfwd(drift)(table), jax.jacfwd(matching)(table)


def test_both_vanish_at_the_optimum_of_dynamic_programming_only():
    for found in gradients(lq.optimum(TS)):
        assert lq.agrees(found)
    drift, matching = gradients(OTHER)
    assert lq.agrees(drift, jax.grad(lq.objective)(OTHER, TS))
    assert not lq.agrees(matching, 0.0, errors=20)


def test_the_optimum_tends_to_the_tilted_law_from_noise_alone():
    def errors(t_max, mean, variance):
        grids = [jnp.linspace(t_max, 0.0, n + 1) for n in (50, 100)]
        laws = [lq.law(lq.optimum(ts), ts)[:2] for ts in grids]
        return np.abs(np.array(laws) - [mean, variance])

    from_noise = errors(1.0, lq.TILTED_MEAN, lq.TILTED_VARIANCE)
    assert np.all(from_noise[0] < 0.06)
    np.testing.assert_allclose(from_noise[0] / from_noise[1], 2.0, atol=0.15)
    ts = jnp.linspace(1.0, 0.0, 201)
    exact = lq.exact_table(lq.densities.gaussian(jnp.full(1, lq.TILTED_MEAN), std=lq.TILTED_VARIANCE**0.5), ts)
    assert np.max(np.abs(exact - lq.optimum(ts))) < 0.03
    # x0 given x_t is N(m + k (x_t - alpha m), w), tilted by the reward: the law of x_t stays
    alpha, (_, variance) = lq.SCHEDULE.alpha(0.5), lq.marginal(0.5)
    k, w = alpha * 0.49 / variance, 0.49 - alpha**2 * 0.49**2 / variance
    shrink = 1 / (1 + w / lq.TEMPERATURE)
    mean = shrink * (-0.5 + w * lq.CENTRE / lq.TEMPERATURE)
    biased = errors(0.5, mean, shrink * w + shrink**2 * k**2 * variance)
    assert np.all(biased[0] < 0.04)
    assert abs(mean - lq.TILTED_MEAN) > 0.15


def test_bad_arguments_are_named():
    model, x = lq.denoiser(REFERENCE, TS), START[:2]
    args = lq.SCHEDULE, lq.SOLVER, x, TS
    rewards = {
        "finite": lambda x: x[:, 0] * np.nan,
        "floating": lambda x: jnp.ones(2, int),
        r"shape \(2,\)": lambda x: x,
        "floating arrays, got dtype complex64": lambda x: x[:, 0] + 1j,
    }
    for words, reward in rewards.items():
        with pytest.raises(ValueError, match=f"^the result of reward must .*{words}"):
            alignment.reward_gradient_loss(model, *args, reward, key=KEY)
    with pytest.raises(ValueError, match="^last must be at most the number of steps, 3, got 4"):
        through(REFERENCE, last=4)
    for solver, words in ((solvers.SASolver(), "from the last state alone"), (solvers.Euler(), "be stochastic")):
        with pytest.raises(ValueError, match=f"^solver must .*{words}"):
            alignment.adjoint_matching_loss(KEY, model, model, lq.SCHEDULE, solver, x, TS, lq.reward)
