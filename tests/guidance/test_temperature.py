"""What scaling the score does, and what it does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rule_table import DATA

from scorekit import denoisers, densities, process, samplers, schedules, solvers
from scorekit.guidance import temperature

SCHEDULE = schedules.geometric_ve(0.01, 10.0)
VARIANCE, START = 0.5, 0.5 + 100.0  # of the data, and of the noisy state at t = 1


def gaussian(tau):
    prior = densities.gaussian(jnp.zeros(1), std=VARIANCE**0.5)
    return temperature(denoisers.exact_denoiser(prior, SCHEDULE), SCHEDULE, tau)


def test_at_each_time_the_score_is_that_of_a_power_of_the_noisy_density():
    t, x = 0.6, 3.0 * jax.random.normal(jax.random.key(0), (5, 2))
    noisy = DATA.marginal(SCHEDULE.alpha(t), SCHEDULE.sigma(t))
    rule = temperature(denoisers.exact_denoiser(DATA, SCHEDULE), SCHEDULE, 0.4)
    expected = jax.vmap(jax.grad(lambda x: noisy.log_density(x) / 0.4))(x)
    found = rule(x, t)
    np.testing.assert_allclose(process.score(found, t, SCHEDULE), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.x0 + SCHEDULE.sigma(t) * found.eps, x, rtol=1e-5, atol=1e-5)


TAUS = (0.5, 0.8, 1.0, 1.5)


def test_temperature_flow_ends_at_a_variance_that_depends_on_the_start():
    """``v (V / v)^(1 - 1 / tau)``, which is the ``tau v`` of the power of p only at ``tau = 1``."""

    @jax.jit
    def gain(tau):  # the map is linear
        ts = solvers.grids.uniform(200)
        return samplers.sample(None, gaussian(tau), SCHEDULE, solvers.Heun(coordinate="sigma"), jnp.ones((1, 1)), ts)

    for tau in TAUS:
        found = START * float(gain(tau)[0, 0]) ** 2
        assert found == pytest.approx(VARIANCE * (START / VARIANCE) ** (1 - 1 / tau), rel=0.01)
        assert (abs(found / (tau * VARIANCE) - 1) > 0.2) == (tau != 1.0)


def test_temperature_reverse_sde_ends_at_its_closed_form_variance():
    """``v (c + (1 - c) (v / V)^(2 / tau - 1))``, ``c = tau / (2 - tau)``; the steps are linear with independent noise,
    so that the variance is followed without drawing any."""

    @jax.jit
    def end(tau):
        ts = solvers.grids.uniform(400)
        solver, denoiser = solvers.Ancestral(), gaussian(tau)
        rows = solver.plan(SCHEDULE, ts)

        def step(variance, row):
            mean, _ = solver.mean((), jnp.ones((1, 1)), row, denoiser)
            return jnp.square(mean[0, 0]) * variance + jnp.square(row.std), None

        return jax.lax.scan(step, jnp.float32(START), rows)[0]

    for tau in TAUS:
        c = tau / (2 - tau)
        expected = VARIANCE * (c + (1 - c) * (VARIANCE / START) ** (2 / tau - 1))
        assert float(end(tau)) == pytest.approx(expected, rel=0.03)


@pytest.mark.slow
def test_temperature_flow_of_a_mixture_has_the_wrong_weights():
    """Two narrow modes of weights 0.7 and 0.3: the square has 0.845 and 0.155, the flow ends in the heavier always."""
    modes = [densities.gaussian(jnp.array([m]), std=0.2) for m in (-1.0, 1.0)]
    data, tau = densities.mixture([0.7, 0.3], modes), 0.5
    rule = temperature(denoisers.exact_denoiser(data, SCHEDULE), SCHEDULE, tau)
    level = jnp.sqrt(0.2**2 + 1.0 + SCHEDULE.sigma(1.0) ** 2)
    x = level * jax.scipy.stats.norm.ppf((jnp.arange(400) + 0.5) / 400)[:, None]
    end = jax.jit(samplers.sample)(None, rule, SCHEDULE, solvers.Euler(), x, solvers.grids.uniform(200))
    assert float(jnp.mean(end < 0)) > 0.99 > 0.1 + 0.7**2 / (0.7**2 + 0.3**2)
