"""Consistency models against Gaussian data, whose paths end where a linear map says."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from problems import COVARIANCE, moved, plane
from tables import SCHEDULES, in_float64

from scorekit import denoisers, densities, flow_maps, predictions, samplers, schedules, solvers
from scorekit.flow_maps import pseudo_huber, squared_error
from scorekit.typing import Prediction

TARGETS = ("x0", "eps", "score", "v", "velocity", predictions.EDMTarget(sigma_data=0.7))


def exact_student(schedule, t_min):
    """The denoiser whose consistency function is the exact map of the ODE of Gaussian data."""

    def student(x, t):
        end = jax.vmap(lambda x, t: moved(plane(), schedule, x, t, t_min))(x, jnp.broadcast_to(t, x.shape[:1]))
        return flow_maps.chord(schedule, x, end, t, t_min)

    return student


def draws(n):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.multivariate_normal([0.3, -0.2], COVARIANCE, n)), jnp.asarray(rng.normal(size=(n, 2)))


def coefficients(target, t, schedule, t_min):
    """``(c_skip, c_out)`` of ``f(x_t, t) = c_skip x_t + c_out output``: its values for ``(1, 0)`` and ``(0, 1)``."""

    def value(x, output):
        denoiser = denoisers.denoiser_from_network(lambda x, t: output + 0.0 * x, schedule, target)
        return flow_maps.consistency_function(denoiser, schedule, t_min)(x, t)[:, 0]

    one = jnp.ones((len(t), 1))
    return value(one, 0.0), value(0.0 * one, 1.0)


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("name", ["cosine", "edm", "sub_vp"])
@in_float64
def test_consistency_function_satisfies_the_boundary_condition(name, target):
    schedule, t_min = SCHEDULES[name].make(), 0.01
    network = lambda x, t: jnp.tanh(3.0 * x) - t.reshape(-1, 1)
    f = flow_maps.consistency_function(denoisers.denoiser_from_network(network, schedule, target), schedule, t_min)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(3, 2)))
    t = jnp.array([t_min, 0.3, 0.9])
    skip, out = coefficients(target, t, schedule, t_min)
    np.testing.assert_allclose([skip[0], out[0]], [1.0, 0.0], atol=1e-9)
    expected = skip[:, None] * x + out[:, None] * network(x, t)
    np.testing.assert_allclose(f(x, t), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(f(x, t)[0], x[0], rtol=1e-9)


@in_float64
def test_the_coefficients_match_the_paper():
    """For the EDM network and no noise at the end: c_skip = s^2 / (w^2 + s^2), c_out = w s / sqrt(w^2 + s^2)."""
    schedule, s = schedules.EDM(sigma_min=0.0, sigma_max=80.0), 0.5
    t = jnp.linspace(0.0, 1.0, 9)
    w = schedule.sigma(t)
    skip, out = coefficients(predictions.EDMTarget(sigma_data=s), t, schedule, 0.0)
    np.testing.assert_allclose(skip, s**2 / (w**2 + s**2), rtol=1e-12)
    np.testing.assert_allclose(out, w * s / np.sqrt(w**2 + s**2), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [solvers.Euler(), solvers.Heun()], ids=["Euler", "Heun"])
@in_float64
def test_consistency_distillation_learns_the_end_point_of_the_teachers_steps(solver):
    """On a grid, the fixed point is the sampler itself, to rounding, whatever its error."""
    schedule, ts = schedules.Cosine(), solvers.grids.uniform(6)
    teacher = denoisers.exact_denoiser(plane(), schedule)
    x0, eps = draws(8)

    def student(x, t):
        """Follows the teacher from the time of the grid that t is, each example from its own."""
        ends = jnp.stack([samplers.sample(teacher, schedule, solver, x, ts[k:]) for k in range(6)] + [x])
        k = jnp.argmin(jnp.abs(ts[None] - jnp.broadcast_to(t, x.shape[:1])[:, None]), axis=1)
        return flow_maps.chord(schedule, x, ends[k, jnp.arange(len(x))], t, 0.0)

    k = jnp.arange(8) % 6

    @jax.jit
    def results():
        problem = student, teacher, schedule, x0, eps, ts[k], ts[k + 1]
        loss = flow_maps.consistency_distillation_loss(student, *problem, solver=solver)
        one_step = samplers.sample(student, schedule, solvers.Euler(), eps, ts[jnp.array([0, 6])])
        return loss, one_step, samplers.sample(teacher, schedule, solver, eps, ts)

    loss, one_step, many_steps = results()
    np.testing.assert_allclose(loss[k < 5], 0.0, atol=1e-20)
    np.testing.assert_allclose(one_step, many_steps, rtol=1e-9, atol=1e-9)


@in_float64
def test_consistency_training_has_the_gradient_of_distillation():
    """In the mean over data and noise, as the steps become short; both see the same error of a wrong student."""
    schedule, std, t, width = schedules.RectifiedFlow(), 0.5, 0.6, 1e-3
    teacher = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=std), schedule)
    nodes, mass = np.polynomial.hermite_e.hermegauss(8)  # exact: everything is a polynomial in x0 and eps
    x0, eps = (jnp.asarray(a).reshape(-1, 1) for a in np.meshgrid(std * nodes, nodes))
    mass = jnp.asarray(np.outer(mass, mass).ravel() / mass.sum() ** 2)
    times = jnp.full(64, t)

    def student(slope):
        return denoisers.denoiser_from_network(lambda x, t: slope * t.reshape(-1, 1) * x, schedule, "velocity")

    def gradient(loss):
        return jax.jit(jax.grad(lambda slope: jnp.sum(mass * loss(student(slope)))))(0.4)

    def trained(width):
        data = schedule, x0, eps, times, times - width
        return gradient(lambda d: flow_maps.consistency_training_loss(d, d, *data, distance=squared_error))

    options = {"solver": solvers.Heun(), "distance": squared_error}
    data = schedule, x0, eps, times, times - width
    taught = gradient(lambda d: flow_maps.consistency_distillation_loss(d, d, teacher, *data, **options))
    alone, half = trained(width), trained(width / 2)
    assert abs(taught) > 1e-5
    assert abs(alone / taught - 1.0) < 0.02
    assert abs(half / alone - 0.5) < 0.02  # it is proportional to the step, which step_weight undoes


@pytest.mark.slow
@in_float64
def test_pseudo_huber():
    a, b = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 7)))
    norm = np.linalg.norm(a - b, axis=1)
    scale = 0.2
    c = scale * np.sqrt(7)  # the paper's, on the norm
    np.testing.assert_allclose(pseudo_huber(a, b, scale), (np.sqrt(norm**2 + c**2) - c) / np.sqrt(7), rtol=1e-12)
    near = pseudo_huber(a, a + 1e-9, scale)
    np.testing.assert_allclose(near, 1e-18 / (2 * scale), rtol=1e-6)
    assert np.isfinite(jax.grad(lambda a: pseudo_huber(a, b).sum())(b)).all()
    tree = lambda x: {"p": x[:, :3], "q": x[:, 3:]}
    np.testing.assert_allclose(pseudo_huber(tree(a), tree(b)), pseudo_huber(a, b), rtol=1e-12)


@pytest.mark.slow
def test_earlier_time_is_on_the_path_and_does_not_recompile():
    ts = solvers.grids.quadratic(64, power=3)
    grid = np.asarray(ts)
    np.testing.assert_allclose(flow_maps.earlier_time(grid[:-1], ts, 64), grid[1:], atol=1e-6)
    np.testing.assert_allclose(flow_maps.earlier_time(grid[:-8], ts, 8), grid[8:], atol=1e-6)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def earlier(t, progress):
        return flow_maps.earlier_time(t, ts, flow_maps.curriculum(progress, 4, 64))

    t = jnp.array([1.0, 0.4, 1e-3])
    early, late = earlier(t, 0.0), earlier(t, 1.0)
    assert (early < late).all()
    assert (late < t).all()
    assert (early >= 0).all()
    np.testing.assert_allclose([early[0], late[0]], grid[[16, 1]], rtol=1e-5)


def test_the_curriculum_doubles_at_equal_intervals():
    progress = np.linspace(0.0, 1.0, 700, endpoint=False)
    steps = np.asarray(flow_maps.curriculum(progress, 10, 640))
    values, counts = np.unique(steps, return_counts=True)
    assert values.tolist() == [10, 20, 40, 80, 160, 320, 640]
    assert counts.tolist() == [100] * 7
    assert flow_maps.curriculum(1.0, 10, 50) == 50
    assert flow_maps.curriculum(0.5, 8, 8) == 8
    with pytest.raises(ValueError, match=r"first must be in 1\.\.last = 4, got 8"):
        flow_maps.curriculum(0.5, 8, 4)


def test_step_weights():
    schedule, t, s = schedules.EDM(), jnp.array([0.5, 1.0]), jnp.array([0.4, 0.9])
    got = flow_maps.step_weight(schedule, t, s, "sigma")
    np.testing.assert_allclose(got, 1 / (schedule.sigma(t) - schedule.sigma(s)), rtol=1e-5)
    flow = flow_maps.step_weight(schedules.Cosine(), t, s)
    assert np.isfinite(flow).all()
    assert flow_maps.step_weight(schedules.Cosine(), t, s, "sigma")[1] == 0
    assert np.all(flow_maps.step_weight(schedules.Cosine(), t, s, "signal") > 0)  # alpha / sigma, which falls with t


def test_times_before_the_end_of_the_paths_are_nan_if_traced():
    model, schedule = lambda x, t: Prediction(x, x), schedules.Cosine()
    run = lambda s: flow_maps.consistency_training_loss(model, model, schedule, X, X, T, s, t_min=0.2)
    losses = jax.jit(run)(jnp.array([0.1, 0.2]))
    assert np.isnan(losses).tolist() == [True, False]


X, T = jnp.ones((2, 2)), jnp.array([0.5, 0.6])
test_invalid_arguments_raise = raising(
    {
        "solver must be deterministic, got Ancestral": {"solver": solvers.Ancestral()},
        r"t must have shape \(2,\), one per example, got \(\)": {"t": 0.5},
        r"s must have shape \(2,\), one per example, got \(\)": {"s": 0.1},
        "s must be >= t_min = 0.28": {"t_min": 0.28},
    },
    lambda changes: flow_maps.consistency_distillation_loss(
        *[lambda x, t: Prediction(x, x)] * 3,
        **{"schedule": schedules.Cosine(), "x0": X, "eps": X, "t": T, "s": T / 2, **changes},
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cosine", "edm"])
@in_float64
def test_exact_consistency_function_is_a_fixed_point_up_to_the_order_of_the_teacher(name):
    schedule, t_min = SCHEDULES[name].make(), 0.02
    student, teacher = exact_student(schedule, t_min), denoisers.exact_denoiser(plane(), schedule)
    x0, eps = draws(32)
    t = jnp.linspace(0.1, 0.9, 32)

    def loss(student, width, solver):
        data, options = (schedule, x0, eps, t, t - width), {"solver": solver, "t_min": t_min, "distance": squared_error}
        return flow_maps.consistency_distillation_loss(student, student, teacher, *data, **options).mean() ** 0.5

    error = jax.jit(functools.partial(loss, student))

    for solver, order in ((solvers.Euler(), 2), (solvers.Heun(), 3)):  # of one step, one more than of the path
        coarse, fine = error(2e-2, solver), error(1e-2, solver)
        assert abs(np.log2(coarse / fine) - order) < 0.35, (solver, coarse, fine)
    assert fine < 1e-4

    def wrong(x, t):
        x0_hat, eps_hat = student(x, t)
        return Prediction((1.0 + 0.1 * t[:, None]) * x0_hat, eps_hat)

    assert loss(wrong, 1e-2, solvers.Heun()) > 3 * fine
