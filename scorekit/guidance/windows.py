"""Long signals with a denoiser of short ones: overlapping windows, evaluated as one batch and blended at every step.

A signal ``(B, L, ...)`` is cut into W windows of ``size`` positions with a distance of ``hop``, so that
``L = size + (W - 1) hop``. All windows form one batch, adjacent for one example: ``(B W, size, ...)``. The
predictions are blended with weights that add up to 1 at every position,

    ``x0[n] = sum_i w_i[n] x0_i[n - i hop]``,   ``w_i[n]`` proportional to ``sin^2(pi (n - i hop + 1/2) / size)``,

and eps likewise, so that ``alpha x0 + sigma eps = x_t`` still holds. Windows are consistent where they overlap because
they share the ``x_t`` there; with ``hop = size`` they do not overlap and are independent.
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import PositiveInt, checked
from scorekit.checks import check_floating, check_per_example
from scorekit.numerics.meshes import repeat_rows
from scorekit.numerics.scales import check_prediction
from scorekit.trees import as_pytree, pytree_dataclass, static
from scorekit.typing import Array, Denoiser, PyTree

__all__ = ["blend_windows", "cut_windows", "num_windows", "windowed"]


@checked
def num_windows(length: PositiveInt, size: PositiveInt, hop: PositiveInt) -> int:
    """The number W of windows of a signal of ``length`` positions: ``length = size + (W - 1) hop``, ``hop <= size``.

    Args:
      length: positions L of the signal.
      size: positions in a window, at most ``length``.
      hop: positions from one window to the next, at most ``size``.

    >>> num_windows(10, 4, 2), num_windows(4, 4, 2)
    (4, 1)
    """
    if hop > size:
        raise ValueError(f"hop must be from 1 to size = {size}, got {hop}")
    if length < size or (length - size) % hop:
        raise ValueError(f"length must be size + a multiple of hop = {size} + n {hop}, got {length}")
    return 1 + (length - size) // hop


@checked
def cut_windows(x: PyTree, size: PositiveInt, hop: PositiveInt) -> PyTree:
    """Cuts leaves ``(B, L, ...)`` into windows ``(B W, size, ...)``, adjacent for one example.

    Args:
      x: signals, or maps aligned with them.
      size: positions in a window.
      hop: positions from one window to the next.

    >>> cut_windows(jnp.arange(6)[None], 4, 2).tolist()
    [[0, 1, 2, 3], [2, 3, 4, 5]]
    """

    def cut(leaf: Array) -> Array:
        if jnp.ndim(leaf) < 2 or jnp.size(leaf) == 0:
            raise ValueError(f"x must be (B, L, ...) and hold values, got {jnp.shape(leaf)}")
        count = num_windows(leaf.shape[1], size, hop)
        parts = jnp.stack([leaf[:, i * hop : i * hop + size] for i in range(count)], axis=1)
        return parts.reshape(-1, *parts.shape[2:])

    return jax.tree.map(cut, x)


@checked
def blend_windows(parts: PyTree, count: PositiveInt, hop: PositiveInt) -> PyTree:
    """The inverse of :func:`cut_windows`: the weighted mean over the windows that contain a position.

    Args:
      parts: leaves ``(B count, size, ...)``.
      count: windows of an example.
      hop: positions from one window to the next.

    Returns:
      Leaves ``(B, size + (count - 1) hop, ...)``.

    >>> parts = jnp.array([[0.0, 0.0], [1.0, 1.0]])
    >>> blend_windows(parts, 2, 1).tolist(), blend_windows(parts, 2, 2).tolist()
    ([[0.0, 0.5, 1.0]], [[0.0, 0.0, 1.0, 1.0]])
    """
    check_floating(parts=parts)

    def blend(leaf: Array) -> Array:
        leaf = jnp.asarray(leaf)
        if leaf.ndim < 2 or leaf.shape[0] % count:
            raise ValueError(f"parts must be (B {count}, size, ...), got {leaf.shape}")
        size = leaf.shape[1]
        num_windows(size, size, hop)
        weights = _weights(size, hop, count)
        parts = leaf.reshape(-1, count, *leaf.shape[1:])
        total = jnp.zeros_like(jnp.pad(parts[:, 0], [(0, 0), (0, (count - 1) * hop), *[(0, 0)] * (leaf.ndim - 2)]))
        for i in range(count):
            weight = jnp.asarray(weights[i], leaf.dtype).reshape(-1, *[1] * (leaf.ndim - 2))
            total = total.at[:, i * hop : i * hop + size].add(weight * parts[:, i])
        return total

    return jax.tree.map(blend, parts)


def _weights(size: int, hop: int, count: int) -> np.ndarray:
    """``(count, size)``, on the host in float64; they add up to 1 over the windows of a position."""
    shape = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    total = np.zeros(size + (count - 1) * hop)
    for i in range(count):
        total[i * hop : i * hop + size] += shape
    return np.stack([shape / total[i * hop : i * hop + size] for i in range(count)])


@pytree_dataclass
class _Windowed:
    denoiser: Denoiser
    size: int = static()
    hop: int = static()

    def __call__(self, x_t, t):
        check_floating(x_t=x_t)
        check_per_example(x_t, t=t)
        count = num_windows(jax.tree.leaves(x_t)[0].shape[1], self.size, self.hop)
        t = repeat_rows(t, count) if jnp.ndim(t) else t
        parts = cut_windows(x_t, self.size, self.hop)
        prediction = self.denoiser(parts, t)
        check_prediction(parts, prediction)
        return blend_windows(prediction, count, self.hop)


@checked
def windowed(denoiser: Denoiser, size: int, hop: int) -> Denoiser:
    """A denoiser of signals that are longer than those the model was trained on.

    ``x0[n] = sum_i w_i[n] x0_i[n - i hop]`` over the windows i that contain position n, with weights of sum 1. The
    windows must cover the signal exactly.

    Args:
      denoiser: a denoiser of windows; conditions bound to it belong to all windows in the order of
        :func:`cut_windows` (``jnp.repeat(labels, W)``, and maps cut like the signal).
      size: positions in a window, as the denoiser was trained on.
      hop: positions from one window to the next, up to ``size``; half of it is usual.

    >>> from scorekit.typing import Prediction
    >>> mean = lambda x, t: Prediction(jnp.broadcast_to(x.mean(1, keepdims=True), x.shape), x)
    >>> windowed(mean, 2, 1)(jnp.array([[0.0, 2.0, 4.0]]), 0.5).x0
    Array([[1., 2., 3.]], dtype=float32)

    Source: Bar-Tal et al. 2023, "MultiDiffusion" (https://arxiv.org/abs/2302.08113).
    """
    num_windows(size, size, hop)
    return _Windowed(denoiser=as_pytree(denoiser), size=size, hop=hop)
