"""Pytree helpers: dataclasses as pytrees, broadcasting over the batch, and linear algebra on trees.

Trees of different structure or shapes, or coefficients that are neither scalars nor ``(B,)``, are a ``ValueError``.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeVar, cast, dataclass_transform

import jax
import jax.numpy as jnp
from jax.core import Tracer

from scorekit.arguments import checked
from scorekit.checks import check_floating, check_like
from scorekit.typing import Array, ArrayLike, Key, PyTree

__all__ = [
    "as_pytree",
    "batch_size",
    "combine",
    "event_size",
    "expand",
    "is_traced",
    "normal_like",
    "pytree_dataclass",
    "static",
    "sum_per_example",
    "where",
]

_T = TypeVar("_T")


def as_pytree(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` as a pytree that may be passed through ``jit``.

    Args:
      function: any callable.

    Returns:
      A ``jax.tree_util.Partial`` of a plain function; a callable that is already a pytree of leaves, itself.

    >>> isinstance(as_pytree(lambda x, t: x), jax.tree_util.Partial)
    True
    """
    is_leaf = jax.tree_util.treedef_is_leaf(jax.tree.structure(function))
    return jax.tree_util.Partial(function) if is_leaf else function


def static(**kwargs):
    """A dataclass field that is part of the tree's structure (changing it recompiles) rather than a leaf.

    Args:
      kwargs: arguments of ``dataclasses.field``, such as ``default``.

    >>> static(default="line").metadata["static"]
    True
    """
    return dataclasses.field(metadata={"static": True}, **kwargs)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(static, dataclasses.field))
def pytree_dataclass(cls: type[_T]) -> type[_T]:
    """Makes ``cls`` a frozen keyword-only dataclass and registers it as a pytree.

    Every field is a leaf unless it was declared with :func:`static`. The constructor checks the bounds in the
    annotations of the fields (:mod:`scorekit.arguments`).

    Args:
      cls: a class with annotated fields.

    >>> @pytree_dataclass
    ... class Line:
    ...     slope: float = 2.0
    ...     name: str = static(default="line")
    >>> jax.tree.leaves(Line(slope=3.0))
    [3.0]
    """
    cls = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    cls.__init__ = checked(cls.__init__)
    fields = dataclasses.fields(cast(Any, cls))
    meta = tuple(f.name for f in fields if f.metadata.get("static"))
    data = tuple(f.name for f in fields if f.name not in meta)
    keys = tuple(jax.tree_util.GetAttrKey(name) for name in data)

    # The class is part of the structure: structures made by jax.tree_util.register_dataclass compare equal for
    # different classes, so that jit may run a program compiled for another class if their hashes collide.
    def structure(tree):
        return cls, tuple(getattr(tree, name) for name in meta)

    def flatten(tree):
        return tuple(getattr(tree, name) for name in data), structure(tree)

    def flatten_with_keys(tree):
        return tuple(zip(keys, flatten(tree)[0], strict=True)), structure(tree)

    def unflatten(aux, leaves):
        tree = object.__new__(cls)
        for name, value in zip((*data, *meta), (*leaves, *aux[1]), strict=True):
            object.__setattr__(tree, name, value)
        return tree

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def expand(coefficient: ArrayLike, leaf: Array) -> Array:
    """A scalar or ``(B,)`` coefficient with axes appended, ``(B, 1, ..., 1)``, to multiply ``leaf`` per example.

    Args:
      coefficient: a scalar, or an array of the leading axes of ``leaf``.
      leaf: an array ``(B, ...)``.

    >>> expand(jnp.arange(4.0), jnp.ones((4, 2))).shape
    (4, 1)
    """
    coefficient = jnp.asarray(coefficient)
    leading = jnp.shape(leaf)[: coefficient.ndim]
    if coefficient.shape != leading:
        raise ValueError(f"coefficient must be a scalar or have shape {leading} as leaf, got {coefficient.shape}")
    return coefficient.reshape(coefficient.shape + (1,) * (jnp.ndim(leaf) - coefficient.ndim))


def combine(*terms: tuple[ArrayLike, PyTree]) -> PyTree:
    """The linear combination ``sum_i c_i x_i`` of trees; a ``c_i`` is a scalar or ``(B,)``.

    The sum is taken in the wider of the coefficient's and the leaf's precision and returned in the dtype of the
    first tree, so that a bfloat16 state keeps its dtype and its coefficients keep theirs. A Python scalar has no
    precision of its own and takes the precision of the leaf.

    Args:
      terms: pairs ``(c_i, x_i)`` of a coefficient and a tree of floating arrays; the trees have the same structure and
        shapes.

    >>> combine((2.0, jnp.ones(3)), (-jnp.arange(3.0), jnp.ones(3)))
    Array([2., 1., 0.], dtype=float32)
    """
    coefficients, trees = zip(*terms, strict=True)
    check_floating(terms=trees[0])
    for tree in trees[1:]:
        check_like("the first of them", trees[0], terms=tree)

    def leaf(*xs):
        total = sum(expand(c, x) * x for c, x in zip(coefficients, xs, strict=True))
        return jnp.asarray(total, jnp.result_type(xs[0]))

    return jax.tree.map(leaf, *trees)


def where(condition: ArrayLike, on_true: PyTree, on_false: PyTree) -> PyTree:
    """Selects per example between two trees.

    Args:
      condition: bool, a scalar or ``(B,)``.
      on_true: the tree to take where it holds.
      on_false: the tree to take elsewhere, shaped like ``on_true``.

    >>> where(jnp.arange(3) > 1, jnp.ones(3), jnp.zeros(3))
    Array([0., 0., 1.], dtype=float32)
    """
    check_like("on_true", on_true, on_false=on_false)
    return jax.tree.map(lambda a, b: jnp.where(expand(condition, a), a, b), on_true, on_false)


@checked
def normal_like(key: Key, tree: PyTree) -> PyTree:
    """Standard normal noise with the shapes and dtypes of ``tree``, with one independent key per leaf.

    A tree that is a single array uses ``key`` itself, as ``jax.random.normal`` would.

    Args:
      key: PRNG key.
      tree: floating arrays, or ``jax.ShapeDtypeStruct``, with the shapes and dtypes of the noise.

    >>> normal_like(jax.random.key(0), {"a": jnp.ones((4, 2))})["a"].shape
    (4, 2)
    """
    check_floating(tree=tree)
    leaves, treedef = jax.tree.flatten(tree)
    keys = [key] if len(leaves) == 1 else jax.random.split(key, len(leaves))
    dtype = lambda x: jax.dtypes.canonicalize_dtype(x.dtype)  # float64 numpy arrays become float32 by default
    noise = [jax.random.normal(k, jnp.shape(x), dtype(x)) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(treedef, noise)


def batch_size(tree: PyTree) -> int:
    """The length B of the leading batch axis, which all leaves share.

    Args:
      tree: arrays ``(B, ...)``; at least one.

    >>> batch_size({"a": jnp.ones((4, 2)), "b": jnp.ones(4)})
    4
    """
    shapes = [jnp.shape(x) for x in jax.tree.leaves(tree)]
    if not shapes or any(not s for s in shapes) or len({s[0] for s in shapes}) > 1:
        raise ValueError(f"x must be arrays that share a leading batch axis, got shapes {shapes}")
    return shapes[0][0]


def event_size(tree: PyTree) -> int:
    """The number D of values in one example: the product of all axes but the first, summed over leaves.

    Args:
      tree: arrays ``(B, ...)``.

    >>> event_size({"a": jnp.ones((4, 2)), "b": jnp.ones(4)})
    3
    """
    return sum(math.prod(jnp.shape(x)[1:]) for x in jax.tree.leaves(tree))


def sum_per_example(fn: Callable[[Array], Array], tree: PyTree) -> Array:
    """``sum fn(leaf)`` over everything but the batch axis, in at least float32, ``(B,)``.

    Args:
      fn: an elementwise function, or one that keeps the leading axis.
      tree: arrays ``(B, ...)``.

    >>> sum_per_example(jnp.square, jnp.ones((2, 3)))
    Array([3., 3.], dtype=float32)
    """

    def leaf(x):
        value = fn(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
        return jnp.sum(value.reshape(value.shape[0], math.prod(value.shape[1:])), axis=1)

    return cast(Array, sum(leaf(x) for x in jax.tree.leaves(tree)))


def is_traced(value: Any) -> bool:
    """Whether ``value`` is a tracer, so that Python control flow cannot depend on it.

    Args:
      value: anything.

    >>> is_traced(1.0), jax.jit(lambda x: jnp.array(is_traced(x)))(1.0)
    (False, Array(True, dtype=bool))
    """
    return isinstance(value, Tracer)
