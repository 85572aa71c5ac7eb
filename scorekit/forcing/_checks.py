"""Checks that the modules of per-frame levels share."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.checks import check_floating
from scorekit.trees import is_traced
from scorekit.typing import Array, PyTree, Solver


def check_ends_at_zero(name: str, levels: Array) -> None:
    """Raises a ``ValueError`` that names levels of which the last row, or value, is not 0.

    >>> check_ends_at_zero("levels", jnp.array([[1.0, 1.0], [0.0, 0.5]]))
    Traceback (most recent call last):
    ValueError: levels must end at 0, got [0.  0.5]
    """
    if not is_traced(levels) and not np.all(np.asarray(levels)[-1] == 0):
        raise ValueError(f"{name} must end at 0, got {np.asarray(levels)[-1]}")


def frames_of(name: str, x: PyTree) -> tuple[int, int]:
    """``(B, T)`` of leaves ``(B, T, ...)``; raises a ``ValueError`` that names others, and those without frames.

    >>> frames_of("x0", jnp.zeros((2, 0, 3)))
    Traceback (most recent call last):
    ValueError: x0 must hold values, got shapes [(2, 0, 3)]
    """
    check_floating(**{name: x})
    found = {jnp.shape(leaf)[:2] for leaf in jax.tree.leaves(x)}
    if len(found) > 1 or any(len(shape) < 2 for shape in found):
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(x)]
        raise ValueError(f"{name} must be arrays (B, T, ...) that share B and T, got shapes {shapes}")
    batch, frames = found.pop()
    return batch, frames


def check_solver(solver: Solver) -> None:
    """Raises a ``ValueError`` for a solver that looks back at earlier times: frames have different ones.

    >>> from scorekit.solvers import Euler
    >>> check_solver(Euler())
    """
    if solver.max_past:
        raise ValueError(f"solver must look back at no earlier times, as Euler or Ancestral, got {solver!r}")
