"""The terms for diffrax against the exact flow, our own solvers and the closed form of a Gaussian."""

import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import level, moved, of_leaves, plane
from solver_table import step_once
from tables import SCHEDULES, in_float64

from scorekit import densities, process, schedules
from scorekit.bridges.diffrax import ode_term, reverse_sde, reversed_time
from scorekit.denoisers import denoiser_from_network, exact_denoiser
from scorekit.samplers import sample
from scorekit.solvers import EulerMaruyama, Heun, grids
from scorekit.typing import Prediction

diffrax = pytest.importorskip("diffrax")


def data():
    """Two independent parts of different size, one with correlations: the leaves of a pytree state."""
    return {"pair": plane(), "single": densities.gaussian(jnp.array([2.0]), std=0.3)}


def exact_of(parts, schedule):
    return of_leaves(**{name: exact_denoiser(part, schedule) for name, part in parts.items()})


def draws(parts, schedule, t, n):
    keys = dict(zip(parts, jax.random.split(jax.random.key(0), len(parts)), strict=True))
    return {k: v.marginal(*level(schedule, t)).sample(keys[k], (n,)) for k, v in parts.items()}


# ---- the probability-flow ODE --------------------------------------------------------------------------------------

ENDS = {"sub_vp": 0.02, "cosine": 0.0, "edm": 0.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "solver"),
    [("sub_vp", "Tsit5"), ("edm", "Tsit5"), ("cosine", "Dopri5")],
)
@in_float64
def test_ode_reaches_the_exact_flow_and_agrees_with_heun(name, solver):
    schedule, parts, end = SCHEDULES[name].make(), data(), ENDS[name]
    x = draws(parts, schedule, 1.0, 3)

    @jax.jit
    def solve(x):
        denoiser = exact_of(parts, schedule)
        options = {"stepsize_controller": diffrax.PIDController(rtol=1e-8, atol=1e-8)}
        term, method = ode_term(denoiser, schedule), getattr(diffrax, solver)()
        theirs = diffrax.diffeqsolve(term, method, 1.0, end, None, x, **options)
        ours = sample(denoiser, schedule, Heun(), x, grids.uniform(500, 1.0, end))
        return jax.tree.map(lambda leaf: leaf[-1], theirs.ys), ours

    theirs, ours = solve(x)
    for part in parts:
        exact = moved(parts[part], schedule, x[part], 1.0, end)
        np.testing.assert_allclose(theirs[part], exact, atol=1e-7)
        np.testing.assert_allclose(theirs[part], ours[part], atol=1e-4)


@pytest.mark.slow
def test_gradients_through_the_ode_are_those_of_the_exact_flow():
    schedule, x = schedules.RectifiedFlow(), jnp.array([[0.7], [-1.3]])

    def solved(mean):
        denoiser = exact_denoiser(densities.gaussian(mean, std=0.5), schedule)
        solution = diffrax.diffeqsolve(ode_term(denoiser, schedule), diffrax.Tsit5(), 1.0, 0.0, -0.02, x)
        return jnp.sum(solution.ys[-1] ** 2)

    value, gradient = jax.jit(jax.value_and_grad(solved))(jnp.array([1.5]))
    x0 = 1.5 + 0.5 * x  # the exact flow from N(0, 1) to N(1.5, 0.5^2)
    np.testing.assert_allclose(value, jnp.sum(x0**2), rtol=1e-4)
    np.testing.assert_allclose(gradient, [2 * jnp.sum(x0)], rtol=1e-4)


@pytest.mark.slow
def test_terms_cross_jit_and_new_parameters_do_not_retrace():
    schedule = schedules.Cosine()

    def apply(params, x, t):
        del t
        return params * x

    @jax.jit
    @chex.assert_max_traces(n=1)
    def solve(ode, sde, x):
        x = diffrax.diffeqsolve(ode, diffrax.Euler(), 0.9, 0.1, -0.1, x).ys[-1]
        return diffrax.diffeqsolve(sde, diffrax.Euler(), 0.1, 0.9, 0.1, x).ys[-1]

    def solved(scale, key):
        denoiser = denoiser_from_network(jax.tree_util.Partial(apply, jnp.array(scale)), schedule)
        path = diffrax.VirtualBrownianTree(0.0, 1.0, 0.05, (2, 1), jax.random.key(key))
        return solve(ode_term(denoiser, schedule), reverse_sde(denoiser, schedule, path), jnp.ones((2, 1)))

    one, other = solved(0.3, 0), solved(0.4, 1)
    assert not np.allclose(one, other)


@pytest.mark.slow
def test_low_precision_states_are_kept_in_float32():
    schedule = schedules.Cosine()
    denoiser = exact_denoiser(densities.gaussian(jnp.zeros(1), std=0.5), schedule)
    x = jnp.ones((2, 1), jnp.bfloat16)
    path = diffrax.VirtualBrownianTree(0.0, 1.0, 0.05, jax.eval_shape(lambda: x), jax.random.key(0))
    terms = reverse_sde(denoiser, schedule, path)
    solution = diffrax.diffeqsolve(terms, diffrax.Euler(), 0.2, 0.9, 0.1, x)
    assert solution.ys.dtype == jnp.float32


# ---- the reverse SDE -----------------------------------------------------------------------------------------------


def test_reversed_time_is_its_own_inverse():
    t = np.array([1.0, 0.75, 0.0])
    np.testing.assert_array_equal(reversed_time(t), [0.0, 0.25, 1.0])
    np.testing.assert_array_equal(reversed_time(reversed_time(t)), t)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sub_vp", "edm"])
@in_float64
def test_one_step_of_euler_is_our_euler_maruyama(name):
    schedule, parts, key = SCHEDULES[name].make(), data(), jax.random.key(2)
    denoiser, x, t, s = exact_of(parts, schedule), draws(parts, schedule, 0.6, 3), 0.6, 0.5
    noise = process.normal_like(key, x)
    path = lambda r0, r1: jax.tree.map(lambda z: jnp.sqrt(r1 - r0) * z, noise)
    terms = reverse_sde(denoiser, schedule, path)
    start, end, controller = reversed_time(t), reversed_time(s), diffrax.StepTo(reversed_time(jnp.array([t, s])))
    solution = diffrax.diffeqsolve(terms, diffrax.Euler(), start, end, None, x, stepsize_controller=controller)
    ours = step_once(EulerMaruyama(), key, x, t, s, denoiser, schedule)
    for part in parts:
        np.testing.assert_allclose(solution.ys[part][-1], ours[part], rtol=1e-9)


def test_without_diffrax_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"scorekit\[diffrax\]"):
        ode_term(lambda x, t: Prediction(x, x), schedules.Cosine())
