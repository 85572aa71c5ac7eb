"""Layer 0: the checks of arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import checks


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, np.array([1.0, 0.0]), "a", None])
def test_check_positive_names_argument_value_and_condition(value):
    with pytest.raises(ValueError, match="std must be finite and > 0, got") as error:
        checks.check_positive(std=value)
    assert str(value) in str(error.value)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: checks.check_at_least(0, eta=-0.1), "eta must be finite and >= 0, got -0.1"),
        (lambda: checks.check_at_least(0, eta=np.inf), "eta must be finite and >= 0, got inf"),
        (lambda: checks.check_between(0, 1, t=np.nan), "t must be in .0, 1., got nan"),
        (lambda: checks.check_between(0, 1, t=1.1), "t must be in .0, 1., got 1.1"),
        (lambda: checks.check_count(n=0), "n must be an integer >= 1, got 0"),
        (lambda: checks.check_count(n=1.0), "n must be an integer >= 1, got 1.0"),
        (lambda: checks.check_count(n=True), "n must be an integer >= 1, got True"),
        (lambda: checks.check_count(n="3"), "n must be an integer >= 1, got '3'"),
        (lambda: checks.check_classes(3, label=np.array([-1])), r"label must hold classes from 0 to 2, got \[-1\]"),
        (lambda: checks.check_classes(3, label=np.array([3])), "label must hold classes from 0 to 2"),
        (lambda: checks.check_classes(3, label=np.zeros(2)), "label must hold integers, got dtype float"),
        (lambda: checks.check_floating(x=np.arange(2)), "x must hold floating arrays, got dtype int"),
        (lambda: checks.check_floating(x=np.zeros((0, 2))), r"x must hold values, got shapes \[\(0, 2\)\]"),
        (lambda: checks.check_finite(x={"a": np.inf, "b": np.ones(3)}), "x must be finite, but 1 of 4 values are not"),
        (
            lambda: checks.check_like("x", np.ones((2, 1)), y=np.ones(2)),
            "y must have the structure and the shapes of x",
        ),
        (lambda: checks.check_like("x", np.ones(2), y=[np.ones(2)]), "y must have the structure and the shapes"),
        (lambda: checks.check_time(t=np.nan), "t must be in .0, 1., got nan"),
        (lambda: checks.check_positive(std=1 + 0j), r"std must be finite and > 0, got \(1\+0j\)"),
        (lambda: checks.check_between(0, 1, t=np.ones(2, np.complex64)), "t must be in .0, 1., got array"),
        (lambda: checks.check_time(t=np.complex64(0.5)), "t must be in .0, 1., got np.complex64"),
        (lambda: checks.check_finite(x={"a": np.ones(2, complex)}), "x must hold real numbers, got dtype complex128"),
        (lambda: checks.check_not_nan(x=1j), "x must be a real number, got 1j"),
        (lambda: checks.check_per_example(np.ones(2), t=1j), "t must hold real numbers, got dtype complex128"),
        (lambda: checks.check_levels(np.ones((2, 2)), t=1j), "t must hold real numbers, got dtype complex128"),
    ],
)
def test_checks_name_argument_value_and_what_is_allowed(check, message):
    with pytest.raises(ValueError, match=message):
        check()


def test_allowed_values_pass():
    checks.check_positive(a=1e-30, b=np.ones(3), c=jnp.ones(2, jnp.bfloat16), d=np.ones(0))
    checks.check_at_least(0, a=0.0, b=[1, 2])
    checks.check_between(0, 1, a=0, b=1.0)
    checks.check_count(a=1, b=np.int64(2))
    checks.check_classes(3, a=np.array([0, 2]), b=1)
    checks.check_floating(a=jnp.ones(1, jnp.bfloat16), b=1.0)
    checks.check_finite(a={"b": jnp.ones(1, jnp.bfloat16)}, c=1.0)
    checks.check_like("x", {"a": np.ones(2)}, y={"a": jnp.zeros(2)})


def test_values_of_tracers_are_not_checked_but_their_shapes_are():
    @jax.jit
    def checked(x):
        checks.check_positive(x=x)
        checks.check_finite(x=x)
        checks.check_between(2, 3, x=x)
        checks.check(lambda y: y > x, "> x", y=-1.0)  # a rule about a traced value cannot be decided either
        with pytest.raises(ValueError, match="y must have the structure"):
            checks.check_like("x", x, y=jnp.zeros((2, 1)))
        with pytest.raises(ValueError, match="x must hold integers"):
            checks.check_classes(3, x=x)
        with pytest.raises(ValueError, match="x must be finite and > 0, got "):
            checks.check_positive(x=x + 1j)
        return checks.nan_unless(x > 0, {"a": x})["a"], checks.nan_unless(x < 0, x)

    good, bad = checked(-1.0)
    assert np.isnan(good)
    assert bad == -1.0
