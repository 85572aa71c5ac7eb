"""Pytree dataclasses, broadcasting and linear algebra on trees."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import schedules, solvers, trees
from scorekit.typing import Schedule


@trees.pytree_dataclass
class Line:
    slope: float = 2.0
    name: str = trees.static(default="line")

    def __call__(self, x):
        return self.slope * x


def test_pytree_dataclass_splits_leaves_from_structure():
    assert jax.tree.leaves(Line(slope=3.0)) == [3.0]
    assert jax.tree.structure(Line(name="a")) != jax.tree.structure(Line(name="b"))
    assert jax.tree.map(lambda x: x + 1, Line(slope=3.0, name="n")) == Line(slope=4.0, name="n")
    with pytest.raises(AttributeError):
        Line().slope = 1.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        Line(3.0)  # type: ignore[misc]


def test_as_pytree_wraps_functions_but_not_callable_pytrees():
    plain = lambda x: x + 1
    assert trees.as_pytree(plain)(1) == 2
    assert jax.tree.leaves(trees.as_pytree(plain)) == []
    for callable_tree in (Line(slope=np.arange(3.0)), jax.tree_util.Partial(plain, 1)):  # type: ignore[arg-type]
        assert trees.as_pytree(callable_tree) is callable_tree


def test_combine_broadcasts_per_example_and_keeps_the_dtype_of_the_first_tree():
    c = jnp.arange(1.0, 4.0)
    x = {"a": jnp.ones((3, 2, 2)), "b": jnp.ones(3, jnp.bfloat16)}
    y = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), x)
    out = trees.combine((c, x), (-1.0, y))
    np.testing.assert_array_equal(out["a"], np.broadcast_to(np.arange(3.0)[:, None, None], (3, 2, 2)))
    np.testing.assert_array_equal(out["b"].astype(jnp.float32), np.arange(3.0))
    assert out["a"].dtype == jnp.float32
    assert out["b"].dtype == jnp.bfloat16


def test_combine_sums_a_bfloat16_state_in_float32():
    x = jnp.full(1, 256.0, jnp.bfloat16)
    # In bfloat16 both products would lose the small term.
    assert trees.combine((jnp.float32(1.003), x), (jnp.float32(-1.0), x)).astype(jnp.float32)[0] == pytest.approx(
        0.768, rel=4e-3
    )


def test_where_selects_per_example():
    out = trees.where(jnp.array([True, False]), jnp.ones((2, 3)), jnp.zeros((2, 3)))
    np.testing.assert_array_equal(out, [[1, 1, 1], [0, 0, 0]])


def test_normal_like_follows_shapes_and_dtypes_with_independent_leaves():
    key = jax.random.key(0)
    tree = {"a": jnp.zeros((4, 2)), "b": jax.ShapeDtypeStruct((4, 2), jnp.float32), "c": jnp.zeros(3, jnp.bfloat16)}
    noise = trees.normal_like(key, tree)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), noise) == jax.tree.map(lambda x: (x.shape, x.dtype), tree)
    assert not np.allclose(noise["a"], noise["b"])
    np.testing.assert_array_equal(trees.normal_like(key, tree["a"]), jax.random.normal(key, (4, 2)))


def test_numpy_float64_is_float32_without_a_warning():
    x = np.ones((4, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        noise, total = trees.normal_like(jax.random.key(0), x), trees.combine((jnp.ones(4), x), (2.0, x))
    np.testing.assert_array_equal(noise, jax.random.normal(jax.random.key(0), (4, 2)))
    assert total.dtype == jnp.float32


def test_sizes_and_sums_per_example():
    tree = {"a": jnp.arange(12.0).reshape(2, 3, 2), "b": jnp.ones(2, jnp.bfloat16)}
    assert trees.batch_size(tree) == 2
    assert trees.event_size(tree) == 7
    total = trees.sum_per_example(jnp.square, tree)
    np.testing.assert_allclose(total, [np.square(np.arange(6)).sum() + 1, np.square(np.arange(6, 12)).sum() + 1])
    assert total.dtype == jnp.float32


@pytest.mark.parametrize("tree", [{}, {"a": jnp.ones(()), "b": jnp.ones(2)}, [jnp.ones(2), jnp.ones(3)]])
def test_batch_size_invalid_trees_raise(tree):
    with pytest.raises(ValueError, match="share a leading batch axis"):
        trees.batch_size(tree)


def test_schedule_protocol_is_checkable():
    from tables import SCHEDULES

    assert all(isinstance(case.make(), Schedule) for case in SCHEDULES.values())


def test_dataclasses_of_two_classes_have_different_structures():
    """Else jit may run a program that was compiled for another class."""
    first, second = schedules.LinearVP(), schedules.Laplace()
    assert len(jax.tree.leaves(first)) == len(jax.tree.leaves(second))
    assert jax.tree.structure(first) != jax.tree.structure(second)
    assert jax.tree.structure(first) == jax.tree.structure(schedules.LinearVP(beta_min=1.0, beta_max=2.0))
    assert jax.tree.structure(solvers.Heun()) != jax.tree.structure(solvers.Heun(coordinate="sigma"))
