"""The embedded pair: its table, its order, rejected steps, and its gradients against the same steps by hand."""

import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from tables import in_float64

from scorekit._integration.closures import closure_convert
from scorekit._integration.dormand_prince import dormand_prince
from scorekit._integration.embedded_pair import DENSE, ERROR, NODES, STAGES, WEIGHTS, slopes_of


def test_the_table_is_that_of_scipy():
    scipy = pytest.importorskip("scipy.integrate").RK45
    np.testing.assert_allclose(DENSE, scipy.P, rtol=1e-15)
    np.testing.assert_allclose(-ERROR, scipy.E, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(STAGES[:6, :5], scipy.A, rtol=1e-15)
    np.testing.assert_allclose(WEIGHTS[:6], scipy.B, rtol=1e-15)
    np.testing.assert_allclose(NODES[:6], scipy.C, rtol=1e-15)


@in_float64
def test_the_error_follows_the_tolerance_and_the_interpolant_is_fourth_order():
    """On y' = cos(c) y, y = exp(sin c), with many saved states; a step error e leaves O(e^(4/5)) between steps."""
    at = np.linspace(0.0, 5.0, 101)
    solve = jax.jit(
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
    out = jax.jit(
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


@pytest.mark.slow
@in_float64
def test_gradients_are_those_of_the_same_steps_taken_by_hand():
    """Plain reverse mode through a loop over the accepted steps, whose fractions of the interval are numbers."""
    p, y, start, end, at = arguments()
    found = jax.jit(gradients)(p, y, start, end, at, 1)
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

    end_only = jax.jit(jax.grad(lambda *a: summed(integral(*a, None, 1)), argnums=(0, 1, 2, 3)))(p, y, start, end)
    hand = jax.jit(
        jax.grad(lambda *a: sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(by_hand(*a))), argnums=(0, 1, 2, 3))
    )(p, y, start, end)
    chex.assert_trees_all_close(end_only, hand, rtol=1e-10)
    value = jax.jit(loss)
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


@pytest.mark.slow
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
    both = jax.jit(lambda *a: (solve(*a), jax.grad(lambda *a: solve(*a).quadrature["square"], argnums=(0, 1, 2))(*a)))
    for end in (2.0, -1.5):
        out, gradient = both(1.3, 0.7, end)
        assert out.nfe == 2 + 6 * (out.accepted + out.rejected) + 3 * out.accepted
        assert float(out.quadrature["square"]) == pytest.approx(float(exact(1.3, 0.7, end)), rel=1e-7)
        assert float(out.quadrature["clock"]) == pytest.approx(end**2 / 2, rel=1e-12)
        np.testing.assert_allclose(gradient, jax.grad(exact, argnums=(0, 1, 2))(1.3, 0.7, end), rtol=1e-6)


@pytest.mark.slow
@in_float64
def test_gradients_under_jit_and_vmap():
    """Traced integers (labels) in the closure must not leak from an inner ``jit``."""
    p, y, start, end, _ = arguments()
    by_p = jax.grad(loss)
    expected = jax.jit(by_p)(p, y, start, end, None, 1)
    inner = jax.grad(jax.jit(loss))(p, y, start, end, None, jnp.array(1))
    np.testing.assert_allclose(inner, expected, rtol=1e-10)
    ps, labels = jnp.array([0.6, p]), jnp.array([2, 1])
    total = lambda ps: jax.vmap(loss, (0, None, None, None, None, 0))(ps, y, start, end, None, labels).sum()
    outside = jax.jit(jax.grad(total))(ps)
    each = jax.jit(jax.vmap(by_p, (0, None, None, None, None, 0)))(ps, y, start, end, None, labels)
    np.testing.assert_allclose(each[1], expected, rtol=1e-10)
    np.testing.assert_allclose(outside, each, rtol=1e-10)


@pytest.mark.parametrize(
    "slope",
    [
        lambda c, y: y * jnp.nan,  # from the start
        lambda c, y: jnp.where(c > 0.5, jnp.nan, y),  # on the way
        lambda c, y: y**2 * 1e3,  # leaves every bound before the end
    ],
)
def test_slopes_that_are_not_finite_end_early(slope):
    out = jax.jit(lambda y: dormand_prince(slope, y, 0.0, 1.0))(jnp.ones(2))
    assert not out.success
    assert np.isnan(out.y).all()
    assert out.nfe < 2 + 6 * 1000


def test_an_interval_of_no_length():
    out = dormand_prince(lambda c, y: y, jnp.ones(2), 0.3, 0.3)
    assert out.success
    assert out.accepted == 0
    np.testing.assert_array_equal(out.y, np.ones(2))


def test_hoisting_finds_what_is_traced_only():
    @jax.jit
    def inside(a, label):
        pure, held = closure_convert(lambda x: x * a + label, 1.0)
        assert len(held) == 2
        return pure(held, 3.0)

    assert inside(2.0, 5) == 11.0
    assert closure_convert(lambda x: x * jnp.arange(3), 1.0)[1] == []


test_dormand_prince_raises_for_a_slope_unlike_the_state = raising(
    [("slope must return a tree like y", slope) for slope in (lambda c, y: y[:1], lambda c, y: (y,))],
    lambda slope: dormand_prince(slope, jnp.ones(2), 0.0, 1.0),
)
