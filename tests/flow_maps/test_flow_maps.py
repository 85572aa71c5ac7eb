"""Flow maps against those of Gaussian data, in closed form, and of mixtures, by a fine integration."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import GAUSSIANS, level, moved, plane
from tables import SCHEDULES, in_float64

from scorekit import denoisers, densities, flow_maps, predictions, samplers, schedules, solvers
from scorekit.flow_maps import FlowMapSolver, transport
from scorekit.numerics.coordinates import log_snr_at
from scorekit.process import perturb, transition

TIMES = np.array([1.0, 0.9, 0.6, 0.4, 0.3, 0.0, 1.0])
ENDS = np.array([0.0, 0.5, 0.59, 0.0, 0.3, 0.0, 1.0])


def states(data, schedule, seed=0):
    """States at ``TIMES``."""
    for_data, for_noise = jax.random.split(jax.random.key(seed))
    x0 = data.sample(for_data, TIMES.shape)
    return perturb(schedule, x0, jax.random.normal(for_noise, x0.shape, x0.dtype), TIMES)


@pytest.mark.slow
@in_float64
def test_chord_of_gaussian_data_ends_where_its_flow_does_on_every_schedule():
    made = [case.make() for case in SCHEDULES.values()]
    levels = lambda u: [np.stack(v) for v in zip(*((s.alpha(u), s.sigma(u)) for s in made), strict=True)]
    start, end = levels(TIMES), levels(ENDS)
    same = (TIMES == ENDS)[:, None]
    for data in (make() for make in GAUSSIANS.values()):
        over = lambda f: jax.jit(jax.vmap(jax.vmap(f)))
        x = jax.random.normal(jax.random.key(0), (len(made), len(TIMES), data.dim))
        pair = over(data.chord)(x, start, end)
        for (alpha, sigma), expected in ((start, x), (end, over(data.flow)(x, start, end))):
            found = alpha[..., None] * pair.x0 + sigma[..., None] * pair.eps
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        denoised = over(data.predict)(x, *start)
        for found, expected in zip(pair, denoised, strict=True):
            np.testing.assert_allclose(same * found, same * expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@in_float64
def test_map_of_a_mixture_is_what_a_solver_converges_to():
    schedule, ring = schedules.EDM(), densities.ring(3, std=0.4)
    flow_map, x = flow_maps.exact_map(ring, schedule, 64), states(ring, schedule)[:4]
    clocks = jnp.linspace(flow_maps.clock(schedule, 0.9), flow_maps.clock(schedule, 0.1), 201)
    ts = schedule.time_at(log_snr_at("flow", clocks))
    teacher = denoisers.exact_denoiser(ring, schedule)
    expected = jax.jit(lambda x: samplers.sample(teacher, schedule, solvers.RK4(), x, ts))(x)
    found = jax.jit(lambda x: transport(flow_map, schedule, x, ts[0], ts[-1]))(x)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["edm", *(pytest.param(n, marks=pytest.mark.slow) for n in ("rectified_flow", "cosine", "linear_vp"))]
)
@pytest.mark.parametrize(
    "data",
    [plane, pytest.param(functools.partial(densities.ring, 3, std=0.4), marks=pytest.mark.slow)],
    ids=["Gaussian", "mixture"],
)
@in_float64
def test_exact_map_is_a_semigroup_and_another_is_not(name, data):
    schedule, data = SCHEDULES[name].make(), data()
    x, middle = states(data, schedule), flow_maps.middle_time(schedule, TIMES, ENDS, 0.3)
    exact = flow_maps.exact_map(data, schedule)
    straight = lambda x, t, s: denoisers.exact_denoiser(data, schedule)(x, t)
    error = lambda flow_map: flow_maps.semigroup_error(flow_map, schedule, x, TIMES, middle, ENDS)
    good, bad = jax.jit(lambda: (error(exact), error(straight)))()
    assert np.max(good) < 1e-12
    assert np.max(bad) > 1e-4


@pytest.mark.parametrize(
    "target",
    [
        "velocity",
        *(
            pytest.param(t, marks=pytest.mark.slow)
            for t in ("x0", "eps", "score", "v", predictions.EDMTarget(sigma_data=0.7))
        ),
    ],
    ids=str,
)
@in_float64
def test_network_of_any_target_has_the_map_of_its_chord(target):
    schedule, data = schedules.LinearVP(), plane()
    exact, kind, t, s = flow_maps.exact_map(data, schedule), predictions.as_target(target), TIMES[1:5], ENDS[1:5]
    network = lambda x, t, s: kind.from_prediction(exact(x, t, s), t, schedule)
    x = states(data, schedule)[1:5]
    found = transport(flow_maps.flow_map_from_network(network, schedule, target), schedule, x, t, s)
    np.testing.assert_allclose(found, transport(exact, schedule, x, t, s), rtol=1e-9)
    other = flow_maps.flow_map_from_network(lambda x, t, s: jnp.tanh(x), schedule, target)
    np.testing.assert_allclose(transport(other, schedule, x, t, t), x, rtol=1e-9)


@in_float64
def test_clocks_of_a_network_do_not_depend_on_the_schedule():
    network = lambda x, level, span: jnp.stack([level, span])
    seen = []
    for schedule in (schedules.Cosine(), schedules.RectifiedFlow()):
        t, s = (schedule.time_at(log_snr_at("flow", tau)) for tau in (0.8, 0.3))
        seen.append(flow_maps.condition_on_clocks(network, schedule, 4.0)(jnp.zeros(1), t, s))
    np.testing.assert_allclose(seen, [[3.2, 2.0]] * 2, rtol=1e-9)


@pytest.mark.parametrize("name", ["rectified_flow", "edm", "cosine", "linear_vp"])
@in_float64
def test_one_step_from_noise_is_the_flow_and_any_grid_ends_there(name):
    schedule, data = SCHEDULES[name].make(), plane()
    flow_map = flow_maps.exact_map(data, schedule)
    x = schedule.sigma(1.0) * jax.random.normal(jax.random.key(1), (5, 2))
    expected = moved(data, schedule, x, 1.0, 0.0)
    for ts in ([1.0, 0.0], [1.0, 0.7, 0.0], [1.0, 0.9, 0.5, 0.1, 0.0]):
        run = jax.jit(lambda x, ts=ts: samplers.sample(flow_map, schedule, FlowMapSolver(), x, ts))
        np.testing.assert_allclose(run(x), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ["edm", pytest.param("cosine", marks=pytest.mark.slow)])
@in_float64
def test_steps_with_fresh_noise_keep_the_marginal(name):
    """The mean and the variance of the result of a linear map, followed through every step."""
    schedule, data = SCHEDULES[name].make(), densities.gaussian(jnp.array([0.5]), std=0.7)
    flow_map = flow_maps.exact_map(data, schedule)

    @jax.jit
    def moments(gamma):
        solver, start = FlowMapSolver(gamma=gamma), data.marginal(*level(schedule, 1.0))
        mean, variance = start.mean[None], start.residual
        for t, s in itertools.pairwise([1.0, 0.8, 0.3, 0.0]):
            row = solver.row(schedule, jnp.array([s, t]), 0)
            pairs = [flow_map(x, row.t, row.end) for x in (mean, mean + 1.0)]
            mean, further = (row.x0 * x0 + row.eps * eps for x0, eps in pairs)
            variance = (further - mean) ** 2 * variance + row.std**2
        return mean, variance

    end = data.marginal(*level(schedule, 0.0))
    for gamma in (0.0, 0.4, 1.0):
        np.testing.assert_allclose(jnp.ravel(jnp.stack(moments(gamma))), [end.mean[0], end.residual], rtol=1e-6)


@pytest.mark.slow
@in_float64
def test_gamma_of_one_is_multistep_consistency_sampling_and_of_zero_the_map():
    schedule, data, key = schedules.LinearVP(), plane(), jax.random.key(2)
    flow_map, x, ts = flow_maps.exact_map(data, schedule), jnp.ones((3, 2)), [1.0, 0.6, 0.2, 0.05]
    run = lambda solver, d: jax.jit(lambda: samplers.sample(d, schedule, solver, x, ts, key=key))()
    ends = lambda x, t: flow_map(x, t, 0.05)
    expected = run(solvers.MultistepConsistency(t_min=0.05), ends)
    np.testing.assert_allclose(run(FlowMapSolver(gamma=1.0, t_min=0.05), flow_map), expected, rtol=1e-9)
    np.testing.assert_allclose(run(FlowMapSolver(gamma=0.0), flow_map), run(FlowMapSolver(), flow_map), rtol=1e-9)
    row = FlowMapSolver(gamma=0.6).row(schedule, jnp.array([0.4, 0.9]), 0)
    ratio = lambda t: schedule.sigma(t) / schedule.alpha(t)
    np.testing.assert_allclose([ratio(row.end), row.std], [0.8 * ratio(0.4), 0.6 * schedule.sigma(0.4)], rtol=1e-9)
    np.testing.assert_allclose(row.std, transition(schedule, 0.4, row.end).std, rtol=1e-9)


@pytest.mark.parametrize("change", [{"t": 1.5}, {"s": -0.5}, {"s": np.nan}, {"t": np.nan}])
def test_times_outside_the_path_are_named(change):
    schedule = schedules.Sigmoid()
    flow_map, times = flow_maps.exact_map(plane(), schedule), {"t": 0.5, "s": 0.25, **change}
    of_network = flow_maps.flow_map_from_network(lambda x, t, s: x, schedule)
    for evaluate in (flow_map, of_network, lambda x, t, s: transport(flow_map, schedule, x, t, s)):
        with pytest.raises(ValueError, match=f"{next(iter(change))} must be in .0, 1., got"):
            evaluate(jnp.ones((1, 2)), **times)
    traced = jax.jit(lambda t, s: transport(flow_maps.exact_map(plane(), schedule), schedule, jnp.ones((1, 2)), t, s))
    assert np.isnan(traced(0.5, np.nan)).all()


@pytest.mark.slow
def test_solver_has_no_noise_to_draw_without_gamma_and_wants_a_key_with_it():
    schedule, flow_map = schedules.Cosine(), flow_maps.exact_map(plane(), schedules.Cosine())
    assert not FlowMapSolver().stochastic
    with pytest.raises(ValueError, match="key must be a PRNG key for the stochastic solver FlowMapSolver"):
        samplers.sample(flow_map, schedule, FlowMapSolver(gamma=0.5), jnp.ones((1, 2)), [1.0, 0.0])
    run = lambda gamma: samplers.sample(
        flow_map, schedule, FlowMapSolver(gamma=gamma), jnp.ones((1, 2)), [1.0, 0.5, 0.0], key=jax.random.key(0)
    ).sum()
    assert np.isfinite(jax.jit(jax.grad(run))(0.5))


def test_bfloat16_states_keep_their_type():
    schedule = schedules.Cosine()
    flow_map = flow_maps.flow_map_from_network(lambda x, t, s: jnp.tanh(x).astype(jnp.float32), schedule, "v")
    x = jnp.ones((2, 3), jnp.bfloat16)
    assert transport(flow_map, schedule, x, 0.9, 0.2).dtype == jnp.bfloat16
    run = lambda: samplers.sample(flow_map, schedule, FlowMapSolver(gamma=0.3), x, [1.0, 0.0], key=jax.random.key(0))
    found = jax.eval_shape(run)
    assert found.dtype == jnp.bfloat16


def test_a_map_that_is_built_anew_is_not_traced_anew():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def jump(flow_map, x):
        return flow_map(x, 0.9, 0.2).x0

    maps = [flow_maps.exact_map(densities.gaussian(jnp.zeros(2), std=std), schedules.Cosine()) for std in (0.5, 1.0)]
    assert not np.allclose(*(jump(flow_map, jnp.ones((2, 2))) for flow_map in maps))
