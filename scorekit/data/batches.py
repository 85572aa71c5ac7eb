"""Batches as a pure function of ``(seed, step)``, so that a run can resume from its step number alone."""

import functools
from collections.abc import Mapping

import numpy as np

from scorekit.arguments import NonNegativeInt, PositiveInt, checked
from scorekit.checks import check

__all__ = ["batch_at", "local_rows"]


@checked
def local_rows(batch_size: PositiveInt, process_index: NonNegativeInt = 0, process_count: PositiveInt = 1) -> slice:
    """The rows of a global batch that one process reads: ``[p B / P, (p + 1) B / P)``.

    Args:
      batch_size: examples B over all processes, a multiple of P.
      process_index: index p of the process, below P.
      process_count: number of processes P.

    Returns:
      The slice of the rows.

    >>> local_rows(8, process_index=1, process_count=4)
    slice(2, 4, None)
    """
    check(lambda p: p < process_count, f"below process_count = {process_count}", process_index=process_index)
    check(lambda b: b % process_count == 0, f"a multiple of process_count = {process_count}", batch_size=batch_size)
    size = int(batch_size) // int(process_count)
    return slice(int(process_index) * size, (int(process_index) + 1) * size)


@checked
def batch_at(
    arrays: Mapping[str, np.ndarray], *, seed: NonNegativeInt, step: NonNegativeInt, batch_size: PositiveInt
) -> dict[str, np.ndarray]:
    """The batch of one step.

    The examples form an infinite sequence of epochs, each shuffled by ``(seed, epoch)``; batch ``step`` holds elements
    ``step * batch_size`` to ``(step + 1) * batch_size - 1`` of that sequence. No example is dropped at the end of an
    epoch, and a batch may be larger than the set.

    Args:
      arrays: arrays that share their leading axis ``N``, which is not empty.
      seed: seed of the order of every epoch.
      step: number of the step, 0 for the first.
      batch_size: examples over all devices and hosts.

    Returns:
      The rows of each array, ``(batch_size, ...)``.

    >>> data = {"x": np.arange(5)}
    >>> first, second = (batch_at(data, seed=0, step=s, batch_size=5)["x"] for s in (0, 1))
    >>> sorted(first.tolist()), sorted(second.tolist())
    ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    """
    check(lambda n: n < 2**62 // batch_size, f"below 2⁶² / batch_size = {2**62 // batch_size}", step=step)
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
