"""The recommended solver and grid against exact paths of a mixture, and against what they replace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import SCHEDULES

from scorekit import denoisers, densities, process, samplers, schedules, solvers
from scorekit.predictions import Eps
from scorekit.samplers import recommended
from scorekit.solvers import grids

DATA = {
    1: densities.mixture([0.3, 0.7], [densities.gaussian(jnp.array([m]), std=0.2) for m in (-1.3, 0.7)]),
    2: densities.ring(8, 1.4, 0.1),
}


@jax.jit
def draw(data, schedule, solver, ts, x):
    return samplers.sample(None, denoisers.exact_denoiser(data, schedule), schedule, solver, x, ts)


def start(schedule, dim, n=256):
    return process.sample_prior(jax.random.key(0), schedule, jnp.zeros((n, dim)))


def rmse(x, exact):
    return float(jnp.sqrt(jnp.mean(jnp.square(x - exact))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dim", "schedule"),
    [
        pytest.param(1, schedules.cosine(), id="1d_cosine"),
        pytest.param(2, schedules.rectified_flow(), id="2d_flow", marks=pytest.mark.slow),
    ],
)
def test_recommended_converges_and_is_nearer_to_the_exact_path_than_a_widely_used_pair(dim, schedule):
    data, x = DATA[dim], start(schedule, dim)
    exact = draw(data, schedule, solvers.RK4(), grids.vp_quadratic(schedule, 300, power=3.0), x)
    errors = []
    for steps, factor in ((5, 0.8), (10, 0.5), (20, 0.25)):
        errors.append(rmse(draw(data, schedule, *recommended(schedule, steps), x), exact))
        karras = grids.karras(schedule, steps).at[0].set(1.0)
        usual = rmse(draw(data, schedule, solvers.DPMSolverPP2M(), karras, x), exact)
        assert errors[-1] < factor * usual, (steps, errors, usual)
    assert max(errors[1] / errors[0], errors[2] / errors[1]) < 0.6, errors


@pytest.mark.slow
@pytest.mark.parametrize("dim", DATA)
def test_stochastic_pair_draws_the_variance_of_gaussian_data(dim):
    data, schedule = densities.gaussian(jnp.full(dim, 0.5), std=0.5), schedules.cosine()
    solver, ts = recommended(schedule, 40, stochastic=True)
    assert solver.stochastic

    @jax.jit
    def sample(key, x):
        return samplers.sample(key, denoisers.exact_denoiser(data, schedule), schedule, solver, x, ts)

    x = sample(jax.random.key(1), start(schedule, dim, 20_000))
    np.testing.assert_allclose(jnp.mean(x, 0), 0.5, atol=0.02)
    np.testing.assert_allclose(jnp.std(x, 0), 0.5, rtol=0.03)


@pytest.mark.parametrize("steps", [1, 2, 4, 9, 10, 300])
@pytest.mark.parametrize("stochastic", [False, True])
def test_recommended_has_one_evaluation_a_step_and_the_given_ends(steps, stochastic):
    solver, ts = recommended(schedules.edm(), steps, stochastic=stochastic, t_max=0.9, t_min=0.1)
    assert samplers.nfe(solver, ts) == steps
    assert (ts.shape, ts[0], ts[-1]) == ((steps + 1,), np.float32(0.9), np.float32(0.1))
    assert solver.stochastic == stochastic


@pytest.mark.parametrize("name", ["cosine", "rectified_flow", "sigmoid", "linear_vp", "edm"])
def test_the_grid_begins_where_the_target_is_defined(name):
    schedule = SCHEDULES[name].make()
    latest = 0.999 if schedule.alpha(1.0) == 0 else 1.0
    first = lambda target, t_max=1.0: float(recommended(schedule, 8, target=target, t_max=t_max)[1][0])
    assert [first(target) for target in ("x0", "v", "velocity", None)] == [1.0] * 4
    np.testing.assert_allclose([first("eps"), first("score"), first(Eps())], latest, rtol=1e-6)
    np.testing.assert_allclose([first("eps", 0.9), jax.jit(first_of_eps(schedule))(0.9)], 0.9, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(first_of_eps(schedule))(1.0), latest, rtol=1e-6)
    with pytest.raises(ValueError, match="target must be one of"):
        first("noise")


def first_of_eps(schedule):
    return lambda t_max: recommended(schedule, 8, target="eps", t_max=t_max)[1][0]


def test_with_the_scale_of_the_data_few_steps_are_the_tabulated_ones():
    schedule = schedules.rectified_flow()
    for steps in (5, 6, 7, 8, 10, 12):
        solver, ts = recommended(schedule, steps, sigma_data=0.5)
        expected, grid = samplers.few_steps(schedule, steps, sigma_data=0.5)
        assert solver == expected
        np.testing.assert_array_equal(ts, grid)
    for steps in (4, 9, 15, 25):
        solver, ts = recommended(schedule, steps, sigma_data=0.5)
        expected, grid = recommended(schedule, steps)
        assert solver == expected
        np.testing.assert_array_equal(ts, grid)
    with pytest.raises(ValueError, match="sigma_data must be left out of a stochastic pair"):
        recommended(schedule, 8, stochastic=True, sigma_data=0.5)
