"""The tabulated sampler: its table, its noise levels on every schedule, and its error on other data than its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import denoisers, densities, process, samplers, schedules, solvers
from scorekit.samplers import few_steps, recommended
from scorekit.samplers._few_steps_table import TABLE
from scorekit.solvers import grids

RING = densities.ring(8, 1.4, 0.1)  # no mixture of the table's family lies on a circle
SCHEDULES = {
    "vp": schedules.linear_vp(),
    "edm": schedules.edm(1e-4, 80.0),
    "flow": schedules.rectified_flow(),
    "cosine": schedules.cosine(),
}


@jax.jit
def draw(data, schedule, solver, ts, x):
    return samplers.sample(None, denoisers.exact_denoiser(data, schedule), schedule, solver, x, ts)


def rmse(x, exact):
    return float(jnp.sqrt(jnp.mean(jnp.square(x - exact))))


def test_table_has_decreasing_noise_and_weights_of_every_earlier_slope():
    for steps, rows in TABLE.items():
        assert len(rows) == steps
        levels = np.array([level for level, _, _ in rows])
        assert np.all(np.diff(levels) > 0.1), steps
        assert [len(weights) for _, _, weights in rows] == [min(k, 4) + 1 for k in range(steps)]
        np.testing.assert_allclose([sum(weights) for _, _, weights in rows], 1.0, atol=0.35)  # else no ODE is solved


@pytest.mark.parametrize("name", SCHEDULES)
def test_noise_levels_are_those_of_the_table_in_units_of_the_data_on_every_schedule(name):
    schedule = SCHEDULES[name]
    for steps, rows in list(TABLE.items())[::3]:
        _, ts = few_steps(schedule, steps, sigma_data=0.5)
        assert (ts.shape, ts[0], ts[-1]) == ((steps + 1,), 1.0, 0.0)
        expected = np.array([level for level, _, _ in rows])[1:] + 2.0 * np.log(2.0)
        np.testing.assert_allclose(schedule.log_snr(ts[1:-1]), expected, atol=2e-3)


@pytest.mark.slow
def test_every_schedule_gives_the_same_samples_and_they_scale_with_the_data():
    noise = jax.random.normal(jax.random.key(0), (64, 2))
    found = []
    for sigma_data, schedule in [(1.0, SCHEDULES["vp"]), (1.0, SCHEDULES["flow"]), (0.25, SCHEDULES["cosine"])]:
        data = densities.ring(8, 1.4 * sigma_data, 0.1 * sigma_data)
        solver, ts = few_steps(schedule, 8, sigma_data=sigma_data)
        found.append(draw(data, schedule, solver, ts, schedule.sigma(1.0) * noise) / sigma_data)
    np.testing.assert_allclose(np.median(np.abs(found[1] - found[0]), 0), 0.0, atol=2e-3)
    np.testing.assert_allclose(np.median(np.abs(found[2] - found[0]), 0), 0.0, atol=2e-3)


def test_eight_evaluations_have_half_the_error_of_the_usual_pairs_on_other_data():
    schedule = SCHEDULES["flow"]
    x = process.sample_prior(jax.random.key(0), schedule, jnp.zeros((512, 2)))
    exact = draw(RING, schedule, solvers.RK4(), grids.vp_quadratic(schedule, 200, power=3.0), x)
    pairs = [few_steps(schedule, 8), recommended(schedule, 8)]
    pairs += [(solvers.DPMSolverPP2M(), grids.karras(schedule, 8).at[0].set(1.0))]
    pairs += [(solvers.AdamsBashforth(), grids.uniform(8))]
    ours, plain, *usual = (rmse(draw(RING, schedule, *pair, x), exact) for pair in pairs)
    assert ours < plain / 1.2, (ours, plain)
    assert ours < min(usual) / 2.0, (ours, usual)


@pytest.mark.slow
def test_bfloat16_states_and_float64_agree_with_float32():
    schedule, noise = SCHEDULES["cosine"], jax.random.normal(jax.random.key(0), (32, 2))
    bell = densities.gaussian(jnp.array([0.3, -0.2]), std=0.8)
    run = lambda dtype: draw(bell, schedule, *few_steps(schedule, 8), noise.astype(dtype))
    single = run(jnp.float32)
    assert run(jnp.bfloat16).dtype == jnp.bfloat16
    np.testing.assert_allclose(run(jnp.bfloat16).astype(jnp.float32), single, atol=0.1)
    with jax.enable_x64(True):
        double = draw(
            jax.tree.map(lambda leaf: jnp.asarray(leaf, float), bell),
            schedule,
            *few_steps(schedule, 8),
            jnp.asarray(noise, float),
        )
        np.testing.assert_allclose(double, single, atol=2e-5)


def test_solver_raises_on_a_grid_that_is_not_its_own():
    schedule = SCHEDULES["flow"]
    solver, ts = few_steps(schedule, 5)
    with pytest.raises(ValueError, match="ts must be the grid of few_steps for this schedule and sigma_data"):
        solver.plan(schedule, grids.uniform(5))
    with pytest.raises(ValueError, match="steps must be one of 5, "):
        solver.plan(schedule, grids.uniform(3))
    with pytest.raises(ValueError, match="single steps, got FewSteps"):
        solver.row(schedule, ts[:2], 0)
    assert np.all(np.isnan(jax.jit(lambda ts: solver.plan(schedule, ts).row.t)(grids.uniform(5))))


def test_times_must_enclose_the_evaluations():
    schedule = SCHEDULES["flow"]
    with pytest.raises(ValueError, match="t_max and t_min must be times that enclose sigma / alpha = "):
        few_steps(schedule, 5, t_max=0.5)
    assert np.all(np.isnan(jax.jit(lambda t: few_steps(schedule, 5, t)[1])(0.5)))
    inside = jax.jit(lambda t: few_steps(schedule, 5, t)[1])(0.99)
    np.testing.assert_allclose(inside, few_steps(schedule, 5, 0.99)[1], atol=1e-6)
    assert inside[0] == np.float32(0.99)
