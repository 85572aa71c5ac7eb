"""Dormand and Prince's embedded Runge-Kutta pair 5(4) with adaptive steps.

One ``lax.while_loop`` solves ``dy/dclock = slope(clock, y)`` for any tree ``y``. A step makes six evaluations (the last
slope of a step is the first of the next) and its error, the difference to the embedded fourth-order result, is the
root mean square over the whole state of ``error / (atol + rtol max(|y|, |y'|))``: accepted when at most 1. The
next step follows Hairer's PI rule ``h' = 0.9 h error^-0.17 previous_error^0.04``, within [0.2, 10] h.

A loop of unknown length has no reverse mode: it raises an error that says what to take instead.

Source: Dormand & Prince 1980; Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I (1993), chapter II.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from scorekit.numerics.embedded_pair import (
    ERROR,
    WEIGHTS,
    Slope,
    along,
    first_step,
    gauss,
    interpolate,
    norm,
    slopes_of,
)
from scorekit.numerics.meshes import cond, stable, while_loop
from scorekit.typing import Array, ArrayLike, PyTree


class Integral(NamedTuple):
    """The result of :func:`dormand_prince`.

    Attributes:
      y: the state at the end; NaN where ``success`` is False.
      saved: the states at ``save_at``, leaves ``(n, ...)``, or None.
      quadrature: the integral of ``integrand`` along the path, or None; NaN where ``success`` is False.
      nfe: evaluations of the slope, 2 for the first step size and 6 for every step tried, and of ``integrand``, 3 for
        every step taken.
      accepted: steps taken.
      rejected: steps tried and rejected.
      success: whether the end was reached.
    """

    y: PyTree
    saved: PyTree
    quadrature: PyTree
    nfe: Array
    accepted: Array
    rejected: Array
    success: Array


class _Loop(NamedTuple):
    clock: Array
    y: PyTree
    slope: PyTree
    h: Array  # signed
    error: Array  # of the previous step
    may_grow: Array
    alive: Array
    accepted: Array
    rejected: Array
    saved: PyTree
    num_saved: Array
    total: PyTree  # of the quadrature


def dormand_prince(
    slope: Slope,
    y: PyTree,
    start: ArrayLike,
    end: ArrayLike,
    *,
    rtol: ArrayLike = 1e-4,
    atol: ArrayLike = 1e-5,
    max_steps: int = 1000,
    save_at: ArrayLike | None = None,
    integrand: Slope | None = None,
) -> Integral:
    """Integrates ``dy/dclock = slope(clock, y)`` from ``start`` to ``end``, in either direction.

    All leaves share their steps; ``vmap`` over single examples gives each its own. It is not differentiable.

    Args:
      slope: ``(clock, y) -> dy/dclock``; traced once, and may close over anything, traced or not.
      y: the state at ``start``, a tree of float32 or float64 arrays.
      start: initial value of the clock, a scalar.
      end: final value of the clock, below or above ``start``.
      rtol: error allowed in a step, as a part of the state.
      atol: error allowed in a step where the state is small.
      max_steps: steps to try before giving up, rejected ones included.
      save_at: ``(n,)``, ordered from ``start`` to ``end``: where to interpolate the state, to fourth order.
      integrand: ``(clock, y) -> tree`` to integrate along the path by three Gauss points in every step, for integrands
        that are too expensive to be part of the state (half the evaluations); the step size does not depend on it.

    Returns:
      An :class:`Integral`. It ends without success, and with NaN, when ``max_steps`` do not suffice, when the slope
      is not finite, or when a step would vanish in the rounding of the clock.

    >>> out = dormand_prince(lambda clock, y: -y, jnp.ones(1), 0.0, 1.0, rtol=1e-6, atol=1e-6)
    >>> float(jnp.abs(out.y[0] - jnp.exp(-1.0))) < 1e-6, bool(out.success)
    (True, True)
    """
    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(y))
    scalar = lambda x: jnp.asarray(x, dtype)
    start, end = scalar(start), scalar(end)
    saves = None if save_at is None else jnp.clip(scalar(save_at), jnp.minimum(start, end), jnp.maximum(start, end))
    slope, integrand = _traced_once(slope), None if integrand is None else _traced_once(integrand)
    y = stable(functools.partial(slope, start), y)
    _check_like(y, jax.eval_shape(slope, start, y))
    last = _run(slope, integrand, max_steps, y, start, end, saves, scalar(rtol), scalar(atol))
    success = last.clock == end
    mark = functools.partial(jax.tree.map, lambda leaf: jnp.where(success, leaf, jnp.nan))
    y, saved, total = _without_gradient(mark((last.y, last.saved, last.total)))
    nfe = 2 + 6 * (last.accepted + last.rejected) + (0 if integrand is None else 3 * last.accepted)
    return Integral(y, saved, total, nfe, last.accepted, last.rejected, success)


def _traced_once(function: Slope) -> Slope:
    return jax.jit(lambda clock, y: function(clock, y))  # a lambda because a callable pytree need not be hashable


@jax.custom_vjp
def _without_gradient(tree: PyTree) -> PyTree:
    return tree


def _raise(residuals, cotangents):
    raise ValueError(
        "adaptive steps have no gradient: take the steps of a grid (samplers.sample, or ts of "
        "likelihood.log_likelihood), or solve the ODE by diffrax (bridges.diffrax.ode_term)"
    )


_without_gradient.defvjp(lambda tree: (tree, None), _raise)


def _check_like(y: PyTree, value: PyTree) -> None:
    describe = lambda tree: jax.tree.map(lambda x: f"{jnp.result_type(x)}{list(jnp.shape(x))}", tree)
    if describe(y) != describe(value):
        raise ValueError(f"slope must return a tree like y, {describe(y)}, got {describe(value)}")


def _run(slope, integrand, max_steps, y, start, end, saves, rtol, atol) -> _Loop:
    direction, precision = jnp.sign(end - start), jnp.finfo(start.dtype).eps
    dtype = start.dtype

    def unfinished(loop: _Loop):
        return loop.alive & (loop.clock != end) & (loop.accepted + loop.rejected < max_steps)

    def body(loop: _Loop) -> _Loop:
        last = (loop.clock + 1.01 * loop.h - end) * direction >= 0
        after = jnp.where(last, end, loop.clock + loop.h)
        h = after - loop.clock  # what the clock really moves
        slopes = slopes_of(slope, loop.clock, loop.y, h, loop.slope)
        y = along(loop.y, h * jnp.asarray(WEIGHTS, dtype), slopes)
        zero = jax.tree.map(jnp.zeros_like, y)
        scale = jax.tree.map(lambda a, b: atol + rtol * jnp.maximum(jnp.abs(a), jnp.abs(b)), loop.y, y)
        error = norm(along(zero, h * jnp.asarray(ERROR, dtype), slopes), scale)
        accept = error <= 1.0  # not for NaN
        least = jnp.maximum(error, 1e-10)
        growth = 0.9 * least**-0.17 * jnp.where(accept, loop.error**0.04, 1.0)
        growth = jnp.clip(growth, 0.2, jnp.where(accept & loop.may_grow, 10.0, 1.0))
        new_h = h * jnp.where(jnp.isfinite(error), growth, 0.2)
        too_small = jnp.abs(new_h) < precision * (8.0 * jnp.abs(loop.clock) + precision * jnp.abs(end - start))
        saved, num_saved = loop.saved, loop.num_saved
        if saves is not None:
            limit = jnp.where(accept, after, loop.clock - direction)
            within = functools.partial(interpolate, loop.clock, h, loop.y, slopes)
            saved, num_saved = _save(saves, saved, num_saved, limit, direction, within)
        total = loop.total
        if integrand is not None:
            part = functools.partial(gauss, integrand, loop.clock, h, loop.y, slopes)
            total = cond(accept, lambda: jax.tree.map(jnp.add, loop.total, part()), lambda: loop.total)
        take = functools.partial(jax.tree.map, lambda new, old: jnp.where(accept, new, old))
        return _Loop(
            clock=jnp.where(accept, after, loop.clock),
            y=take(y, loop.y),
            slope=take(jax.tree.map(lambda k: k[6], slopes), loop.slope),
            h=new_h,
            error=jnp.where(accept, jnp.maximum(error, 1e-4), loop.error),
            may_grow=accept,
            alive=~too_small | (accept & last),
            accepted=loop.accepted + accept,
            rejected=loop.rejected + ~accept,
            saved=saved,
            num_saved=num_saved,
            total=total,
        )

    first, h, finite = first_step(slope, y, start, end, rtol, atol)
    none = jnp.zeros((), jnp.int32)
    saved = None
    if saves is not None:
        saved = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*saves.shape, *jnp.shape(leaf))), y)
    total = None
    if integrand is not None:
        total = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(integrand, start, y))
    return while_loop(
        unfinished,
        body,
        _Loop(
            clock=start,
            y=y,
            slope=first,
            h=h,
            error=jnp.full_like(start, 1e-4),
            may_grow=jnp.array(True),
            alive=finite,
            accepted=none,
            rejected=none,
            saved=saved,
            num_saved=none,
            total=total,
        ),
    )


def _save(saves, saved, num_saved, limit, direction, within):
    """Fills in the saved states up to ``limit``."""
    total = saves.shape[0]
    at = lambda i: saves[jnp.minimum(i, total - 1)]

    def write(carry):
        i, saved = carry
        return i + 1, jax.tree.map(lambda buffer, leaf: buffer.at[i].set(leaf), saved, within(at(i)))

    due = lambda carry: (carry[0] < total) & ((at(carry[0]) - limit) * direction <= 0)
    num_saved, saved = while_loop(due, write, (num_saved, saved))
    return saved, num_saved
