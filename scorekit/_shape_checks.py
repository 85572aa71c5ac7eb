"""Checks of the shapes and dtypes of arguments; :mod:`scorekit.checks` offers them.

Each raises a ``ValueError`` that names the first argument that fails. Nothing is broadcast silently: ``(B,)`` against
``(B, 1)`` would give ``(B, B)``.

Args:
  named: the values to check, or trees of them, by the name of the argument.
  reference: name of ``tree`` in the message.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.typing import ArrayLike, PyTree


def is_real(value: ArrayLike) -> bool:
    """Whether an array, concrete or traced, holds floating numbers, integers or booleans."""
    return any(jnp.issubdtype(_dtype(value), kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))


def _dtype(value):
    return getattr(value, "dtype", None) or np.asarray(value).dtype


def check_real(**named: PyTree) -> None:
    """Trees of real numbers, concrete or traced: no complex ones, no text, no keys.

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
      tree: the tree to compare with.

    >>> check_like("x_t", jnp.zeros((4, 1)), output=jnp.zeros(4))
    Traceback (most recent call last):
    ValueError: output must have the structure and the shapes of x_t, (4, 1), got (4,)
    """
    wanted = jax.tree.map(jnp.shape, tree)
    for name, value in named.items():
        found = jax.tree.map(jnp.shape, value)
        if found != wanted:
            raise ValueError(f"{name} must have the structure and the shapes of {reference}, {wanted}, got {found}")


def output_like(name: str, network: Callable, x_t: PyTree, *times: ArrayLike) -> PyTree:
    """:func:`call_network`, with an output typed like the state."""
    output = call_network(name, network, x_t, *times)
    return jax.tree.map(lambda o, x: jnp.asarray(o, jnp.result_type(x)), output, x_t)


def call_network(name: str, network: Callable, x_t: PyTree, *times: ArrayLike) -> PyTree:
    """``network(x_t, *times)``, real and shaped like the state; common errors of networks say the remedy.

    >>> call_network("output", lambda x, t: x * t[:, None], jnp.ones((4, 1)), 0.5)
    Traceback (most recent call last):
    ValueError: t is a scalar when sampling and (B,) in the loss: jnp.broadcast_to(t, x.shape[:1])
    """
    try:
        output = network(x_t, *times)
        check_like("x_t", x_t, **{name: output})
    except Exception as error:
        if not any(map(jnp.ndim, times)) and _takes_batches_of_times(network, x_t, *times):
            advice = "t is a scalar when sampling and (B,) in the loss: jnp.broadcast_to(t, x.shape[:1])"
            raise ValueError(advice) from error
        of_shapes = isinstance(error, TypeError | ValueError) and "custom_vjp" not in str(error)
        if of_shapes and _takes_batches_of_times(lambda x, *t: jax.vmap(network)(x, *t), x_t, *times):
            advice = "network takes one example: lambda x, t: jax.vmap(network)(x, jnp.broadcast_to(t, x.shape[:1]))"
            raise ValueError(advice) from error
        if "from a different trace level" in str(error):
            advice = "network must not change its state, as NNX does in training: model.eval(), or nnx.merge it inside"
            raise ValueError(advice) from error
        raise
    check_real(**{name: output})
    return output


def _takes_batches_of_times(network: Callable, x_t: PyTree, *times: ArrayLike) -> bool:
    """Whether a network traces, with an output like the state, for times ``(B,)``."""
    leading = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(x_t)}
    if len(leading) != 1 or leading == {()}:
        return False
    try:
        output = jax.eval_shape(network, x_t, *(jnp.broadcast_to(t, *leading) for t in times))
        check_like("x_t", x_t, output=output)
    except Exception:
        return False
    return True


def check_broadcasts(reference: str, tree: PyTree, **named: PyTree) -> None:
    """Trees with the structure of ``tree`` that broadcast to it: masks and the like, one for each example or for all.

    Args:
      tree: the tree to broadcast to.

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
