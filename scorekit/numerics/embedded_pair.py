"""One step of Dormand and Prince's pair 5(4): its table, slopes, interpolant, error norm and first size.

Source: Dormand & Prince 1980; the interpolant is Shampine's 1986, as in scipy's ``RK45``.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.numerics.meshes import scan, typed_as
from scorekit.trees import expand
from scorekit.typing import Array, PyTree

Slope = Callable[[Array, PyTree], PyTree]
"""``(clock, y) -> dy/dclock``, shaped and typed like ``y``."""

NODES = np.array([0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1])
STAGES = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0],
        [1 / 5, 0, 0, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0, 0],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0],
    ]
)
WEIGHTS = STAGES[6]
ERROR = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
DENSE = np.array(  # the weights within a step as polynomials of its fraction: columns are powers 1 to 4
    [
        [1, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432],
        [0, 0, 0, 0],
        [0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799],
        [0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072],
        [0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632],
        [0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844],
        [0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423],
    ]
)


def along(y: PyTree, weights: Array, slopes: PyTree) -> PyTree:
    """``y + sum_i weights_i slopes_i``; sums and no matrix products, which accelerators round.

    Args:
      y: the state, a tree of arrays.
      weights: ``(n,)``.
      slopes: a tree like y, leaves ``(n, ...)``.

    >>> along(jnp.ones(1), jnp.array([1.0, 2.0]), jnp.ones((2, 1)))
    Array([4.], dtype=float32)
    """
    return jax.tree.map(lambda y, k: y + jnp.sum(expand(weights, k) * k, axis=0), y, slopes)


def slopes_of(slope: Slope, clock: Array, y: PyTree, h: Array, first: PyTree) -> PyTree:
    """The seven slopes of a step, leaves ``(7, ...)``; one copy of the network in the graph.

    Args:
      slope: ``(clock, y) -> dy/dclock``.
      clock: value at the start of the step, a scalar.
      y: the state there.
      h: step of the clock, signed, a scalar.
      first: the slope there, a tree like y.

    >>> slopes_of(lambda clock, y: clock, jnp.array(0.0), jnp.array(0.0), jnp.array(1.0), jnp.array(0.0))[:3]
    Array([0. , 0.2, 0.3], dtype=float32)
    """
    rows, nodes = jnp.asarray(STAGES, h.dtype), jnp.asarray(NODES, h.dtype)

    def stage(i, slopes):
        new = slope(clock + nodes[i] * h, along(y, h * rows[i], slopes))
        return jax.tree.map(lambda ks, k: ks.at[i].set(k), slopes, new)

    empty = lambda k: typed_as(jnp.zeros((7, *k.shape), k.dtype), k[None])
    slopes = jax.tree.map(lambda k: empty(k).at[0].set(k), first)
    return jax.lax.fori_loop(1, 7, stage, slopes)


def interpolate(clock: Array, h: Array, y: PyTree, slopes: PyTree, at: Array) -> PyTree:
    """The continuous extension of a step, of fourth order.

    Args:
      clock: value at the start of the step, a scalar.
      h: step of the clock, signed, a scalar.
      y: the state at the start.
      slopes: slopes of the step, leaves ``(7, ...)``.
      at: value of the clock within the step, a scalar.

    >>> interpolate(0.0, jnp.array(1.0), jnp.array(2.0), jnp.ones(7), 0.5)
    Array(2.5, dtype=float32)
    """
    powers = ((at - clock) / h) ** jnp.arange(1, 5)
    return along(y, h * jnp.sum(jnp.asarray(DENSE, h.dtype) * powers, axis=1), slopes)


def norm(tree: PyTree, scale: PyTree) -> Array:
    """The root mean square of ``tree / scale`` over all leaves.

    Args:
      tree: a tree of arrays.
      scale: positive numbers, a tree like it.

    >>> norm(jnp.array([3.0, 1.0]), jnp.array([3.0, 1.0]))
    Array(1., dtype=float32)
    """
    ratios = [jnp.square(x / s) for x, s in zip(jax.tree.leaves(tree), jax.tree.leaves(scale), strict=True)]
    return jnp.sqrt(sum(map(jnp.sum, ratios)) / sum(x.size for x in ratios))


def gauss(function: Slope, clock: Array, h: Array, y: PyTree, slopes: PyTree) -> PyTree:
    """``int function(clock, y(clock)) dclock`` over a step, by Gauss and Legendre's three points.

    Args:
      function: ``(clock, y) -> tree``, the integrand.
      clock: value at the start of the step, a scalar.
      h: step of the clock, signed, a scalar.
      y: the state at the start.
      slopes: slopes of the step, leaves ``(7, ...)``.

    >>> integral = gauss(lambda clock, y: clock**5, jnp.array(0.0), jnp.array(1.0), jnp.array(0.0), jnp.zeros(7))
    >>> abs(float(integral) - 1 / 6) < 1e-6
    True
    """
    points = jnp.asarray([0.5 - math.sqrt(0.15), 0.5, 0.5 + math.sqrt(0.15)], h.dtype)
    weights = jnp.asarray([5 / 18, 8 / 18, 5 / 18], h.dtype)
    point = lambda share: (clock + share * h, interpolate(clock, h, y, slopes, clock + share * h))

    def add(total, inputs):
        share, weight = inputs
        value = function(*point(share))
        return jax.tree.map(lambda total, leaf: total + weight * h * leaf, total, value), None

    shape = jax.eval_shape(function, *jax.eval_shape(point, points[0]))
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    return scan(add, zero, (points, weights))[0]


def first_step(
    slope: Slope, y: PyTree, start: Array, end: Array, rtol: Array, atol: Array
) -> tuple[PyTree, Array, Array]:
    """``(slope, h, finite)`` at the start: a first step by two evaluations, and whether the slope is finite.

    Args:
      slope: ``(clock, y) -> dy/dclock``.
      y: the state at the start.
      start: first value of the clock, a scalar.
      end: last value of the clock.
      rtol: error allowed in a step, as a part of the state.
      atol: error allowed in a step where the state is small.

    >>> slope, h, finite = first_step(lambda clock, y: -y, jnp.ones(1), *jnp.array([0.0, 1.0, 1e-4, 1e-4]))
    >>> bool(0.01 < h < 0.5), bool(finite)
    (True, True)

    Source: Hairer, Norsett & Wanner 1993, sec. II.4.
    """
    scale = jax.tree.map(lambda y: atol + rtol * jnp.abs(y), y)
    width = jnp.abs(end - start)

    def guess(k):
        size, speed = norm(y, scale), norm(k, scale)
        sound = (size > 1e-5) & (speed > 1e-5)
        return jnp.minimum(jnp.where(sound, 0.01 * size / speed, 1e-4 * width), width)

    def probe(point, _):
        k = slope(*point)
        h = jnp.sign(end - start) * guess(k)
        return (start + h, jax.tree.map(lambda y, k: y + h * k, y, k)), k

    _, slopes = scan(probe, (start, y), length=2)
    first, second = jax.tree.map(lambda k: k[0], slopes), jax.tree.map(lambda k: k[1], slopes)
    h, speed = guess(first), norm(first, scale)
    change = norm(jax.tree.map(jnp.subtract, second, first), scale) / jnp.where(h > 0, h, 1.0)
    steepest = jnp.maximum(speed, change)
    by_order = jnp.where(steepest > 1e-15, (0.01 / jnp.maximum(steepest, 1e-15)) ** 0.2, width)
    h = jnp.minimum(jnp.minimum(100.0 * h, by_order), width)
    return first, jnp.sign(end - start) * jnp.where(jnp.isfinite(h), h, 1e-4 * width), jnp.isfinite(speed)
