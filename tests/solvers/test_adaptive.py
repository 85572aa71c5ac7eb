"""The adaptive solver against exact maps, an independent table, and gradients by hand."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import SCHEDULES, in_float64, quick_jit

from scorekit import Prediction, denoisers, densities, schedules
from scorekit.solvers.adaptive import adaptive_ode, probability_flow
from scorekit.solvers.closures import hoist
from scorekit.solvers.dormand_prince import dormand_prince
from scorekit.solvers.embedded_pair import DENSE, ERROR, NODES, STAGES, WEIGHTS, slopes_of

COVARIANCE = np.array([[0.5, 0.3], [0.3, 0.8]])
SOME = ("linear_vp", "sub_vp", "cosine", "geometric_ve", "edm_from_zero", "rectified_flow", "ddpm_table", "learned")


def data():
    return densities.gaussian(jnp.array([0.3, -0.2]), covariance=COVARIANCE)


def exact_map(schedule, x, t, s):
    return data().flow(x, (schedule.alpha(t), schedule.sigma(t)), (schedule.alpha(s), schedule.sigma(s)))


def start_of(schedule, n=6):
    return schedule.sigma(1.0) * jax.random.normal(jax.random.key(0), (n, 2), schedule.sigma(1.0).dtype)


def test_the_table_is_that_of_scipy():
    scipy = pytest.importorskip("scipy.integrate").RK45
    np.testing.assert_allclose(DENSE, scipy.P, rtol=1e-15)
    np.testing.assert_allclose(-ERROR, scipy.E, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(STAGES[:6, :5], scipy.A, rtol=1e-15)
    np.testing.assert_allclose(WEIGHTS[:6], scipy.B, rtol=1e-15)
    np.testing.assert_allclose(NODES[:6], scipy.C, rtol=1e-15)


@pytest.mark.parametrize("name", SOME)
def test_the_exact_map_of_a_gaussian_from_end_to_end_in_float32(name):
    schedule = SCHEDULES[name].make()
    x = start_of(schedule)
    solve = lambda x: adaptive_ode(denoisers.exact_denoiser(data(), schedule), schedule, x, rtol=1e-5)
    out = quick_jit(solve)(x)
    assert out.success
    assert out.nfe == 2 + 6 * (out.accepted + out.rejected) < 60
    assert out.x.dtype == jnp.float32
    np.testing.assert_allclose(out.x, exact_map(schedule, x, 1.0, 0.0), atol=2e-4)


@pytest.mark.parametrize(
    ("name", "coordinate"),
    [("zero_terminal_linear_vp", "flow"), ("edm_from_zero", "angle"), ("rectified_flow", "sigma")],
)
@in_float64
def test_tolerances_and_inversion_in_float64(name, coordinate):
    schedule = SCHEDULES[name].make()
    t_start = 0.99 if coordinate == "sigma" else 1.0
    x = start_of(schedule)
    denoiser = denoisers.exact_denoiser(data(), schedule)

    @quick_jit
    def there_and_back(x, tolerance):
        kwargs = {"rtol": tolerance, "atol": tolerance, "coordinate": coordinate}
        out = adaptive_ode(denoiser, schedule, x, t_start=t_start, **kwargs)
        return out, adaptive_ode(denoiser, schedule, out.x, t_start=0.0, t_end=t_start, **kwargs)

    exact = exact_map(schedule, x, t_start, 0.0)
    loose, _ = there_and_back(x, 1e-4)
    tight, back = there_and_back(x, 1e-10)
    assert 1e-7 < np.abs(loose.x - exact).max() < 1e-2
    np.testing.assert_allclose(tight.x, exact, atol=2e-8)
    np.testing.assert_allclose(back.x, x, rtol=1e-6, atol=1e-7 * float(schedule.sigma(t_start)))
    assert tight.nfe > loose.nfe


@pytest.mark.parametrize(
    ("name", "target"), [("cosine", "x0"), ("edm_from_zero", "x0"), ("rectified_flow", "eps"), ("cosine", "eps")]
)
def test_networks_that_do_not_exist_at_an_end(name, target):
    """eps of an x0-network is 0/0 at sigma = 0; x0 of an eps-network is at alpha = 0."""
    schedule = SCHEDULES[name].make()
    exact = denoisers.exact_denoiser(data(), schedule)
    network = lambda x, t: getattr(exact(x, t), target)
    denoiser = denoisers.denoiser_from_network(network, schedule, target)
    x = start_of(schedule)
    out = quick_jit(lambda x: adaptive_ode(denoiser, schedule, x, rtol=1e-5))(x)
    assert out.success
    np.testing.assert_allclose(out.x, exact_map(schedule, x, 1.0, 0.0), atol=2e-4)


@in_float64
def test_the_error_follows_the_tolerance_and_the_interpolant_is_fourth_order():
    """On y' = cos(c) y, y = exp(sin c), with many saved states; a step error e leaves O(e^(4/5)) between steps."""
    at = np.linspace(0.0, 5.0, 101)
    solve = quick_jit(
        lambda tol: dormand_prince(
            lambda c, y: jnp.cos(c) * y, jnp.ones(1), 0.0, 5.0, rtol=tol, atol=tol, save_at=jnp.asarray(at)
        )
    )
    exact = np.exp(np.sin(at))[:, None]
    errors, steps = [], []
    for tolerance in (1e-6, 1e-10):
        out = solve(tolerance)
        assert abs(float(out.y[0]) - exact[-1, 0]) < 20 * tolerance
        errors.append(np.abs(out.saved - exact).max())
        steps.append(int(out.accepted))
        np.testing.assert_array_equal(out.saved[0], [1.0])
        np.testing.assert_allclose(out.saved[-1], out.y, rtol=1e-15)
    order = np.log(errors[0] / errors[1]) / np.log(steps[1] / steps[0])
    assert order > 3.7
    assert errors[1] < 1e-8


@in_float64
def test_steps_that_go_too_far_are_thrown_away():
    """A slope that is smooth for long and then jumps up: steps have grown and must be taken back."""
    width, at = 1e-3, jnp.linspace(0.0, 1.0, 51)
    out = quick_jit(
        lambda: dormand_prince(
            lambda c, y: 20.0 * jax.nn.sigmoid((c - 0.52) / width) + jnp.cos(9 * c),
            jnp.zeros(()),
            0.0,
            1.0,
            rtol=1e-6,
            atol=1e-6,
            save_at=at,
            integrand=lambda c, y: jnp.ones(()),
        )
    )()
    assert out.success
    assert out.rejected > 3
    exact = 20.0 * width * np.logaddexp(0.0, (at - 0.52) / width) + np.sin(9 * at) / 9
    np.testing.assert_allclose(out.saved, exact, atol=1e-4)
    assert float(out.quadrature) == pytest.approx(1.0, rel=1e-12)  # each place counted once


def test_saved_states_of_the_sampler():
    schedule = schedules.cosine()
    times = np.array([1.0, 0.7, 0.31, 0.3, 0.0])
    x = {"a": start_of(schedule)}
    pair = denoisers.exact_denoiser(data(), schedule)
    denoiser = lambda x, t: Prediction(*({"a": half} for half in pair(x["a"], t)))
    out = quick_jit(lambda x: adaptive_ode(denoiser, schedule, x, rtol=1e-5, save_at=times))(x)
    for t, state in zip(times, out.saved["a"], strict=True):
        np.testing.assert_allclose(state, exact_map(schedule, x["a"], 1.0, t), atol=2e-4)
    back = quick_jit(
        lambda x: adaptive_ode(denoiser, schedule, x, t_start=0.0, t_end=1.0, rtol=1e-5, save_at=times[::-1])
    )(out.x)
    np.testing.assert_allclose(back.saved["a"], out.saved["a"][::-1], atol=5e-4)


MATRIX = np.array([[-1.0, 3.0], [-2.0, -0.5]])


def integral(p, y, start, end, at, label, **kwargs):
    """A system that holds traced floats and a traced integer."""
    frequency = jnp.array([1.0, 2.0, 3.0])[label]

    def slope(clock, y):
        first = (y["a"] @ (p * MATRIX).T) * jnp.cos(frequency * clock / 2)
        return {"a": first, "b": jnp.sin(clock) * y["b"] * p}

    return dormand_prince(slope, y, start, end, rtol=1e-6, atol=1e-6, max_steps=40, save_at=at, **kwargs)


def summed(out):
    return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((out.y, out.saved)))


def arguments():
    return 1.1, {"a": jnp.array([1.0, 2.0]), "b": jnp.ones(3)}, 0.0, 2.0, jnp.array([0.0, 0.2, 0.21, 0.9, 2.0])


loss = lambda *args: summed(integral(*args))
gradients = jax.grad(loss, argnums=(0, 1, 2, 3, 4))


@in_float64
def test_gradients_are_those_of_the_same_steps_taken_by_hand():
    """Plain reverse mode through a loop over the accepted steps, whose fractions of the interval are numbers."""
    p, y, start, end, at = arguments()
    found = quick_jit(gradients)(p, y, start, end, at, 1)
    knots = _accepted_clocks(p, y, start, end)
    shares = (knots - start) / (end - start)

    def by_hand(p, y, start, end):
        slope = lambda c, y: {
            "a": (y["a"] @ (p * MATRIX).T) * jnp.cos(2.0 * c / 2),
            "b": jnp.sin(c) * y["b"] * p,
        }

        def step(y, pair):
            c, h = start + pair[0] * (end - start), (pair[1] - pair[0]) * (end - start)
            slopes = slopes_of(slope, c, y, h, slope(c, y))
            return jax.tree.map(lambda y, k: y + h * jnp.tensordot(WEIGHTS, k, 1), y, slopes), None

        return jax.lax.scan(step, y, (shares[:-1], shares[1:]))[0]

    end_only = quick_jit(jax.grad(lambda *a: summed(integral(*a, None, 1)), argnums=(0, 1, 2, 3)))(p, y, start, end)
    hand = quick_jit(
        jax.grad(lambda *a: sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(by_hand(*a))), argnums=(0, 1, 2, 3))
    )(p, y, start, end)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), end_only, hand)
    value = quick_jit(loss)
    for i in (0, 2, 3):  # with dense output; the steps change as well, so to the solver's accuracy only
        args = (p, y, start, end, at)
        up, down = ([*args[:i], args[i] + d, *args[i + 1 :], 1] for d in (1e-5, -1e-5))
        assert (value(*up) - value(*down)) / 2e-5 == pytest.approx(float(found[i]), rel=1e-3)
    for i in (1, 2, 3):
        up, down = (value(p, y, start, end, at.at[i].add(d), 1) for d in (1e-5, -1e-5))
        assert float(up - down) / 2e-5 == pytest.approx(float(found[4][i]), rel=1e-6)


def _accepted_clocks(p, y, start, end):
    """The knots of the solution: its steps are replayed with ever larger ``max_steps``."""
    module = sys.modules[dormand_prince.__module__]
    seen = []
    original = module._run

    def spy(pure, max_steps, record, *args):
        last = original(pure, max_steps, True, *args)
        seen.append((last.tape[0], last.accepted))
        return last._replace(tape=None) if not record else last

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_run", spy)
        out = integral(p, y, start, end, None, 1)
        assert out.success
    clocks, accepted = seen[-1]
    return np.append(np.asarray(clocks)[: int(accepted)], end)


@in_float64
def test_an_integral_along_the_path_and_its_gradient():
    """``y = exp(-p c)`` and ``int q y^2 dc`` in closed form, in either direction."""

    def solve(p, q, end):
        return dormand_prince(
            lambda c, y: -p * y,
            jnp.ones(()),
            0.0,
            end,
            rtol=1e-9,
            atol=1e-9,
            max_steps=100,
            integrand=lambda c, y: {"square": q * jnp.square(y), "clock": c},
        )

    exact = lambda p, q, end: q * (1 - jnp.exp(-2 * p * end)) / (2 * p)
    both = quick_jit(lambda *a: (solve(*a), jax.grad(lambda *a: solve(*a).quadrature["square"], argnums=(0, 1, 2))(*a)))
    for end in (2.0, -1.5):
        out, gradient = both(1.3, 0.7, end)
        assert out.nfe == 2 + 6 * (out.accepted + out.rejected) + 3 * out.accepted
        assert float(out.quadrature["square"]) == pytest.approx(float(exact(1.3, 0.7, end)), rel=1e-7)
        assert float(out.quadrature["clock"]) == pytest.approx(end**2 / 2, rel=1e-12)
        np.testing.assert_allclose(gradient, jax.grad(exact, argnums=(0, 1, 2))(1.3, 0.7, end), rtol=1e-6)


@in_float64
def test_gradients_under_jit_and_vmap():
    """Traced integers (labels) in the closure must not leak from an inner ``jit``."""
    p, y, start, end, _ = arguments()
    by_p = jax.grad(loss)
    expected = quick_jit(by_p)(p, y, start, end, None, 1)
    inner = jax.grad(jax.jit(loss))(p, y, start, end, None, jnp.array(1))
    np.testing.assert_allclose(inner, expected, rtol=1e-10)
    ps, labels = jnp.array([0.6, p]), jnp.array([2, 1])
    total = lambda ps: jax.vmap(loss, (0, None, None, None, None, 0))(ps, y, start, end, None, labels).sum()
    outside = quick_jit(jax.grad(total))(ps)
    each = quick_jit(jax.vmap(by_p, (0, None, None, None, None, 0)))(ps, y, start, end, None, labels)
    np.testing.assert_allclose(each[1], expected, rtol=1e-10)
    np.testing.assert_allclose(outside, each, rtol=1e-10)


@in_float64
def test_gradients_of_the_sampler_reach_the_schedule_the_parameters_and_the_start():
    """With an exact denoiser of a Gaussian the map is known in closed form, and so is its gradient."""

    def solved(numbers, x):
        schedule = schedules.shifted(schedules.linear_vp(beta_max=numbers["beta"]), numbers["shift"])
        density = densities.gaussian(numbers["mean"], std=0.5)
        denoiser = denoisers.exact_denoiser(density, schedule)
        return adaptive_ode(denoiser, schedule, x, t_end=0.05, rtol=1e-10, atol=1e-10, max_steps=200).x

    def exact(numbers, x):
        schedule = schedules.shifted(schedules.linear_vp(beta_max=numbers["beta"]), numbers["shift"])
        ends = [(schedule.alpha(t), schedule.sigma(t)) for t in (1.0, 0.05)]
        return densities.gaussian(numbers["mean"], std=0.5).flow(x, *ends)

    numbers = {"beta": 15.0, "shift": 1.3, "mean": jnp.array([0.4, -0.3])}
    x = jnp.array([[0.5, -1.0], [2.0, 0.1]])
    scalar = lambda f: quick_jit(jax.grad(lambda *a: jnp.sum(jnp.sin(f(*a))), argnums=(0, 1)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9),
        scalar(solved)(numbers, x),
        scalar(exact)(numbers, x),
    )


def test_vmap_gives_each_example_its_own_steps():
    schedule = schedules.rectified_flow()
    ring = densities.ring()
    denoiser = denoisers.exact_denoiser(ring, schedule)
    x = jax.random.normal(jax.random.key(3), (16, 2))
    one = lambda x: adaptive_ode(denoiser, schedule, x[None])
    out = quick_jit(jax.vmap(one))(x)
    assert out.success.all()
    assert len(np.unique(out.nfe)) > 1
    alone = quick_jit(one)(x[5])
    assert int(alone.nfe) == int(out.nfe[5])
    np.testing.assert_allclose(out.x[5], alone.x, atol=1e-5)


def test_half_precision_states_keep_their_dtype():
    schedule = schedules.cosine()
    denoiser = denoisers.exact_denoiser(data(), schedule)
    seen = []

    def watch(x, t):
        seen.append((x.dtype, t.dtype, t.shape))
        return denoiser(x, t)

    x = start_of(schedule)
    out = quick_jit(lambda x: adaptive_ode(watch, schedule, x, rtol=1e-2, atol=1e-2))(x.astype(jnp.bfloat16))
    assert out.x.dtype == jnp.bfloat16
    assert seen == [(jnp.bfloat16, jnp.float32, ())]  # and traced once
    np.testing.assert_allclose(out.x.astype(np.float32), exact_map(schedule, x, 1.0, 0.0), atol=0.05)


def test_changing_a_number_does_not_recompile():
    schedule, count = schedules.cosine(), []

    @quick_jit
    def run(x, rtol, t_end):
        count.append(1)
        denoiser = denoisers.exact_denoiser(data(), schedule)
        return adaptive_ode(denoiser, schedule, x, rtol=rtol, t_end=t_end)

    x = start_of(schedule)
    few, many = run(x, 1e-2, 0.1), run(x, 1e-6, 0.0)
    assert few.nfe < many.nfe
    assert len(count) == 1


def test_a_failure_is_told_and_never_returned():
    schedule = schedules.rectified_flow()
    denoiser = denoisers.exact_denoiser(densities.ring(), schedule)
    x = start_of(schedule)
    solve = functools.partial(adaptive_ode, denoiser, schedule, rtol=1e-6, max_steps=5)
    advice = r"not solved to its end in 32 network evaluations: raise rtol or atol, raise max_steps, .* float64"
    with pytest.raises(RuntimeError, match=advice):
        solve(x)
    out = quick_jit(lambda x: solve(x, save_at=jnp.array([1.0, 0.5])))(x)
    assert not out.success
    assert np.isnan(out.x).all()
    assert np.isnan(out.saved).all()
    assert out.accepted + out.rejected == 5
    with pytest.raises(RuntimeError, match=advice):
        out.raise_if_failed()
    assert np.isnan(quick_jit(jax.grad(lambda x: solve(x).x.sum()))(x)).all()
    good = quick_jit(lambda x: adaptive_ode(denoiser, schedule, x))(x)
    assert good.raise_if_failed() is good


@pytest.mark.parametrize(
    "slope",
    [
        lambda c, y: y * jnp.nan,  # from the start
        lambda c, y: jnp.where(c > 0.5, jnp.nan, y),  # on the way
        lambda c, y: y**2 * 1e3,  # leaves every bound before the end
    ],
)
def test_slopes_that_are_not_finite_end_early(slope):
    out = quick_jit(lambda y: dormand_prince(slope, y, 0.0, 1.0))(jnp.ones(2))
    assert not out.success
    assert np.isnan(out.y).all()
    assert out.nfe < 2 + 6 * 1000


def test_an_interval_of_no_length():
    out = dormand_prince(lambda c, y: y, jnp.ones(2), 0.3, 0.3)
    assert out.success
    assert out.accepted == 0
    np.testing.assert_array_equal(out.y, np.ones(2))


def test_the_slope_is_a_function_of_the_clock_for_any_solver():
    """In every coordinate Euler from the same point is DDIM."""
    schedule = schedules.linear_vp()
    denoiser = denoisers.exact_denoiser(data(), schedule)
    t, s = 0.6, 0.5
    alpha, sigma = (np.array([f(t), f(s)]) for f in (schedule.alpha, schedule.sigma))
    x = start_of(schedule)
    x0, eps = denoiser(x, t)
    scales = {"flow": alpha + sigma, "sigma": alpha, "angle": np.hypot(alpha, sigma)}
    clocks = {"flow": sigma / (alpha + sigma), "sigma": sigma / alpha, "angle": np.arctan2(sigma, alpha)}
    for name in ("flow", "sigma"):
        scale, clock = scales[name], clocks[name]
        slope = probability_flow(denoiser, schedule, 1.0, 0.0, x, name)
        y = x / scale[0] + (clock[1] - clock[0]) * slope(jnp.asarray(clock[0]), x / scale[0])
        np.testing.assert_allclose(scale[1] * y, alpha[1] * x0 + sigma[1] * eps, rtol=1e-4, atol=1e-5)
    slope = probability_flow(denoiser, schedule, 1.0, 0.0, x, "angle")
    v = (alpha[0] * eps - sigma[0] * x0) / scales["angle"][0]
    np.testing.assert_allclose(slope(jnp.asarray(clocks["angle"][0]), x / scales["angle"][0]), v, rtol=1e-4, atol=1e-5)


def test_hoisting_finds_what_is_traced_only():
    @jax.jit
    def inside(a, label):
        pure, held = hoist(lambda x: x * a + label, 1.0)
        assert len(held) == 2
        return pure(held, 3.0)

    assert inside(2.0, 5) == 11.0
    assert hoist(lambda x: x * jnp.arange(3), 1.0)[1] == []


COSINE = schedules.cosine()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rtol": 1e-8}, r"rtol must be in \[1.19e-07, 1\), the precision of float32, got 1e-08"),
        ({"atol": 0.0}, "atol must be finite and > 0, got 0.0"),
        ({"max_steps": 0}, "max_steps must be >= 1, got 0"),
        ({"t_start": 1.5}, r"t_start must be in \[0, 1\], got 1.5"),
        ({"t_end": -0.1}, r"t_end must be in \[0, 1\], got -0.1"),
        ({"coordinate": "signal"}, r"coordinate must be one of \('flow', 'angle', 'sigma'\), got 'signal'"),
        ({"coordinate": "sigma", "schedule": schedules.rectified_flow()}, "clock at t_start must be finite"),
        ({"save_at": 0.5}, r"save_at must have shape \(n,\)"),
        ({"save_at": [0.2, 0.5]}, "save_at must be times in order from t_start = 1.0 to t_end = 0.0"),
        ({"save_at": [0.5, 0.2], "t_end": 0.3}, "save_at must be times in order"),
        ({"x_init": jnp.zeros((2, 2), int)}, "x_init must hold floating arrays, got dtype int32"),
    ],
)
def test_refusals(changes, message):
    kwargs = {"schedule": COSINE, "x_init": jnp.zeros((2, 2)), **changes}
    with pytest.raises(ValueError, match=message):
        adaptive_ode(lambda x, t: Prediction(x, x), **kwargs)


def test_a_slope_unlike_the_state_is_refused():
    with pytest.raises(ValueError, match="slope must return a tree like y"):
        dormand_prince(lambda c, y: y[:1], jnp.ones(2), 0.0, 1.0)
    with pytest.raises(ValueError, match="slope must return a tree like y"):
        dormand_prince(lambda c, y: (y,), jnp.ones(2), 0.0, 1.0)
