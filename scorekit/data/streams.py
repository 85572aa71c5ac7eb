"""Batches as a pure function of ``(seed, step)`` in memory, and of ``(seed, position)`` for data that do not fit in it.

A run can resume from its step number alone. In a stream the examples form an infinite sequence of epochs, each in an
order of its own: example ``i`` is row ``shuffle(i mod N)`` of the source, where ``shuffle`` is the index shuffle of
grain seeded by ``(seed, i // N)``. It permutes ``0..N-1`` without a table, so that any position of the sequence is
found at once, and one integer is enough to continue a run.

>>> local_rows(8, process_index=1, process_count=4)
slice(2, 4, None)
>>> data = {"x": np.arange(5)}
>>> first, second = (batch_at(data, seed=0, step=s, batch_size=5)["x"] for s in (0, 1))
>>> sorted(first.tolist()), sorted(second.tolist())
([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
>>> squares = [{"x": np.float32(i) ** 2} for i in range(6)]
>>> isinstance(squares, Source)
True
>>> batches = stream(squares, seed=0, batch_size=3)
>>> sorted(float(x) for _ in range(2) for x in next(batches)["x"]), batches.position, batches.skipped
([0.0, 1.0, 4.0, 9.0, 16.0, 25.0], 6, {})
>>> later = next(stream(squares, seed=0, batch_size=3, start=6))["x"]
>>> bool((next(batches)["x"] == later).all()), isinstance(batches, Stream)
(True, True)
>>> batches.close()
>>> batches.report().startswith("0 examples could not be read")
True
"""

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np

from scorekit.arguments import Count, NonNegativeInt, PositiveInt, checked
from scorekit.checks import check, warn_caller


@checked
def local_rows(batch_size: PositiveInt, process_index: NonNegativeInt = 0, process_count: PositiveInt = 1) -> slice:
    """The rows of a global batch that one process reads: ``[p B / P, (p + 1) B / P)``.

    Args:
      batch_size: examples over all processes, a multiple of ``process_count``.
      process_index, process_count: which process this is, and of how many.
    """
    check(lambda p: p < process_count, f"below process_count = {process_count}", process_index=process_index)
    check(lambda b: b % process_count == 0, f"a multiple of process_count = {process_count}", batch_size=batch_size)
    size = int(batch_size) // int(process_count)
    return slice(int(process_index) * size, (int(process_index) + 1) * size)


@checked
def batch_at(
    arrays: Mapping[str, np.ndarray], *, seed: NonNegativeInt, step: NonNegativeInt, batch_size: PositiveInt
) -> dict[str, np.ndarray]:
    """The batch of one step: the rows of each array, ``(batch_size, ...)``.

    The examples form an infinite sequence of epochs, each shuffled by ``(seed, epoch)``; batch ``step`` holds elements
    ``step * batch_size`` to ``(step + 1) * batch_size - 1`` of that sequence. No example is dropped at the end of an
    epoch, and a batch may be larger than the set.

    Args:
      arrays: arrays that share their leading axis ``N``, which is not empty.
      seed: seed of the order of every epoch.
      step: number of the step, 0 for the first.
      batch_size: examples over all processes, a multiple of ``process_count``.
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


_MOST_TRIES = 1000
_BROKEN = (ValueError, OSError, RuntimeError, EOFError)
"""The errors of a source for an example that cannot be read; any other error is a mistake in a program."""


@runtime_checkable
class Source(Protocol):
    """Examples by their index, from :func:`folder`, :func:`tar`, :func:`open_images`, TFDS, array_record, grain.

    An example is a mapping from names to numbers, arrays or text. A method ``__getitems__`` that reads several indices
    at once is used where there is one, and first of all a method ``draw(index, rng)``, which returns one at random,
    such as a random crop: ``rng`` is a NumPy generator of its own for every position of the sequence.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


@checked
def stream(
    source: Source,
    *,
    seed: NonNegativeInt,
    batch_size: PositiveInt,
    start: Annotated[int, Count(0, 2**62 - 1)] = 0,
    process_index: NonNegativeInt = 0,
    process_count: PositiveInt = 1,
    transform: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
    workers: NonNegativeInt = 4,
    on_error: Literal["raise", "skip"] = "raise",
) -> "Stream":
    """Batches of a source of any size, decoded ahead of use.

    With B = ``batch_size``, batch n holds examples ``start + n B`` to ``start + (n + 1) B - 1`` of an infinite sequence
    of shuffled epochs, and process p of P reads its rows ``[p B / P, (p + 1) B / P)``. The sequence depends on the seed
    and the source only: not on ``start``, the number of processes or of workers. A batch is a dict of numpy arrays ``(B
    / P, ...)``; text is an array of objects.

    Args:
      source: N examples with random access, N from 1 to 2³² - 1.
      seed: seed of the order of every epoch.
      batch_size: examples over all processes, a multiple of ``process_count``.
      start: global examples that were consumed before; :attr:`Stream.position` of the run that is continued.
      process_index, process_count: which process this is, and of how many.
      transform: pure function from an example to an example, called in the threads that read.
      workers: threads that read, each a whole local batch; at most ``workers + 1`` batches are held. With 0 a batch is
        read when it is needed.
      on_error: consequence of an example that raises a ``ValueError``, ``OSError``, ``RuntimeError`` or ``EOFError``,
        or has other fields or shapes than the first of the source. ``"raise"`` ends the stream with an error that names
        it. ``"skip"`` puts the next good row of the source in its place, so that batches keep their size and remain a
        function of the seed and position.

    Raises:
      ValueError: while iterating, for a broken example, or with ``"skip"`` for 1000 in a row.
    """
    rows = local_rows(batch_size, process_index, process_count)
    if not isinstance(source, Source):
        raise ValueError(f"source must have __len__ and __getitem__, got {source!r}")
    if transform is not None and not callable(transform):
        raise ValueError(f"transform must be a function of an example or None, got {transform!r}")
    check(lambda n: (n > 0) & (n < 2**32), "a source of 1 to 2³² - 1 examples", source=len(source))
    reader = _Reader(source, transform, on_error == "skip", int(seed))
    return Stream(reader, int(seed), int(batch_size), int(start), range(int(batch_size))[rows], int(workers))


class Stream(Iterator[dict[str, np.ndarray]]):
    """An iterator of batches; see :func:`stream`. Close it, or use it in a ``with`` statement, to end its threads.

    Its attribute ``position`` is the number of global examples consumed: the ``start`` of a stream that continues this
    one. ``skipped`` holds the errors of the broken examples in the batches so far, by their rows in the source.

    Args:
      reader: reader of rows of the source.
      seed: seed of the order of every epoch.
      batch_size: examples over all processes, a multiple of ``process_count``.
      start: global examples that were consumed before.
      rows: rows of a batch that are read here.
      workers: threads that read.
    """

    def __init__(self, reader: "_Reader", seed: int, batch_size: int, start: int, rows: range, workers: int):
        self._reader, self._seed, self._batch_size, self._workers = reader, seed, batch_size, workers
        self._rows = rows
        self._batches: Any = None
        self._closed = False
        self.position = start
        self.skipped: dict[int, str] = {}

    def __next__(self) -> dict[str, np.ndarray]:
        if self._batches is None:
            self._batches = self._open()
        found = next(self._batches)
        if isinstance(found, Exception):
            self._end()  # what was read ahead follows the broken batch; the next call tries it again
            raise found
        batch, broken = found
        self.position += self._batch_size
        self.skipped |= broken
        return batch

    def _open(self):
        import grain

        read, seed, first = self._reader.batch, self._seed, self.position
        batch_size, offsets, n = self._batch_size, self._rows, len(self._reader.source)

        def load(step: int):
            try:
                positions = [first + step * batch_size + offset for offset in offsets]
                return read([_row_at(seed, position, n) for position in positions], positions)
            except Exception as error:  # as a value: grain would add a note on its own traceback
                return error

        steps = (sys.maxsize - first) // batch_size
        ahead = grain.ReadOptions(num_threads=self._workers, prefetch_buffer_size=self._workers)
        return iter(grain.MapDataset.range(steps).map(load).to_iter_dataset(ahead))

    def _end(self) -> None:
        batches, self._batches = self._batches, None
        if batches is not None:
            batches.close()

    def close(self) -> None:
        """Ends the threads, and warns of the examples that were skipped."""
        self._end()
        already, self._closed = self._closed, True
        if self.skipped and not already:
            warn_caller(self.report())

    def report(self) -> str:
        """One sentence on the examples that were skipped: their number, and the first three errors."""
        first = "; ".join(list(self.skipped.values())[:3])
        more = "; …" if len(self.skipped) > 3 else ""
        return f"{len(self.skipped)} examples could not be read and were replaced by the next ones: {first}{more}"

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _row_at(seed: int, position: int, n: int) -> int:
    """The row of a source of ``n`` examples at one position of the infinite sequence."""
    from grain.experimental import index_shuffle

    epoch, index = divmod(position, n)
    return index_shuffle(index, max_index=n - 1, seed=_epoch_seed(seed, epoch), rounds=4)


@functools.lru_cache(maxsize=16)
def _epoch_seed(seed: int, epoch: int) -> int:
    """A 32-bit seed; ``seed + epoch`` would give epoch 1 of one run the order of epoch 0 of the next."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])


class _Reader:
    """Reads rows of a source as batches; called by several threads at once."""

    def __init__(self, source: Source, transform: Callable | None, skip: bool, seed: int):
        self.source, self._transform, self._skip, self._seed = source, transform, skip, seed
        self._draw = getattr(source, "draw", None)
        self._layout: dict[str, Any] | None = None
        self._layout = _layout(self._one(0, 0, {}))

    def batch(self, rows: Sequence[int], positions: Sequence[int]) -> tuple[dict[str, np.ndarray], dict[int, str]]:
        """The examples of these rows at these positions, and the errors of those that were replaced, by row."""
        broken: dict[int, str] = {}
        try:
            examples = [self._finished(row, x) for row, x in zip(rows, self._several(rows, positions), strict=True)]
        except _BROKEN:  # which of them is found out one by one
            examples = [self._one(row, position, broken) for row, position in zip(rows, positions, strict=True)]
        return {name: _column([example[name] for example in examples]) for name in examples[0]}, broken

    def _several(self, rows: Sequence[int], positions: Sequence[int]) -> Sequence[Mapping[str, Any]]:
        several = getattr(self.source, "__getitems__", None)
        if several is None or self._draw is not None:
            return [self._read(row, position) for row, position in zip(rows, positions, strict=True)]
        return several(list(rows))

    def _read(self, row: int, position: int) -> Mapping[str, Any]:
        if self._draw is None:
            return self.source[row]
        return self._draw(row, np.random.default_rng((self._seed, position)))

    def _one(self, row: int, position: int, broken: dict[int, str]) -> Mapping[str, Any]:
        n = len(self.source)
        for i in range(min(n, _MOST_TRIES)):
            at = (row + i) % n
            try:
                return self._finished(at, self._read(at, position))
            except _BROKEN as error:
                if not self._skip:
                    raise ValueError(f"source[{at}]: {error}") from error
                broken[at] = str(error)
        first = next(iter(broken.values()))
        raise ValueError(f"source must have examples that can be read; {i + 1} from {row} on have none, first: {first}")

    def _finished(self, row: int, example: Mapping[str, Any]) -> Mapping[str, Any]:
        example = example if self._transform is None else self._transform(example)
        if self._layout is not None and (found := _layout(example)) != self._layout:
            raise ValueError(f"example {row} has {found}, the first one {self._layout}")
        return example


def _layout(example: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an example, with the shape and dtype of each."""
    kind = lambda value: "text" if isinstance(value, str | bytes) else f"{np.asarray(value).dtype}{np.shape(value)}"
    return {name: kind(value) for name, value in example.items()}


def _column(values: list[Any]) -> np.ndarray:
    if isinstance(values[0], str | bytes):
        column = np.empty(len(values), object)
        column[:] = values
        return column
    return np.stack([np.asarray(value) for value in values])
