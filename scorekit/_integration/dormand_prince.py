"""Dormand and Prince's embedded Runge-Kutta pair 5(4) with adaptive steps.

One ``lax.while_loop`` solves ``dy/dclock = slope(clock, y)`` for any tree ``y``. A step makes six evaluations (the last
slope of a step is the first of the next) and its error, the difference to the embedded fourth-order result, is the
root mean square over the whole state of ``error / (atol + rtol max(|y|, |y'|))``: accepted when at most 1. The
next step follows Hairer's PI rule ``h' = 0.9 h error^-0.17 previous_error^0.04``, within [0.2, 10] h.

Reverse mode differentiates the accepted steps, with their fractions of the interval held fixed: the steps are stored
(one state each, in buffers of ``max_steps``) and differentiated in reverse order. The gradient is exact for the
computed result, and nothing is solved again. It covers the state, both ends, the times to save at and everything in
``slope``.

Source: Dormand & Prince 1980; Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I (1993), chapter II.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit._integration.closures import closure_convert
from scorekit._integration.embedded_pair import (
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
from scorekit._meshes import cond, most_of_devices, stable, vary_alike, while_loop
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
    tape: Any  # the accepted (clock, h, y), or None


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

    All leaves share their steps; ``vmap`` over single examples gives each its own. Forward mode (``jvp``) and second
    derivatives are not defined.

    Args:
      slope: ``(clock, y) -> dy/dclock``; traced once, and may close over anything, traced or not.
      y: the state at ``start``, a tree of float32 or float64 arrays.
      start: initial value of the clock, a scalar.
      end: final value of the clock, below or above ``start``.
      rtol: error allowed in a step, as a part of the state.
      atol: error allowed in a step where the state is small.
      max_steps: steps to try before giving up, rejected ones included; reverse mode keeps as many states.
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
    tolerances = scalar(rtol), scalar(atol)
    y = stable(functools.partial(slope, start), y)
    hoisted = closure_convert(slope, start, y)
    given = y, start, end, saves, tolerances
    y, start, end, saves, tolerances = varying = vary_alike(given, hoisted[1])
    if varying is not given:  # in shard_map
        hoisted = closure_convert(slope, start, y)
    _check_like(y, jax.eval_shape(*hoisted, start, y))
    pure, held = zip(hoisted, (None, None) if integrand is None else closure_convert(integrand, start, y), strict=True)
    run = functools.partial(_run, pure, max_steps)

    @jax.custom_vjp
    def solve(y, start, end, saves, tolerances, held):
        return _outputs(run(False, y, start, end, saves, tolerances, held), end)

    def forward(y, start, end, saves, tolerances, held):
        last = run(True, y, start, end, saves, tolerances, held)
        return _outputs(last, end), (last.tape, last.accepted, last.num_saved, start, end, saves, held)

    solve.defvjp(forward, functools.partial(_backward, pure))
    out = solve(y, start, end, saves, tolerances, held)
    valid = jnp.where(out.success, 1.0, jnp.nan).astype(dtype)  # a factor, so that gradients become NaN as well
    mark = functools.partial(jax.tree.map, lambda leaf: leaf * valid.astype(leaf.dtype))
    return out._replace(y=mark(out.y), saved=mark(out.saved), quadrature=mark(out.quadrature))


def _check_like(y: PyTree, found: PyTree) -> None:
    describe = lambda tree: jax.tree.map(lambda x: f"{jnp.result_type(x)}{list(jnp.shape(x))}", tree)
    if describe(y) != describe(found):
        raise ValueError(f"slope must return a tree like y, {describe(y)}, got {describe(found)}")


def _run(pure, max_steps, record, y, start, end, saves, tolerances, held) -> _Loop:
    rtol, atol = tolerances
    direction, precision = jnp.sign(end - start), jnp.finfo(start.dtype).eps
    dtype = start.dtype
    slope, integrand = _bind(pure, held)

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
        tape = loop.tape
        if record:  # a rejected step is written over by the next one
            write = lambda buffer, value: buffer.at[loop.accepted].set(value)
            tape = jax.tree.map(write, tape, (loop.clock, h, loop.y))
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
            tape=tape,
        )

    first, h, finite = first_step(slope, y, start, end, rtol, atol)
    none = jnp.zeros((), jnp.int32)
    buffer = lambda leaf: jnp.zeros_like(jnp.broadcast_to(leaf, (max_steps, *leaf.shape)))
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
            tape=jax.tree.map(buffer, (start, h, y)) if record else None,
        ),
    )


def _bind(pure, held) -> tuple[Slope, Slope | None]:
    """The slope and the integrand with their closed-over values."""
    integrand = None if pure[1] is None else functools.partial(pure[1], held[1])
    return functools.partial(pure[0], held[0]), integrand


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


def _outputs(last: _Loop, end: Array) -> Integral:
    nfe = 2 + 6 * (last.accepted + last.rejected) + (0 if last.total is None else 3 * last.accepted)
    return Integral(last.y, last.saved, last.total, nfe, last.accepted, last.rejected, last.clock == end)


def _backward(pure, residuals, cotangents):
    """The accepted steps in reverse. A fraction ``w`` of the interval is at ``(1 - w) start + w end``."""
    (clocks, hs, ys), accepted, num_saved, start, end, saves, held = residuals
    direction, width = jnp.sign(end - start), jnp.where(end == start, 1.0, end - start)
    stages = 6 if saves is None and pure[1] is None else 7  # the last slope matters to the interpolant alone
    held, treedef = jax.tree.flatten(held)
    differentiable = [jnp.issubdtype(x.dtype, jnp.inexact) for x in held]
    floats = [x for x, d in zip(held, differentiable, strict=True) if d]

    def merge(floats):
        queue = iter(floats)
        return jax.tree.unflatten(treedef, [next(queue) if d else x for x, d in zip(held, differentiable, strict=True)])

    def step(clock, h, y, floats):
        slope, integrand = _bind(pure, merge(floats))
        slopes = slopes_of(slope, clock, y, h, slope(clock, y), stages)
        part = None if integrand is None else gauss(integrand, clock, h, y, slopes)
        return along(y, h * jnp.asarray(WEIGHTS[:stages], h.dtype), slopes), slopes, part

    add = functools.partial(jax.tree.map, jnp.add)
    zeros = functools.partial(jax.tree.map, jnp.zeros_like)

    def body(carry):
        i, to_save, ct_y, ct_floats, ct_start, ct_end, ct_saves = carry
        live, last = i < accepted, jnp.minimum(i, accepted - 1)
        clock, h, y = jax.tree.map(lambda buffer: buffer[last], (clocks, hs, ys))
        where_live = functools.partial(jax.tree.map, lambda x, other: jnp.where(live, x, other))
        (_, slopes, _), pull = jax.vjp(step, clock, h, y, floats)
        direct = zeros((clock, h, y, slopes))
        if saves is not None:

            def within_step(carry):
                left, _, _ = carry
                later = (saves[jnp.maximum(left - 1, 0)] - clock) * direction > 0
                return live & (left > 0) & (later | (i == 0))

            def collect(carry):
                left, direct, ct_saves = carry
                j = left - 1
                _, pull_one = jax.vjp(interpolate, clock, h, y, slopes, saves[j])
                *parts, ct_at = pull_one(jax.tree.map(lambda ct: ct[j], cotangents.saved))
                return j, add(direct, tuple(parts)), ct_saves.at[j].set(ct_at)

            to_save, direct, ct_saves = while_loop(within_step, collect, (to_save, direct, ct_saves))
        given = ct_y, direct[3], cotangents.quadrature
        ct_clock, ct_h, ct_step, ct_held = pull(where_live(given, zeros(given)))
        ct_clock, ct_h, ct_step = add((ct_clock, ct_h, ct_step), direct[:3])
        w = (clock - start) / width
        ct_start += (1.0 - w) * ct_clock - ct_h * h / width
        ct_end += w * ct_clock + ct_h * h / width
        return i - 1, to_save, where_live(ct_step, ct_y), add(ct_floats, ct_held), ct_start, ct_end, ct_saves

    zero = jnp.zeros_like(start)
    # All devices of shard_map make as many rounds: a sum over devices may be part of one.
    carry = (most_of_devices(accepted) - 1, num_saved, cotangents.y, zeros(floats), zero, zero, zeros(saves))
    _, _, ct_y, ct_floats, ct_start, ct_end, ct_saves = while_loop(lambda c: c[0] >= 0, body, carry)
    queue = iter(ct_floats)
    none = lambda x: np.zeros(x.shape, jax.dtypes.float0)  # the tangent of an integer
    ct_held = [next(queue) if d else none(x) for x, d in zip(held, differentiable, strict=True)]
    return ct_y, ct_start, ct_end, ct_saves, None, jax.tree.unflatten(treedef, ct_held)
