"""The recommended solver and grid against exact paths of a mixture, and against what they replace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import SCHEDULES

from scorekit import denoisers, densities, process, samplers, schedules, solvers
from scorekit.predictions import Eps
from scorekit.samplers import few_steps, recommended
from scorekit.samplers._tabulated import TABLES, counts, table
from scorekit.solvers import grids

DATA = {
    1: densities.mixture([0.3, 0.7], [densities.gaussian(jnp.array([m]), std=0.2) for m in (-1.3, 0.7)]),
    2: densities.ring(8, 1.4, 0.1),
}


@jax.jit
def draw(data, schedule, solver, ts, x):
    return samplers.sample(denoisers.exact_denoiser(data, schedule), schedule, solver, x, ts)


def start(schedule, dim, n=256):
    return process.sample_prior(jax.random.key(0), schedule, jnp.zeros((n, dim)))


def rmse(x, exact):
    return float(jnp.sqrt(jnp.mean(jnp.square(x - exact))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dim", "schedule"),
    [(1, schedules.Cosine()), (2, schedules.RectifiedFlow())],
    ids=["1d_cosine", "2d_flow"],
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


@pytest.mark.parametrize("steps", [1, 4, 9, 20])
@pytest.mark.parametrize("stochastic", [False, True])
def test_recommended_has_one_evaluation_a_step_and_the_given_ends(steps, stochastic):
    solver, ts = recommended(schedules.EDM(), steps, stochastic=stochastic, t_max=0.9, t_min=0.1)
    assert samplers.nfe(solver, ts) == steps
    assert (ts.shape, ts[0], ts[-1]) == ((steps + 1,), np.float32(0.9), np.float32(0.1))
    assert solver.stochastic == stochastic


@pytest.mark.parametrize("name", ["cosine", "rectified_flow", "linear_vp"])
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


@pytest.mark.slow
def test_with_the_scale_of_the_data_few_steps_are_the_tabulated_ones():
    schedule = schedules.RectifiedFlow()
    tabulated = lambda steps: few_steps(schedule, steps, sigma_data=0.5)
    plain = lambda steps: recommended(schedule, steps)
    for steps, pair in [*((n, tabulated) for n in counts()), *((n, plain) for n in (3, 9, 22, 25))]:
        solver, ts = recommended(schedule, steps, sigma_data=0.5)
        expected, grid = pair(steps)
        assert solver == expected
        np.testing.assert_array_equal(ts, grid)
    for steps, scale in ((8, 3.0), (20, 8.0)):
        guided, grid = recommended(schedule, steps, sigma_data=0.5, guidance_scale=scale)
        assert guided == few_steps(schedule, steps, sigma_data=0.5, guidance_scale=scale)[0]
        assert np.max(np.abs(grid - tabulated(steps)[1])) > 0.01
    assert recommended(schedule, 9, sigma_data=0.5, guidance_scale=3.0)[0] == plain(9)[0]
    with pytest.raises(ValueError, match="sigma_data must be left out of a stochastic pair"):
        recommended(schedule, 8, stochastic=True, sigma_data=0.5)


# ---- the tabulated sampler -------------------------------------------------------------------------------------------

KINDS = {
    "vp": schedules.LinearVP(),
    "edm": schedules.EDM(sigma_min=1e-4, sigma_max=80.0),
    "flow": schedules.RectifiedFlow(),
    "cosine": schedules.Cosine(),
}


def test_table_has_decreasing_noise_and_weights_of_every_earlier_slope():
    assert counts() == [4, 5, 6, 7, 8, 10, 12, 14, 15, 16, 18, 20, 24]
    assert counts(2.0) == [5, 6, 8, 10, 12, 16, 20]
    for scale, tables in TABLES.items():
        for steps, rows in tables.items():
            assert len(rows) == int(steps)
            assert np.all(np.diff([row[0] for row in rows]) > 0.1), (scale, steps)
            assert [len(row) - 2 for row in rows] == [min(k, 4) + 1 for k in range(len(rows))]
            sums = [sum(row[2:]) for row in rows]  # else no ODE is solved; at 8 slopes turn within a step
            np.testing.assert_allclose(sums, 1.0, atol=0.6 if scale == "8" else 0.35)


def test_tables_of_guidance_scales_are_linear_in_their_logarithm():
    flat = lambda *args: np.concatenate([np.ravel(part) for part in table(8, *args)])
    two, four = flat(2.0), flat(4.0)
    np.testing.assert_allclose(flat(1.0), flat(), rtol=1e-6)
    np.testing.assert_allclose(flat(2.0**1.25), 0.75 * two + 0.25 * four, rtol=1e-5, atol=1e-6)
    assert np.max(np.abs(four - two)) > 0.05
    levels, *_ = jax.jit(lambda scale: table(8, scale))(4.0)  # it may be traced
    np.testing.assert_allclose(levels, four[:8], rtol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_noise_levels_are_those_of_the_table_in_units_of_the_data_on_every_schedule(name):
    schedule = KINDS[name]
    for steps, scale in ((5, None), (8, 4.0), (14, None), (24, None)):
        _, ts = few_steps(schedule, steps, sigma_data=0.5, guidance_scale=scale)
        assert (ts.shape, ts[0], ts[-1]) == ((steps + 1,), 1.0, 0.0)
        rows = TABLES["1" if scale is None else "4"][str(steps)]
        expected = np.array([row[0] for row in rows])[1:] + 2.0 * np.log(2.0)
        np.testing.assert_allclose(schedule.log_snr(ts[1:-1]), expected, atol=2e-3)


@pytest.mark.slow
def test_every_schedule_gives_the_same_samples_and_they_scale_with_the_data():
    noise = jax.random.normal(jax.random.key(0), (64, 2))
    found = []
    for sigma_data, schedule in [(1.0, KINDS["vp"]), (1.0, KINDS["flow"]), (0.25, KINDS["cosine"])]:
        data = densities.ring(8, 1.4 * sigma_data, 0.1 * sigma_data)
        solver, ts = few_steps(schedule, 8, sigma_data=sigma_data)
        found.append(draw(data, schedule, solver, ts, schedule.sigma(1.0) * noise) / sigma_data)
    np.testing.assert_allclose(np.median(np.abs(found[1] - found[0]), 0), 0.0, atol=2e-3)
    np.testing.assert_allclose(np.median(np.abs(found[2] - found[0]), 0), 0.0, atol=2e-3)


def test_eight_evaluations_have_half_the_error_of_the_usual_pairs_on_other_data():
    schedule = KINDS["flow"]
    x = process.sample_prior(jax.random.key(0), schedule, jnp.zeros((512, 2)))
    exact = draw(DATA[2], schedule, solvers.RK4(), grids.vp_quadratic(schedule, 200, power=3.0), x)
    pairs = [few_steps(schedule, 8), recommended(schedule, 8)]
    pairs += [(solvers.DPMSolverPP2M(), grids.karras(schedule, 8).at[0].set(1.0))]
    pairs += [(solvers.AdamsBashforth(), grids.uniform(8))]
    ours, plain, *usual = (rmse(draw(DATA[2], schedule, *pair, x), exact) for pair in pairs)
    assert ours < plain / 1.2, (ours, plain)
    assert ours < min(usual) / 2.0, (ours, usual)


@pytest.mark.slow
def test_bfloat16_states_and_float64_agree_with_float32():
    schedule, noise = KINDS["cosine"], jax.random.normal(jax.random.key(0), (32, 2))
    bell = densities.gaussian(jnp.array([0.3, -0.2]), std=0.8)
    run = lambda dtype, data=bell: draw(data, schedule, *few_steps(schedule, 8), noise.astype(dtype))
    single, half = run(jnp.float32), run(jnp.bfloat16)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), single, atol=0.1)
    with jax.enable_x64(True):
        double = run(float, jax.tree.map(lambda leaf: jnp.asarray(leaf, float), bell))
        np.testing.assert_allclose(double, single, atol=2e-5)


FLOW = KINDS["flow"]
SOLVER, _ = few_steps(FLOW, 5)


def test_traced_few_steps_of_another_grid_are_nan():
    assert np.all(np.isnan(jax.jit(lambda ts: SOLVER.plan(FLOW, ts).row.t)(grids.uniform(5))))
    run = jax.jit(lambda t: few_steps(FLOW, 5, t)[1])
    assert np.all(np.isnan(run(0.5)))
    inside = run(0.99)
    np.testing.assert_allclose(inside, few_steps(FLOW, 5, 0.99)[1], atol=1e-6)
    assert inside[0] == np.float32(0.99)


@pytest.mark.slow
@pytest.mark.parametrize("dim", DATA)
def test_stochastic_pair_draws_the_variance_of_gaussian_data(dim):
    data, schedule = densities.gaussian(jnp.full(dim, 0.5), std=0.5), schedules.Cosine()
    solver, ts = recommended(schedule, 40, stochastic=True)
    assert solver.stochastic

    @jax.jit
    def sample(key, x):
        return samplers.sample(denoisers.exact_denoiser(data, schedule), schedule, solver, x, ts, key=key)

    x = sample(jax.random.key(1), start(schedule, dim, 20_000))
    np.testing.assert_allclose(jnp.mean(x, 0), 0.5, atol=0.02)
    np.testing.assert_allclose(jnp.std(x, 0), 0.5, rtol=0.03)
