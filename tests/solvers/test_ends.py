"""Steps from exactly t = 1 and to exactly t = 0: finite with their gradients, on every kind of schedule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from solver_table import step_once
from tables import SCHEDULES, in_float64

from scorekit import schedules
from scorekit.guidance import classifier_free_batched
from scorekit.predictions import X0
from scorekit.samplers import trajectory
from scorekit.solvers import Ancestral, DPMSolverPP2M, Euler, Heun
from scorekit.typing import Prediction

SOLVERS = {
    "euler": Euler(),
    "heun_flow": Heun(),
    "heun_sigma": Heun(coordinate="sigma"),
    "dpmpp_2m": DPMSolverPP2M(),
}


def guided_x0_network(schedule, scale):
    """A guided network that predicts x0, so that its eps does not exist at sigma = 0."""
    to_pair = lambda x, t, gain: X0().to_prediction(gain[:, None] * jnp.sin(x), x, t, schedule)
    return classifier_free_batched(to_pair, jnp.full(1, 0.5), 0.2, scale)


def to_the_end(solver, schedule, scale, x):
    """Two steps, 1 -> 0.5 -> 0: the state after each."""
    ts = jnp.array([1.0, 0.5, 0.0])
    return trajectory(guided_x0_network(schedule, scale), schedule, solver, x, ts, key=jax.random.key(3))[1]


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


MORE = ("edm_from_zero", "zero_terminal_linear_vp", "sub_vp", "learned")


@pytest.mark.parametrize("name", MORE)
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
        return jnp.sum(
            jnp.square(to_the_end(chosen, schedules.LinearVP(beta_min=0.1, beta_max=beta_max), scale, x)[-1])
        )

    values, x, h = jnp.array([2.0, 8.0, 0.5]), jnp.array([[0.3, -1.2]]), 1e-6
    numeric = [(loss(values + h * d, x) - loss(values - h * d, x)) / (2 * h) for d in jnp.eye(3)]
    np.testing.assert_allclose(jax.grad(loss)(values, x), numeric, rtol=1e-6, atol=1e-9)


def test_x0_target_never_divides_by_a_vanishing_sigma():
    """Heun would evaluate the network at sigma = 0; it must not."""
    seen = []

    def denoiser(x, t):
        seen.append(float(t))
        return Prediction(0.5 * x, x / schedules.RectifiedFlow().sigma(t))

    final = step_once(Heun(), None, jnp.ones((1, 1)), 0.5, 0.0, denoiser, schedules.Cosine())
    assert seen == [0.5, 0.5]
    np.testing.assert_allclose(final, [[0.5]])
