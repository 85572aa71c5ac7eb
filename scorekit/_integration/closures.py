"""Functions with their closed-over values as arguments, so that a ``custom_vjp`` differentiates through them."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from scorekit.trees import is_traced
from scorekit.typing import Array


def closure_convert(function: Callable[..., Any], *args: Any) -> tuple[Callable[..., Any], list[Array]]:
    """``(pure, held)`` with ``function(*args) = pure(held, *args)``; ``held`` are the traced values of its closure.

    ``function`` is traced once, here. ``jax.closure_convert`` is not enough: it keeps integers (class labels) in the
    closure, which then leak from a ``jit`` under ``grad``.

    >>> double = lambda factor: (lambda pure, held: pure(held, 3.0))(*closure_convert(lambda x: factor * x, 1.0))
    >>> float(jax.jit(double)(2.0))
    6.0
    """
    closed, shape = jax.make_jaxpr(function, return_shape=True)(*args)
    treedef = jax.tree.structure(shape)
    traced = [is_traced(const) for const in closed.consts]
    fixed = [None if hoisted else const for hoisted, const in zip(traced, closed.consts, strict=True)]

    def pure(held, *args):
        queue = iter(held)
        consts = [next(queue) if hoisted else const for hoisted, const in zip(traced, fixed, strict=True)]
        flat = jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, consts))(*jax.tree.leaves(args))
        return jax.tree.unflatten(treedef, flat)

    return pure, [const for hoisted, const in zip(traced, closed.consts, strict=True) if hoisted]
