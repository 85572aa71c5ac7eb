"""Batches as a pure function of ``(seed, step)``, so that a run can resume from its step number alone."""

import functools
from collections.abc import Mapping

import numpy as np

from scorekit.checks import check_count


def batch_at(arrays: Mapping[str, np.ndarray], *, seed: int, step: int, batch_size: int) -> dict[str, np.ndarray]:
    """The batch of one step.

    The examples form an infinite sequence of epochs, each shuffled by ``(seed, epoch)``; batch ``step`` holds elements
    ``step * batch_size`` to ``(step + 1) * batch_size - 1`` of that sequence. No example is dropped at the end of an
    epoch, and a batch may be larger than the set.

    Args:
      arrays: arrays that share their leading axis ``N``.
      seed: non-negative; determines the order of every epoch.
      step: non-negative; the first step is 0.
      batch_size: positive, over all devices and hosts.

    Returns:
      The rows of each array, ``(batch_size, ...)``.

    Raises:
      ValueError: if an argument is out of range, or the arrays are empty or of unequal length.

    >>> data = {"x": np.arange(5)}
    >>> first, second = (batch_at(data, seed=0, step=s, batch_size=5)["x"] for s in (0, 1))
    >>> sorted(first.tolist()), sorted(second.tolist())
    ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    """
    check_count(0, seed=seed, step=step)
    check_count(batch_size=batch_size)
    seed, step, batch_size = int(seed), int(step), int(batch_size)
    if any(np.ndim(array) < 1 for array in arrays.values()):
        raise ValueError(f"arrays must have a leading axis, got shapes {[np.shape(a) for a in arrays.values()]}")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"arrays must be non-empty and of equal length, got lengths {lengths}")
    n = next(iter(lengths.values()))
    epochs, positions = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), n)
    rows = np.concatenate([_order(seed, int(e), n)[positions[epochs == e]] for e in np.unique(epochs)])
    return {name: array[rows] for name, array in arrays.items()}


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, n: int) -> np.ndarray:
    """The permutation of one epoch. It may change between releases of NumPy."""
    return np.random.default_rng((seed, epoch)).permutation(n)
