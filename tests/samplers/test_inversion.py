"""Inversion: the round trip converges at the solver's order, also from exactly clean data."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import level
from tables import SCHEDULES, in_float64

from scorekit import denoisers, densities, samplers, schedules, solvers
from scorekit.samplers.inversion import invert

ORDERS = {  # one of each kind, and of the round trip: the leading errors of solvers of even order cancel
    "euler": (solvers.Euler(), 1),
    "heun_sigma": (solvers.Heun(coordinate="sigma"), 3),
    "midpoint_angle": (solvers.Midpoint(coordinate="angle"), 3),
    "rk4_flow": (solvers.RK4(), 5),
    "dpm_3_x0": (solvers.DPMSolver(order=3), 3),
    "dpm_2_eps": (solvers.DPMSolver(order=2, prediction="eps"), 3),
    "dpmpp_2m": (solvers.DPMSolverPP2M(), 3),
    "ab_3_flow": (solvers.AdamsBashforth(), 3),
    "exp_3_x0": (solvers.ExponentialAdamsBashforth(order=3, prediction="x0"), 3),
    "ipndm": (solvers.IPNDM(), 2),
    "unipc_2_signal": (solvers.UniPC(), 3),
    "unipc_2_flow": (solvers.UniPC(coordinate="flow"), 3),
}
N = 96
KEY = jax.random.key(0)


def pair():
    """A Gaussian, written as a mixture of six, and a ring: two densities of one shape, stacked."""
    ring = densities.ring(6, std=0.3)
    one = densities.gaussian(jnp.array([0.5, -0.3]), std=0.7)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), densities.mixture(np.ones(6), [one] * 6), ring)


def fine_at_both_ends(schedule, n):
    """Log-SNRs from -3 to 3 in steps of 6 / n, after and before a few that double from the square of that: both
    directions start by low-order steps, which must cost little."""
    h = 6.0 / n
    small = h * 0.5 ** np.arange(1, 2 + np.ceil(-np.log2(h)))
    middle = 6.0 - 2 * small.sum()
    steps = np.concatenate([small[::-1], np.full(n, middle / n), small])
    return schedule.time_at(jnp.asarray(np.concatenate([[0.0], np.cumsum(steps)]) - 3.0))


def round_trips(solver, schedule, data, x, grids):
    """The RMS of ``sample(invert(x)) - x`` on both densities, ``(len(grids), 2)``."""

    def error(data, x, ts):
        denoiser = denoisers.exact_denoiser(data, schedule)
        noise = invert(denoiser, schedule, solver, x, ts)
        back = samplers.sample(denoiser, schedule, solver, noise, ts)
        return jnp.sqrt(jnp.mean(jnp.square(back - x)))

    return jnp.stack([jax.vmap(error, (0, 0, None))(data, x, ts) for ts in grids])


@functools.cache
def states_and_grids():
    """The two densities, four states of each at a log-SNR of 3, and a coarse and a fine grid."""
    schedule, data = schedules.Cosine(), pair()

    @jax.jit
    def draw(data, keys):
        at = level(schedule, schedule.time_at(3.0))
        return jax.vmap(lambda d, key: d.marginal(*at).sample(key, (4,)))(data, keys)

    return data, draw(data, jax.random.split(KEY)), [fine_at_both_ends(schedule, n) for n in (N, 2 * N)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ORDERS)
@in_float64
def test_round_trip_converges_at_the_order_of_the_solver(name):
    solver, order = ORDERS[name]
    coarse, fine = np.asarray(jax.jit(round_trips)(solver, schedules.Cosine(), *states_and_grids()))
    slopes = np.log2(coarse / fine)
    assert np.all((np.abs(slopes - order) < 0.15) | (fine < 1e-12)), (coarse, fine, slopes)
    assert np.all(fine < (0.01 if order == 1 else 1e-5)), fine


FROM_CLEAN = ("euler", "rk4_flow", "dpm_3_x0", "dpmpp_2m", "exp_3_x0", "ab_3_flow", "unipc_2_signal", "unipc_2_flow")


@pytest.mark.slow
@in_float64
def test_inverted_clean_data_are_the_noise_of_the_exact_flow():
    """From exactly t = 0 to exactly t = 1."""
    data, schedule = densities.gaussian(jnp.array([0.5, -0.3]), std=0.7), schedules.Cosine()
    noise, ts = np.random.default_rng(0).normal(size=(3, 2)), np.linspace(1.0, 0.0, 49)
    x, exact = np.array([0.5, -0.3]) + 0.7 * noise, noise

    @jax.jit
    def run(schedule, x):
        denoiser = denoisers.exact_denoiser(data, schedule)
        return {k: invert(denoiser, schedule, ORDERS[k][0], x, ts) for k in FROM_CLEAN}

    for name, noise in run(schedule, x).items():
        tolerance = 0.06 if name == "euler" else 0.02
        assert np.abs(noise - exact).max() < tolerance, (name, noise, exact)


@pytest.mark.slow
def test_inversion_of_clean_data_is_differentiable():
    ts, x = jnp.array([0.8, 0.5, 0.2, 0.0]), jnp.array([[0.3, -1.2]])
    schedule = jax.tree.map(jnp.asarray, schedules.LinearVP())

    @jax.jit
    def gradients(schedule, x):
        def loss(schedule, x, solver):
            network = lambda x, t: jnp.sin(x) * (1.0 + t)
            denoiser = denoisers.denoiser_from_network(network, schedule, "v")
            return jnp.sum(jnp.square(invert(denoiser, schedule, solver, x, ts)))

        return {
            k: jax.grad(loss, (0, 1))(schedule, x, ORDERS[k][0]) for k in ("dpm_3_x0", "dpmpp_2m", "unipc_2_signal")
        }

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients(schedule, x)):
        assert np.all(np.isfinite(leaf)), path
        assert np.any(leaf != 0), path


@pytest.mark.parametrize(
    "name", ["dpmpp_2m", *(pytest.param(n, marks=pytest.mark.slow) for n in ("exp_3_x0", "unipc_2_signal"))]
)
@in_float64
def test_solvers_in_x0_take_an_euler_step_from_clean_data_without_history(name):
    solver, schedule = ORDERS[name][0], SCHEDULES["rectified_flow"].make()
    denoiser = denoisers.denoiser_from_network(lambda x, t: jnp.sin(x) * (1.0 + t), schedule, "velocity")
    ts = np.array([0.9, 0.6, 0.4, 0.1, 0.0])

    @jax.jit
    def run(x):
        x0, eps = denoiser(x, jnp.array(0.0))
        first = 0.9 * x0 + 0.1 * eps
        states = [invert(denoiser, schedule, solver, x, ts[k:]) for k in range(4)]
        rest = [invert(denoiser, schedule, solver, first, ts[k:-1]) for k in range(3)]
        return [*rest, first], states

    for expected, state in zip(*run(np.array([[0.3, -1.2]])), strict=True):
        np.testing.assert_allclose(state, expected, rtol=1e-10)


class HalfWay(solvers.SolverBase):
    """A solver of a user: Euler's step with the prediction at the time half-way."""

    def step(self, state, x_t, row, denoiser, *, key=None):
        assert key is None
        x0, eps = denoiser(x_t, 0.5 * (row.t + row.s))
        return row.alpha_s * x0 + row.sigma_s * eps, state


@pytest.mark.parametrize(
    "solver", [pytest.param(solvers.UniPC(), id="unipc", marks=pytest.mark.slow), pytest.param(HalfWay(), id="user")]
)
def test_invert_steps_the_solver_backwards(solver):
    schedule = schedules.Cosine()
    denoiser = denoisers.exact_denoiser(densities.ring(), schedule)
    ts, up = np.float32([0.9, 0.6, 0.4, 0.1]), [0.1, 0.4, 0.6, 0.9]

    @jax.jit
    def run(x):
        states, state, steps = [invert(denoiser, schedule, solver, x, ts[k:]) for k in (2, 1, 0)], solver.init(x), []
        for k in range(3):
            times = jnp.array([up[k + 1], *up[k::-1]][: 2 + solver.max_past])
            row = solver.row(schedule, times, min(k, solver.max_past))
            x, state = solver.step(state, x, row, denoiser)
            steps.append(x)
        return states, steps

    states, steps = run(np.float32([[0.3, -1.2], [0.0, 1.0]]))
    np.testing.assert_allclose(states, steps, rtol=2e-4, atol=1e-5)
