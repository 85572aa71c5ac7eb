"""Couplings: which noise goes with which example of a minibatch, and how straight the paths become.

A flow is trained on pairs (x0, eps), of which only the two marginals matter: any coupling of data and noise gives a
velocity field ``E[alpha' x0 + sigma' eps | x_t]`` that carries the noise to the data. With the pairs of the optimal
transport of each minibatch the paths cross less and are straighter, so that fewer steps suffice.

Only for independent pairs ``q(x_t | x0) = N(alpha x0, sigma^2)`` holds. With any other coupling the pair
``(E[x0 | x_t], E[eps | x_t])`` is still the velocity, and so are its conversions, but ``-eps / sigma`` is no score: use
deterministic solvers and :mod:`scorekit.likelihood.exact`; no stochastic solver, no variational bound, no guidance by
the gradient of a likelihood.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import PositiveInt, checked
from scorekit.checks import check, check_floating, check_like, check_time
from scorekit.numerics.codes import as_array
from scorekit.numerics.meshes import typed_as, unsplit
from scorekit.trees import batch_size, event_size, sum_per_example
from scorekit.typing import Array, ArrayLike, PyTree

__all__ = ["pair", "squared_distances", "straightness"]


def squared_distances(x0: PyTree, eps: PyTree) -> Array:
    """``|x0_i - eps_j|^2``, the cost of pairing the example i with the noise j, of data of the size of the noise.

    Far from 0 two squares nearly cancel: at 3000 the cost in float32 is off by 1.

    Args:
      x0: data, a tree of ``(n, ...)`` arrays.
      eps: standard normal noise shaped like ``x0``, independent of it.

    Returns:
      ``(n, n)``, at least in float32.

    >>> squared_distances(jnp.array([[0.0], [1.0]]), jnp.array([[2.0], [0.0]])).tolist()
    [[4.0, 0.0], [1.0, 1.0]]

    Source: Pooladian et al. 2023 (https://arxiv.org/abs/2304.14772).
    """
    check_floating(x0=x0, eps=eps)
    check_like("x0", x0, eps=eps)
    n = batch_size(x0)

    def rows(tree):
        flat = [
            leaf.reshape(n, -1).astype(jnp.promote_types(leaf.dtype, jnp.float32)) for leaf in jax.tree.leaves(tree)
        ]
        return jnp.concatenate(flat, axis=1)

    a, b = rows(x0), rows(eps)
    b = unsplit(b)
    inner = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.maximum(jnp.sum(a * a, 1)[:, None] + jnp.sum(b * b, 1) - 2.0 * inner, 0.0)


@checked
def pair(
    x0: PyTree,
    eps: PyTree,
    assign: Callable[[Array], Array],
    labels: ArrayLike | None = None,
    *,
    block_size: PositiveInt | None = None,
) -> PyTree:
    """The noise in the order in which it is paired with the data: ``eps[pi]``, ``pi = assign(|x0_i - eps_j|^2)``.

    Both marginals stay the same, because a permutation only changes the order. With ``labels`` the noise that was drawn
    for a class stays with that class, as a conditional flow needs: every class has standard normal noise.

    Args:
      x0: data, a tree of ``(n, ...)`` arrays.
      eps: standard normal noise shaped like ``x0``, independent of it.
      assign: ``cost (b, b) -> (b,)``, the column of each row, a permutation (if a traced result is none, the noise is
        NaN): under ``jit`` a function of JAX, such as :func:`scorekit.training.optimal_assignment`.
      labels: integers ``(n,)``; None for a flow without classes.
      block_size: number of examples that are paired with each other, in consecutive blocks of which the last may be
        smaller; None for all n. The time of the Hungarian algorithm grows like its cube.

    Returns:
      The noise shaped like ``eps``; the row i goes with ``x0_i``.

    >>> from scorekit.training import optimal_assignment
    >>> pair(jnp.array([[0.0], [1.0]]), jnp.array([[1.1], [-0.1]]), optimal_assignment).tolist()
    [[-0.10000000149011612], [1.100000023841858]]

    Source: Pooladian et al. 2023 (https://arxiv.org/abs/2304.14772); Tong et al. 2023
    (https://arxiv.org/abs/2302.00482).
    """
    check_floating(x0=x0, eps=eps)
    check_like("x0", x0, eps=eps)
    n = batch_size(x0)
    size = n if block_size is None else block_size
    if n == 0:
        raise ValueError("x0 must hold at least one example, got none")
    if labels is not None:
        labels = as_array(labels, "labels")
        if labels.shape != (n,) or not jnp.issubdtype(labels.dtype, jnp.integer):
            raise ValueError(f"labels must be integers of shape ({n},), got {labels.dtype} of shape {labels.shape}")
    order, found, like = functools.partial(_order, assign), [], eps
    x0, eps, labels = unsplit((x0, eps, labels))
    permutations = functools.partial(_checked_permutations, otherwise=n)
    if whole := n // size * size:
        split = lambda leaf: leaf[:whole].reshape(-1, size, *leaf.shape[1:])
        chosen = permutations(jax.vmap(order)(*jax.tree.map(split, (x0, eps, labels))))
        found.append((chosen + size * jnp.arange(n // size)[:, None]).reshape(whole))
    if n > whole:
        found.append(whole + permutations(order(*jax.tree.map(lambda leaf: leaf[whole:], (x0, eps, labels)))))
    chosen = jnp.concatenate(found)
    return typed_as(jax.tree.map(lambda leaf: jnp.take(leaf, chosen, axis=0, mode="fill"), eps), like)


def _order(assign: Callable[[Array], Array], x0: PyTree, eps: PyTree, labels: Array | None) -> Array:
    cost = squared_distances(x0, eps)
    n = len(cost)
    cost = jnp.where(jnp.isfinite(cost), cost, 0.0)  # a cost that is not finite stays visible in the pair
    if labels is not None:
        most = jnp.max(cost)
        across = most + (n + 1) * (most - jnp.min(cost) + 1.0)  # more than all rows can gain by leaving their class
        cost = jnp.where(labels[:, None] == labels, cost, across)
    columns = jnp.asarray(assign(cost))
    if columns.shape != (n,) or not jnp.issubdtype(columns.dtype, jnp.integer):
        got = f"{columns.dtype} of shape {columns.shape}"
        raise ValueError(f"assign must return the column of each of {n} rows, got {got}")
    return columns


def _checked_permutations(columns: Array, otherwise: int) -> Array:
    """Permutations ``(..., b)``: others are an error, or where they are traced a column that does not exist."""
    last = columns.shape[-1] - 1
    is_one = jnp.all(jnp.sort(columns) == jnp.arange(last + 1), axis=-1, keepdims=True)
    check(lambda columns: np.asarray(is_one), f"a permutation of 0 ... {last}", **{"assign(cost)": columns})
    return jnp.where(is_one, columns, otherwise)


def straightness(states: PyTree, ts: ArrayLike) -> Array:
    """``sum_k |(x_{k+1} - x_k) / dt_k - (x_n - x_0) / T|^2 dt_k / D``: 0 for a path that one Euler step follows.

    The limit of many steps is ``int |dx/dt - (x_n - x_0) / T|^2 dt / D``, of whose mean over paths a rectified flow is
    straight where it vanishes. It depends on the clock: use it where ``alpha = 1 - t`` and ``sigma = t``.

    Args:
      states: the states along each path, a tree of ``(n + 1, B, ...)`` arrays, the first one included.
      ts: times of the states, ``(n + 1,)``, decreasing in [0, 1].

    Returns:
      ``(B,)``, per dimension, in squared units of the data.

    >>> bent = jnp.array([[[0.0, 0.0]], [[1.0, 0.0]], [[1.0, 1.0]]])
    >>> straightness(bent, jnp.array([1.0, 0.5, 0.0])), straightness(2.0 * bent[:2], jnp.array([1.0, 0.5]))
    (Array([1.], dtype=float32), Array([0.], dtype=float32))

    Source: Liu et al. 2022 (https://arxiv.org/abs/2209.03003).
    """
    check_floating(states=states)
    check_time(ts=ts)
    ts = jnp.asarray(ts)
    if ts.ndim != 1 or ts.shape[0] < 2 or batch_size(states) != ts.shape[0]:
        raise ValueError(f"ts must hold the time of each of the {batch_size(states)} states, got shape {ts.shape}")
    check(lambda ts: np.diff(ts) < 0, "decreasing", ts=ts)
    widths, total = ts[:-1] - ts[1:], ts[0] - ts[-1]

    def excess(leaf):
        shaped = lambda value: value.reshape(-1, *(1,) * (leaf.ndim - 1))
        slope, chord = (leaf[:-1] - leaf[1:]) / shaped(widths), (leaf[0] - leaf[-1]) / total
        return jnp.sum(jnp.square(slope - chord) * shaped(widths), axis=0)

    one = jax.tree.map(lambda leaf: leaf[0], states)
    return sum_per_example(lambda leaf: leaf, jax.tree.map(excess, states)) / event_size(one)
