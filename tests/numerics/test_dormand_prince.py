"""The embedded pair: its table, its order, rejected steps, and integrals along the path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from tables import in_float64

from scorekit.numerics.dormand_prince import dormand_prince
from scorekit.numerics.embedded_pair import DENSE, ERROR, NODES, STAGES, WEIGHTS


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


@pytest.mark.slow
@in_float64
def test_an_integral_along_the_path():
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

    exact = lambda p, q, end: q * (1 - np.exp(-2 * p * end)) / (2 * p)
    run = jax.jit(solve)
    for end in (2.0, -1.5):
        out = run(1.3, 0.7, end)
        assert out.nfe == 2 + 6 * (out.accepted + out.rejected) + 3 * out.accepted
        assert float(out.quadrature["square"]) == pytest.approx(float(exact(1.3, 0.7, end)), rel=1e-7)
        assert float(out.quadrature["clock"]) == pytest.approx(end**2 / 2, rel=1e-12)


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


test_dormand_prince_raises_for_a_slope_unlike_the_state = raising(
    [("slope must return a tree like y", slope) for slope in (lambda c, y: y[:1], lambda c, y: (y,))],
    lambda slope: dormand_prince(slope, jnp.ones(2), 0.0, 1.0),
)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])
def test_a_gradient_is_an_error_that_says_what_to_take(wrap):
    solve = lambda p: dormand_prince(lambda c, y: p * y, jnp.ones(2), 0.0, 1.0).y.sum()
    with pytest.raises(ValueError, match="adaptive steps have no gradient: take the steps of a grid"):
        jax.grad(lambda p: wrap(solve)(p).sum())(jnp.ones(3) if wrap is jax.vmap else 1.0)
