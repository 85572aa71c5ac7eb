"""Bridges: the published marginals, and the exact law of samplers on a Gaussian joint density of both ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from jax.flatten_util import ravel_pytree
from tables import in_float64

from scorekit import process, schedules, solvers
from scorekit.interpolants import bridge_noise, brownian_schedule
from scorekit.typing import Prediction

STD = 0.8
JOINT = np.array([[1.0, 0.3], [0.3, 1.5]])
SCHEDULES = {
    "brownian": lambda: brownian_schedule(STD),
    "geometric": lambda: schedules.GeometricVE(sigma_min=0.05, sigma_max=3.0),
    "vp": lambda: schedules.LinearVP(beta_min=0.1, beta_max=3.0),
}


def factors(schedule, t):
    """The factors of x0, x1 and z in the state of the bridge."""
    one, none = jnp.ones(1), jnp.zeros(1)
    for x0, x1, z in ((one, none, none), (none, one, none), (none, none, one)):
        yield float(process.perturb(schedule, x0, bridge_noise(schedule, x0, x1, z, t), t)[0])


@pytest.mark.parametrize("t", [0.0, 0.2, 0.7, 1.0])
@in_float64
def test_brownian_bridge_is_that_of_i2sb(t):
    here, rest = STD**2 * t, STD**2 * (1 - t)
    mean, var = (rest / STD**2, here / STD**2), here * rest / STD**2
    np.testing.assert_allclose([*factors(brownian_schedule(STD), t)], [*mean, np.sqrt(var)], atol=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
@in_float64
def test_bridge_is_the_forward_process_given_both_ends(name):
    """q(x_t | x0, x1) by Bayes from the transitions; the bridge ends at x1; the posterior of the schedule keeps it."""
    schedule = SCHEDULES[name]()
    t, s = 0.7, 0.3
    forward, first = process.transition(schedule, 1.0, t), float(schedule.alpha(t))
    scale, noise, var = float(forward.scales[0]), float(forward.std) ** 2, float(schedule.sigma(t)) ** 2
    precision = 1 / var + scale**2 / noise
    expected = first / var / precision, scale / noise / precision, precision**-0.5
    np.testing.assert_allclose([*factors(schedule, t)], expected, rtol=1e-9)
    np.testing.assert_allclose([*factors(schedule, 1.0)], [0.0, 1.0, 0.0], atol=1e-12)
    kernel, (a, b, c) = process.posterior(schedule, t, s), factors(schedule, t)
    of_state, of_data = map(float, kernel.scales)
    found = of_state * a + of_data, of_state * b, np.hypot(of_state * c, float(kernel.std))
    np.testing.assert_allclose(found, [*factors(schedule, s)], rtol=1e-9)


def given_state(x, x1, t):
    """E[x0 | x_t]: the regression of x0 on the state."""
    ends = jnp.stack([1 - t, t])
    return ends @ JOINT[0] / (ends @ JOINT @ ends + STD**2 * t * (1 - t)) * x


def given_both(x, x1, t):
    """E[x0 | x_t, x1]: the residual of the regression of x0 on x1, seen through the noise."""
    gain = JOINT[0, 1] / JOINT[1, 1]
    left = JOINT[0, 0] - gain * JOINT[0, 1]
    return gain * x1 + left / ((1 - t) * left + STD**2 * t) * (x - (1 - t) * gain * x1 - t * x1)


def as_pair(expected, schedule):
    def denoiser(x, x1, t):
        x0 = expected(x, x1, t)
        return Prediction(x0, (x - schedule.alpha(t) * x0) / schedule.sigma(t))

    return denoiser


def law(solver, schedule, ts, denoiser):
    """The covariance of (x, x1) at the end, from x = x1, by the recursion of the affine steps."""
    key, x = jax.random.key(0), jnp.zeros((1, 1))
    flat, unflatten = ravel_pytree((x, x, solver.init(x)))
    z = jax.random.normal(key, (1, 1))[0, 0]

    def body(covariance, row):
        def step(flat, row):
            x, x1, carry = unflatten(flat)
            x, carry = solver.step(carry, x, row, lambda x, t: denoiser(x, x1, t), key=key)
            return ravel_pytree((x, x1, carry))[0]

        jacobian = jax.jacfwd(step)(flat, row._replace(std=0.0 * row.std))
        push = step(flat, row) / z
        return jacobian @ covariance @ jacobian.T + jnp.outer(push, push), None

    start = jnp.zeros((flat.size, flat.size)).at[:2, :2].set(JOINT[1, 1])
    return jax.lax.scan(body, start, solver.plan(schedule, ts))[0][:2, :2]


SOLVERS = {"first order": solvers.Ancestral(), "second order": solvers.SASolver(steps=2)}


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVERS)
@in_float64
def test_pairs_converge_to_the_joint_density_if_the_network_sees_x1(name):
    solver, schedule = SOLVERS[name], brownian_schedule(STD)
    denoiser = as_pair(given_both, schedule)
    run = jax.jit(lambda ts: law(solver, schedule, ts, denoiser))
    coarse, fine = (np.asarray(run(jnp.linspace(1.0, 0.0, n + 1) ** 2)) - JOINT for n in (64, 128))
    slope = np.log2(np.abs(coarse).max() / np.abs(fine).max())
    if name == "second order":
        assert np.abs(fine).max() < 2e-3, fine
        assert slope > 1.6, slope
    else:
        assert abs(slope - solver.order) < 0.2, slope
        assert np.abs(2 * fine - coarse).max() < 0.012, (coarse, fine)


@pytest.mark.slow
@in_float64
def test_without_x1_the_marginal_is_right_and_the_pairs_are_not():
    schedule = brownian_schedule(STD)
    run = jax.jit(lambda ts: law(solvers.Ancestral(), schedule, ts, as_pair(given_state, schedule)))
    errors = [np.asarray(run(jnp.linspace(1.0, 0.0, n + 1) ** 2)) - JOINT for n in (64, 128)]
    assert abs(2 * errors[1][0, 0] - errors[0][0, 0]) < 0.005
    assert abs(errors[1][0, 1]) > 0.1  # a Markov chain from x1 forgets which x0 was its own


ONES = jnp.ones((2, 3))
test_bad_arguments_are_named = raising(
    {
        r"schedule.log_snr\(1\) must be finite": lambda: bridge_noise(schedules.RectifiedFlow(), ONES, ONES, ONES, 0.5),
        "x1": lambda: bridge_noise(brownian_schedule(), ONES, ONES[:1], ONES, 0.5),
        r"t must be in \[0, 1\], got 1.5": lambda: bridge_noise(brownian_schedule(), ONES, ONES, ONES, 1.5),
    }
)
