"""The deterministic solvers against exact flows, their measured order, their papers, and the ends of every schedule."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from solver_table import step_once
from tables import SCHEDULES, in_float64

from scorekit import densities, schedules
from scorekit.denoisers import denoiser_from_network, exact_denoiser
from scorekit.guidance import classifier_free_batched
from scorekit.predictions import X0
from scorekit.samplers import sample
from scorekit.solvers import Ancestral, DPMSolverPP2M, Euler, Heun, grids
from scorekit.typing import Prediction

SOLVERS = {
    "euler": Euler(),
    "heun_flow": Heun(),
    "heun_sigma": Heun(coordinate="sigma"),
    "dpmpp_2m": DPMSolverPP2M(),
}
ORDER_SCHEDULES = ["sub_vp", "laplace"]  # test_orders has others
STEPS = (32, 128)


def low_rank(across, *along):
    """Four dimensions with three different variances: ``across`` (twice) and two ``along`` oblique directions."""
    directions = jnp.array([[1.0, 0.0], [1.0, 1.0], [0.0, -1.0], [1.0, -1.0]]) / jnp.sqrt(3.0)
    factor = directions * jnp.sqrt(jnp.array(along) - across)
    return densities.gaussian(jnp.array([0.5, -0.3, 0.2, 1.0]), std=across**0.5, factor=factor)


def slopes(errors):
    """The least-squares slope of log error over log n."""
    return {k: -np.polyfit(np.log(STEPS), np.log(v), 1)[0] for k, v in errors.items()}


def interior(schedule, n):
    """n equal steps of log-SNR from -4 to 4: smooth in every schedule's own coordinates."""
    ends = schedule.time_at(-4.0), schedule.time_at(4.0)
    return grids.uniform_log_snr(schedule, n, *ends, to_zero=False)


def level(schedule, t):
    return schedule.alpha(t), schedule.sigma(t)


def run_all(data, schedule, x, steps=STEPS):
    """The end points of every solver at every number of steps, in one program."""
    denoiser = exact_denoiser(data, schedule)
    finals = {
        name: [sample(None, denoiser, schedule, solver, x, interior(schedule, n)) for n in steps]
        for name, solver in SOLVERS.items()
    }
    return finals, level(schedule, schedule.time_at(-4.0)), level(schedule, schedule.time_at(4.0))


def rms(x):
    return float(np.sqrt(np.mean(np.square(x))))


@pytest.mark.slow
@pytest.mark.parametrize("name", ORDER_SCHEDULES)
@in_float64
def test_measured_order_on_gaussians_is_the_declared_order(name):
    schedule = SCHEDULES[name].make()
    start = level(schedule, schedule.time_at(-4.0))
    for data in (low_rank(0.09, 0.5, 2.25), low_rank(0.4, 0.41, 0.42)):
        noisy = data.marginal(*start)
        x = noisy.sample(jax.random.key(0), (5,))
        finals, start, end = jax.jit(run_all)(data, schedule, x)
        exact = data.flow(x, start, end)
        errors = {k: [rms(x_n - exact) for x_n in v] for k, v in finals.items()}
        for solver, slope in slopes(errors).items():
            assert abs(slope - SOLVERS[solver].order) < 0.15, (name, solver, slope, errors[solver])
            assert errors[solver][-1] < (0.02 if SOLVERS[solver].order == 1 else 1e-3), (name, solver, errors[solver])


@functools.partial(jax.jit, static_argnums=3)
def runge_kutta(data, schedule, x, n=600):
    """Classical RK4 on ``d(x / alpha) / dw = eps`` with ``w = sigma / alpha``, n steps of log w from e^2 to e^-2."""
    (alpha_1, _), (alpha_0, _) = level(schedule, schedule.time_at(-4.0)), level(schedule, schedule.time_at(4.0))
    h = -4.0 / n

    def slope(y, log_w):
        w = jnp.exp(log_w)
        return w * data.predict(y, 1.0, w).eps

    def body(y, k):
        u = 2.0 + h * k
        a = slope(y, u)
        b = slope(y + 0.5 * h * a, u + 0.5 * h)
        c = slope(y + 0.5 * h * b, u + 0.5 * h)
        d = slope(y + h * c, u + h)
        return y + h / 6.0 * (a + 2 * b + 2 * c + d), None

    return alpha_0 * jax.lax.scan(body, x / alpha_1, jnp.arange(n))[0]


@pytest.mark.slow
@in_float64
def test_measured_order_on_a_mixture_is_the_declared_order():
    data, schedule = densities.ring(6, std=0.2), schedules.cosine()
    x = data.marginal(*level(schedule, schedule.time_at(-4.0))).sample(jax.random.key(1), (32,))
    exact = runge_kutta(data, schedule, x)
    assert rms(runge_kutta(data, schedule, x, 300) - exact) < 1e-7
    finals, *_ = jax.jit(run_all)(data, schedule, x)
    errors = {k: [rms(x_n - exact) for x_n in v] for k, v in finals.items()}
    for solver, slope in slopes(errors).items():
        assert abs(slope - SOLVERS[solver].order) < 0.15, (solver, slope, errors[solver])


def nonlinear(schedule):
    """A denoiser that is not a gradient: only the arithmetic of the solver matters."""
    return denoiser_from_network(lambda x, t: jnp.tanh(x[..., ::-1]) + 0.3 * jnp.sin(5.0 * t), schedule, "x0")


UNEVEN = np.array([0.9, 0.8, 0.55, 0.5, 0.2, 0.05])
START = np.array([[0.3, -1.2, 2.0], [1.0, 0.0, -0.5]])


def numpy_levels(schedule, ts=UNEVEN):
    return np.asarray(schedule.alpha(ts)), np.asarray(schedule.sigma(ts))


def numpy_x0(x, t):
    return np.tanh(x[..., ::-1]) + 0.3 * np.sin(5.0 * t)


@pytest.mark.parametrize("name", ["linear_vp", "rectified_flow", "edm"])
@in_float64
def test_dpmpp_2m_is_algorithm_2_of_its_paper(name):
    schedule = SCHEDULES[name].make()
    alpha, sigma = numpy_levels(schedule)
    lam = np.log(alpha / sigma)
    x, previous = START, None
    for i in range(1, len(UNEVEN)):
        h = lam[i] - lam[i - 1]
        current = numpy_x0(x, UNEVEN[i - 1])
        if previous is None:
            d = current
        else:
            r = (lam[i - 1] - lam[i - 2]) / h
            d = (1 + 1 / (2 * r)) * current - 1 / (2 * r) * previous
        x = sigma[i] / sigma[i - 1] * x - alpha[i] * (np.exp(-h) - 1) * d
        previous = current
    got = sample(None, nonlinear(schedule), schedule, DPMSolverPP2M(), jnp.asarray(START), UNEVEN)
    np.testing.assert_allclose(got, x, rtol=1e-12)


@in_float64
def test_heun_in_sigma_is_algorithm_1_of_edm():
    schedule = schedules.edm()
    _, sigma = numpy_levels(schedule)
    x = START
    for t, s, sigma_t, sigma_s in zip(UNEVEN, UNEVEN[1:], sigma, sigma[1:], strict=False):
        d = (x - numpy_x0(x, t)) / sigma_t
        euler = x + (sigma_s - sigma_t) * d
        d_s = (euler - numpy_x0(euler, s)) / sigma_s
        x = x + (sigma_s - sigma_t) * 0.5 * (d + d_s)
    got = sample(None, nonlinear(schedule), schedule, Heun(coordinate="sigma"), jnp.asarray(START), UNEVEN)
    np.testing.assert_allclose(got, x, rtol=1e-12)


@in_float64
def test_heun_in_flow_is_the_trapezoid_on_the_velocity_of_rectified_flow():
    schedule = schedules.rectified_flow()
    velocity = lambda x, t: (x - numpy_x0(x, t)) / t
    x = START
    for t, s in itertools.pairwise(UNEVEN):
        u = velocity(x, t)
        x = x + 0.5 * (s - t) * (u + velocity(x + (s - t) * u, s))
    got = sample(None, nonlinear(schedule), schedule, Heun(), jnp.asarray(START), UNEVEN)
    np.testing.assert_allclose(got, x, rtol=1e-12)


@pytest.mark.parametrize("name", ["linear_vp", "sub_vp", "geometric_ve", "cosine_offset"])
@in_float64
def test_first_order_steps_coincide(name):
    """Euler = DDIM(0) = the predictor of Heun = the first step of DPM-Solver++."""
    schedule = SCHEDULES[name].make()
    denoiser, x, t, s = nonlinear(schedule), jnp.asarray(START), jnp.array(0.8), jnp.array(0.55)
    calls = []

    def spy(x, t):
        calls.append((x, t))
        return denoiser(x, t)

    def first(solver, key=None):
        return step_once(solver, key, x, t, s, spy, schedule)

    euler = first(Euler())
    alpha, sigma = numpy_levels(schedule, np.array([0.8, 0.55]))
    x0 = numpy_x0(START, 0.8)
    np.testing.assert_allclose(euler, alpha[1] * x0 + sigma[1] / sigma[0] * (START - alpha[0] * x0), rtol=1e-12)
    np.testing.assert_allclose(first(Ancestral(eta=0.0), jax.random.key(0)), euler, rtol=1e-13)
    np.testing.assert_allclose(first(DPMSolverPP2M()), euler, rtol=1e-12)
    for solver in (Heun(), Heun(coordinate="sigma")):
        calls.clear()
        first(solver)
        (_, t_0), (x_1, t_1) = calls
        assert (t_0, t_1) == (0.8, 0.55)
        np.testing.assert_allclose(x_1, euler, rtol=1e-13)


@pytest.mark.parametrize(
    ("solver", "final"),
    [("euler", 0.56875), ("dpmpp_2m", 0.540625), ("heun_flow", 0.4608203125)],
)
def test_two_steps_equal_a_manual_computation(solver, final):
    """``x0 = x / 2`` on ``x_t = (1 - t) x0 + t eps`` from x = 1 over the times 0.8, 0.5, 0.2."""
    schedule = schedules.rectified_flow()
    denoiser = denoiser_from_network(lambda x, t: 0.5 * x, schedule, "x0")
    got = sample(None, denoiser, schedule, SOLVERS[solver], jnp.ones((1, 1)), [0.8, 0.5, 0.2])
    np.testing.assert_allclose(got, [[final]], rtol=2e-6)


def guided_x0_network(schedule, scale):
    """A guided network that predicts x0, so that its eps does not exist at sigma = 0."""
    to_pair = lambda x, t, gain: X0().to_prediction(gain[:, None] * jnp.sin(x), x, t, schedule)
    return classifier_free_batched(to_pair, jnp.full(1, 0.5), 0.2, scale)


def to_the_end(solver, schedule, scale, x):
    """Two steps, 1 -> 0.5 -> 0: the state after each."""
    ts = jnp.array([1.0, 0.5, 0.0])
    return sample(jax.random.key(3), guided_x0_network(schedule, scale), schedule, solver, x, ts, trajectory=True)[1]


ENDS = {**SOLVERS, "ddpm": Ancestral(), "eta_0": Ancestral(eta=0.0), "eta_half": Ancestral(eta=0.5)}


@jax.jit
def ends(solvers, schedule, scale, x):
    """Per solver: the loss, its states, and its gradients."""

    def loss(solver, schedule, scale, x):
        states = to_the_end(solver, schedule, scale, x)
        return jnp.sum(jnp.square(states[-1])), states

    run = jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True)
    return {name: run(solver, schedule, scale, x) for name, solver in solvers.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("rectified_flow", list(ENDS)),
        ("cosine", ["heun_flow", "heun_sigma", "dpmpp_2m"]),
        ("linear_vp", ["ddpm", "eta_0", "eta_half"]),
        ("geometric_ve", ["dpmpp_2m", "eta_0"]),
        ("laplace", ["dpmpp_2m"]),
        ("sigmoid", ["dpmpp_2m"]),
    ],
)
def test_steps_from_1_and_to_0_are_finite_with_their_gradients(name, names):
    solvers, schedule = jax.tree.map(jnp.asarray, ({k: ENDS[k] for k in names}, SCHEDULES[name].make()))
    results = ends(solvers, schedule, jnp.array(2.0), jnp.array([[0.3, -1.2]]))
    for solver, ((value, states), gradient) in results.items():
        assert np.isfinite(value), solver
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
            assert np.all(np.isfinite(leaf)), (solver, jax.tree_util.keystr(path))
        if schedule.sigma(0.0) == 0:  # only the clean estimate remains
            np.testing.assert_allclose(states[1], schedule.alpha(0.0) * 0.8 * jnp.sin(states[0]), rtol=1e-5)


@pytest.mark.parametrize("name", ["edm_from_zero", "shifted_cosine", "zero_terminal_linear_vp", "sub_vp", "learned"])
def test_solvers_are_finite_at_both_ends_of_more_schedules(name):
    schedule, x = SCHEDULES[name].make(), jnp.array([[0.3, -1.2]])
    run = lambda solvers: [to_the_end(solver, schedule, 2.0, x) for solver in solvers]
    assert np.all(np.isfinite(jax.jit(run)([Heun(), DPMSolverPP2M(), Ancestral()])))


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["heun_flow", "dpmpp_2m", "eta_half"])
@in_float64
def test_gradients_are_those_of_finite_differences(solver):
    @jax.jit
    def loss(values, x):
        scale, beta_max, eta = values
        chosen = Ancestral(eta=eta) if solver == "eta_half" else ENDS[solver]
        return jnp.sum(jnp.square(to_the_end(chosen, schedules.linear_vp(0.1, beta_max), scale, x)[-1]))

    values, x, h = jnp.array([2.0, 8.0, 0.5]), jnp.array([[0.3, -1.2]]), 1e-6
    numeric = [(loss(values + h * d, x) - loss(values - h * d, x)) / (2 * h) for d in jnp.eye(3)]
    np.testing.assert_allclose(jax.grad(loss)(values, x), numeric, rtol=1e-6, atol=1e-9)


def test_x0_target_never_divides_by_a_vanishing_sigma():
    """Heun would evaluate the network at sigma = 0; it must not."""
    seen = []

    def denoiser(x, t):
        seen.append(float(t))
        return Prediction(0.5 * x, x / schedules.rectified_flow().sigma(t))

    final = step_once(Heun(), None, jnp.ones((1, 1)), 0.5, 0.0, denoiser, schedules.cosine())
    assert seen == [0.5, 0.5]
    np.testing.assert_allclose(final, [[0.5]])


def test_heun_raises_for_an_unknown_coordinate():
    with pytest.raises(ValueError, match=r"coordinate must be one of .*, got 'time'"):
        Heun(coordinate="time")  # type: ignore[arg-type]
