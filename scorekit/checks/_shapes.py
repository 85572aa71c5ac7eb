"""Checks of the shapes and dtypes of arguments; :mod:`scorekit.checks` offers them.

Each raises a ``ValueError`` that names the first argument that fails. Nothing is broadcast silently: ``(B,)`` against
``(B, 1)`` would give ``(B, B)``.
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.typing import ArrayLike, PyTree


def is_real(value: ArrayLike) -> bool:
    """Whether an array, concrete or traced, holds floating numbers, integers or booleans.

    Args:
      value: an array or a number.
    """
    return any(jnp.issubdtype(_dtype(value), kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))


def _dtype(value):
    return getattr(value, "dtype", None) or np.asarray(value).dtype


def check_real(**named: PyTree) -> None:
    """Trees of real numbers, concrete or traced: no complex ones, no text, no keys.

    Args:
      named: trees of arrays by the names that errors give them.

    >>> check_real(x=np.ones(2), spectrum=np.ones(2, np.complex64))
    Traceback (most recent call last):
    ValueError: spectrum must hold real numbers, got dtype complex64
    """
    for name, tree in named.items():
        for leaf in jax.tree.leaves(tree):
            if not is_real(leaf):
                raise ValueError(f"{name} must hold real numbers, got dtype {_dtype(leaf)}")


def check_axes(*axes: int, **named: ArrayLike) -> None:
    """Arrays whose last axes have these lengths: an axis of length 1 is not one of length D.

    Args:
      axes: the lengths of the last axes.
      named: arrays by the names that errors give them.

    >>> check_axes(3, x=np.ones((5, 1)))
    Traceback (most recent call last):
    ValueError: x must have shape (..., 3), got (5, 1)
    """
    for name, value in named.items():
        shape = np.shape(value)
        if shape[len(shape) - len(axes) :] != axes or len(shape) < len(axes):
            raise ValueError(f"{name} must have shape (..., {', '.join(map(str, axes))}), got {shape}")


def check_like(reference: str, tree: PyTree, **named: PyTree) -> None:
    """Trees with the structure and the shapes of ``tree``.

    Args:
      reference: name of ``tree`` in the message.
      tree: the tree to compare with.
      named: trees by the names that errors give them.

    >>> check_like("x_t", jnp.zeros((4, 1)), output=jnp.zeros(4))
    Traceback (most recent call last):
    ValueError: output must have the structure and the shapes of x_t, (4, 1), got (4,)
    """
    wanted = jax.tree.map(jnp.shape, tree)
    for name, value in named.items():
        shapes = jax.tree.map(jnp.shape, value)
        if shapes != wanted:
            raise ValueError(f"{name} must have the structure and the shapes of {reference}, {wanted}, got {shapes}")


def check_broadcasts(reference: str, tree: PyTree, **named: PyTree) -> None:
    """Trees with the structure of ``tree`` that broadcast to it: masks and the like, one for each example or for all.

    Args:
      reference: name of ``tree`` in the message.
      tree: the tree to broadcast to.
      named: trees by the names that errors give them.

    >>> check_broadcasts("x", jnp.zeros((4, 2)), mask=jnp.zeros(3))
    Traceback (most recent call last):
    ValueError: mask must be a tree that broadcasts to x, (4, 2), got (3,)
    """

    def fits(part, whole):
        try:
            return np.broadcast_shapes(np.shape(part), np.shape(whole)) == np.shape(whole)
        except ValueError:
            return False

    for name, value in named.items():
        same = jax.tree.structure(value) == jax.tree.structure(tree)
        if not same or not all(jax.tree.leaves(jax.tree.map(fits, value, tree))):
            shapes = jax.tree.map(jnp.shape, tree), jax.tree.map(jnp.shape, value)
            raise ValueError(f"{name} must be a tree that broadcasts to {reference}, {shapes[0]}, got {shapes[1]}")


def check_per_example(tree: PyTree, **named: ArrayLike) -> None:
    """Real numbers, each a scalar or ``(B,)``, as ``tree``.

    Args:
      tree: arrays ``(B, ...)``.
      named: numbers or arrays by the names that errors give them.

    >>> check_per_example(jnp.zeros((4, 2)), t=jnp.zeros(2))
    Traceback (most recent call last):
    ValueError: t must be a scalar or have shape (4,), one value per example, got (2,)
    """
    check_real(**named)
    batches = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(tree)}
    for name, value in named.items():
        shape = np.shape(value)
        if shape and any(batch != shape for batch in batches):
            batch = next(batch for batch in batches if batch != shape)
            allowed = f"a scalar or have shape {batch}, one value per example" if batch else "a scalar"
            raise ValueError(f"{name} must be {allowed}, got {shape}")


def check_levels(tree: PyTree, **named: ArrayLike) -> None:
    """Real numbers, each a scalar, ``(B,)``, or ``(B, T)`` with a time for each frame.

    Args:
      tree: arrays ``(B, ...)``, or ``(B, T, ...)`` with T frames (:mod:`scorekit.forcing`).
      named: numbers or arrays by the names that errors give them.

    >>> check_levels(jnp.zeros((4, 3, 2)), t=jnp.zeros((4, 2)))
    Traceback (most recent call last):
    ValueError: t must be a scalar or have shape (4,), one value per example, or (4, 3), one per frame, got (4, 2)
    """
    check_real(**named)
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]
    for name, value in named.items():
        shape = np.shape(value)
        if len(shape) != 2 or any(len(leaf) < 2 for leaf in shapes):
            check_per_example(tree, **{name: value})
        elif wrong := [leaf for leaf in shapes if leaf[:2] != shape]:
            allowed = f"a scalar or have shape {wrong[0][:1]}, one value per example, or {wrong[0][:2]}, one per frame"
            raise ValueError(f"{name} must be {allowed}, got {shape}")
