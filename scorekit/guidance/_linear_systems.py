"""Jacobians of denoisers: linear systems by matrix-vector products, and where to evaluate."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from scorekit.numerics import wide
from scorekit.trees import combine, sum_per_example
from scorekit.typing import Array, Prediction, PyTree


def conjugate_gradients(matvec: Callable[[PyTree], PyTree], b: PyTree, num_iterations: int) -> PyTree:
    """An approximate solution of ``S u = b`` for each example, S symmetric and positive semidefinite.

    The iteration stops for an example that is solved or whose search direction has no positive curvature (the Jacobian
    of a network need not be positive).

    Args:
      matvec: ``u -> S u``; must not mix examples.
      b: leaves ``(B, ...)``.
      num_iterations: number of iterations; the residual of a matrix with k distinct eigenvalues vanishes after k.

    Source: Hestenes & Stiefel 1952; the stop is Steihaug's (1983, SIAM J. Numer. Anal. 20).
    """

    u, r, p = jax.tree.map(jnp.zeros_like, b), b, b
    rr = _dot(b, b)
    solved = jnp.square(jnp.finfo(rr.dtype).eps) * rr
    active = rr > solved
    for _ in range(num_iterations):  # unrolled: XLA on CPUs runs transposed convolutions 50x slower in a loop
        sp = matvec(p)
        curvature = _dot(p, sp)
        active = active & (curvature > 0)
        step = jnp.where(active, rr / jnp.where(active, curvature, 1.0), 0.0)
        u, r = combine((1.0, u), (step, p)), combine((1.0, r), (-step, sp))
        rr, last = _dot(r, r), rr
        active = active & (rr > solved)
        p = combine((1.0, r), (jnp.where(active, rr / jnp.where(active, last, 1.0), 0.0), p))
    return u


def _dot(a: PyTree, b: PyTree) -> Array:
    products = jax.tree.map(lambda x, y: wide(x) * y, a, b)
    return sum_per_example(lambda x: x, products)


def evaluation_point(schedule, t, x_t):
    """The time and the state at which J is evaluated: the given ones, unless alpha / sigma is too small there."""
    t = wide(t)
    tiny = jnp.finfo(t.dtype).eps
    at = jnp.minimum(t, jnp.minimum(schedule.time_at(jnp.log(tiny)), 1.0 - tiny))
    scale = jnp.where(at < t, schedule.sigma(at) / schedule.sigma(t), 1.0)
    return at, combine((scale, x_t))


def at_time(schedule, prediction, at, t):
    """A prediction at the time of :func:`evaluation_point` as one at t, so that ``alpha x0 + sigma eps`` is ``x_t``."""
    ratio = lambda time: schedule.alpha(time) / schedule.sigma(time)
    gap = jnp.where(at < t, ratio(at) - ratio(t), 0.0)
    return Prediction(prediction.x0, combine((1.0, prediction.eps), (gap, prediction.x0)))
