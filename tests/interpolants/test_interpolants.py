"""Interpolants between two mixtures: exact expectations, scores and flows by integration in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from tables import in_float64

from scorekit import densities, interpolants, samplers, schedules, solvers
from scorekit.interpolants import Ends, interpolant_loss_at, linear, trigonometric
from scorekit.times import Times

FIRST = ((0.3, -1.0, 0.4), (0.7, 1.2, 0.3))
SECOND = ((0.5, -2.0, 0.5), (0.5, 0.5, 0.6))
SCALES = {"linear": lambda: linear(0.7), "trigonometric": lambda: trigonometric(0.5), "no noise": lambda: linear()}


def joint():
    """Independent ends, each a mixture: the mixture of all pairs of components."""
    parts = [(w * v, np.array([m, n]), np.diag([a**2, b**2])) for w, m, a in FIRST for v, n, b in SECOND]
    components = [densities.gaussian(jnp.asarray(m), covariance=jnp.asarray(c)) for _, m, c in parts]
    return densities.mixture([w for w, _, _ in parts], components)


def density(parts, x):
    return sum(w * np.exp(-0.5 * ((x - m) / s) ** 2) / (s * np.sqrt(2 * np.pi)) for w, m, s in parts)


def cumulative(scales, x, t):
    """P(x_t < x)."""
    a, b, g = (scale(t) for scale in (scales.alpha, scales.beta, scales.gamma))
    total = 0.0
    for w, m, s in FIRST:
        for v, n, r in SECOND:
            std = jnp.sqrt((a * s) ** 2 + (b * r) ** 2 + g**2)
            total += w * v * jax.scipy.stats.norm.cdf((x - a * m - b * n) / std)
    return total


@pytest.mark.parametrize("name", ["linear", "trigonometric"])
@in_float64
def test_expectations_and_score_are_those_of_an_integral(name):
    scales, t, x = SCALES[name](), 0.35, np.array([-1.0, 0.2, 1.5])
    u, v = np.linspace(-4, 4, 801), np.linspace(-6, 5, 801)
    a, b, g = (float(scale(t)) for scale in (scales.alpha, scales.beta, scales.gamma))
    z = (x[:, None, None] - a * u[:, None] - b * v) / g
    weight = density(FIRST, u)[:, None] * density(SECOND, v) * np.exp(-0.5 * z**2)
    mean = lambda value: np.sum(weight * value, axis=(1, 2)) / weight.sum((1, 2))
    found = jax.jit(interpolants.exact_ends(joint(), scales))(jnp.asarray(x)[:, None], t)
    for value, expected in zip(found, (mean(u[:, None]), mean(v), mean(z)), strict=True):
        np.testing.assert_allclose(value[:, 0], expected, atol=1e-6)
    log_density = lambda x: jnp.log(jax.grad(lambda x: cumulative(scales, x, t))(x))
    exact = jax.vmap(jax.grad(log_density))(jnp.asarray(x))
    np.testing.assert_allclose(interpolants.score(found.z, t, scales)[:, 0], exact, atol=1e-9)


@pytest.mark.slow
@in_float64
def test_ode_moves_every_quantile_to_itself():
    """In one dimension the exact flow keeps P(x_t < x); the measured order is that of the solver."""
    scales, flow = linear(0.7), schedules.rectified_flow()
    denoiser = interpolants.velocity_denoiser(interpolants.exact_ends(joint(), scales), scales)
    x = jnp.linspace(-2.5, 1.5, 9)[:, None]
    begin, end = 0.95, 0.05
    run = jax.jit(lambda solver, ts: samplers.sample(None, denoiser, flow, solver, x, ts))
    errors = {}
    for solver in (solvers.Midpoint(), solvers.RK4()):
        for n in (20, 40):
            moved = run(solver, jnp.linspace(begin, end, n + 1))
            wrong = cumulative(scales, moved, end) - cumulative(scales, x, begin)
            errors[solver.order, n] = float(jnp.sqrt(jnp.mean(wrong**2)))
    assert errors[4, 40] < 1e-5, errors
    for order in (2, 4):
        assert abs(np.log2(errors[order, 20] / errors[order, 40]) - order) < 0.5, errors


@pytest.mark.slow
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_sde_ends_in_the_other_mixture(eta):
    n, scales = 4000, linear(0.7)
    x1 = joint().sample(jax.random.key(1), (n,))[:, 1:]
    denoiser, solver = interpolants.exact_ends(joint(), scales), interpolants.BridgeAncestral(eta=eta)
    ts = jnp.linspace(1.0, 0.0, 65)
    found = np.asarray(jax.jit(samplers.sample)(jax.random.key(2), denoiser, scales, solver, x1, ts))
    for x in (-1.0, 0.0, 1.2):
        assert abs(np.mean(found < x) - float(cumulative(scales, x, 0.0))) < 0.03


@pytest.mark.parametrize("name", SCALES)
def test_scales_begin_and_end_at_the_data(name):
    scales = SCALES[name]()
    values = [[float(f(t)) for f in (scales.alpha, scales.beta, scales.gamma)] for t in (0.0, 1.0)]
    assert values == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_loss_is_the_squared_error_of_its_target():
    rng = np.random.default_rng(0)
    x0, x1, z = ({"a": jnp.asarray(rng.normal(size=(3, 2)), jnp.float32)} for _ in range(3))
    scales, times = linear(0.5), Times(jnp.array([0.1, 0.5, 0.8]), jnp.array([1.0, 2.0, 1.0]))
    t = np.asarray(times.t)[:, None]
    rate = 0.25 * (1 - 2 * t) / np.sqrt(t * (1 - t))
    truths = {"x0": x0["a"], "x1": x1["a"], "z": z["a"], "velocity": x1["a"] - x0["a"] + rate * z["a"]}
    for target, truth in truths.items():
        found = interpolant_loss_at(lambda x, t: {"a": 0.0 * x["a"]}, scales, x0, x1, z, times, target=target)
        np.testing.assert_allclose(found, times.weight * np.mean(np.square(truth), 1), rtol=1e-5)
    both = interpolant_loss_at(lambda x, t: (x0, x), scales, x0, x1, z, times)
    state = (1 - t) * x0["a"] + t * x1["a"] + 0.5 * np.sqrt(t * (1 - t)) * z["a"]
    np.testing.assert_allclose(both, times.weight * np.mean(np.square(x1["a"] - state), 1) / 2, rtol=1e-5)


def test_ends_agree_with_the_state():
    scales, x = linear(0.5), jnp.ones((3, 2))
    ends: Ends = interpolants.ends_denoiser(lambda x, t: (0.5 * x, 2.0 * x), scales)(x, 0.3)
    np.testing.assert_allclose(interpolants.interpolate(*ends, 0.3, scales), x, rtol=1e-6)
    assert not np.any(interpolants.ends_denoiser(lambda x, t: (x, x), scales)(x, 1.0).z)


X = jnp.ones((3, 2))
GIVEN = {"network": lambda x, t: (x, x), "interpolant": linear(), "x0": X, "x1": X, "z": X}
GIVEN["times"] = Times(jnp.full(3, 0.5), jnp.ones(3))
test_bad_arguments_are_named = raising(
    {
        "x1": {"x1": jnp.ones((3, 1))},
        r"times.t must have shape \(3,\)": {"times": Times(jnp.ones(2), jnp.ones(3))},
        "output": {"network": lambda x, t: x},
    },
    lambda changes: interpolant_loss_at(**{**GIVEN, **changes}),
)
