"""The batches of a training on their way to the devices, prepared while the step before runs, and its clock."""

import contextlib
import time
from collections.abc import Generator, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from experiments.data.dataset import Batch, Dataset
from experiments.data.finite import check_examples
from scorekit import data, training


def feed(dataset: Dataset, mesh: Mesh, *, seed: int, batch_size: int, steps: int, first: int = 0) -> data.Prefetch:
    """The placed batches of the steps from ``first`` to the last of ``steps``, of each the rows of this process.

    A batch has the field ``progress``, the fraction of the training that is done. Close the feed to end its thread.
    """
    batches = dataset.batches(seed, first, batch_size, jax.process_index(), jax.process_count())
    return data.prefetch(_batches(batches, first, steps), lambda rows: training.place_batch(rows, mesh))


def _batches(batches: Generator[Batch, None, None], first: int, steps: int) -> Iterator[Batch]:
    with contextlib.closing(batches):
        for step, batch in zip(range(first, steps), batches, strict=False):
            check_examples(batch, "config.data", f"examples of batch {step + 1:,}")
            share = step / max(steps - 1, 1)
            yield {**batch, "progress": np.full(len(batch["x"]), share, np.float32)}


class Clock:
    """The time of a training from the end of its first step, whose compilation does not count, without pauses."""

    def __init__(self, batches: data.Prefetch):
        self._batches, self._started, self._before = batches, 0.0, 0.0

    def start(self, result: Any) -> None:
        """Waits for the first step and starts the clock; a second call does nothing."""
        if not self._started:
            jax.block_until_ready(result)
            self._started, self._before = time.monotonic(), self._batches.waited

    @contextlib.contextmanager
    def paused(self, result: Any) -> Iterator[None]:
        """Waits for a step; what is then done inside, such as saving it, does not count."""
        jax.block_until_ready(result)
        start = time.monotonic()
        try:
            yield
        finally:
            self._started += time.monotonic() - start

    @property
    def seconds(self) -> float:
        """The seconds of training so far."""
        return time.monotonic() - self._started

    @property
    def waited(self) -> float:
        """The seconds of them in which the training has waited for data."""
        return self._batches.waited - self._before
