"""The batches of a training on their way to the devices, prepared while the step before runs."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from experiments.cli.config import Config
from experiments.data.dataset import Batch, Dataset, check_examples
from scorekit import data

SPEED = "train/examples_per_second"


def feed(config: Config, dataset: Dataset, first: int, place: Callable[[Batch], Any]) -> data.Prefetch:
    """The placed batches of the steps from ``first`` to the last, of each the rows of this process.

    A batch has the field ``progress``, the fraction of the training that is done. Close the feed to end its thread.
    ``place`` takes a batch on the host to one on the devices, in the thread.
    """
    return data.prefetch(_batches(config, dataset, first), place)


def _batches(config: Config, dataset: Dataset, first: int) -> Iterator[Batch]:
    options, processes = config.training, (jax.process_index(), jax.process_count())
    batches = dataset.batches(config.seed, first, options.batch_size, *processes)
    try:
        for step, batch in zip(range(first, options.steps), batches, strict=False):
            check_examples(batch, "config.data", f"examples of batch {step + 1:,}")
            share = step / max(options.steps - 1, 1)
            yield {**batch, "progress": np.full(len(batch["x"]), share, np.float32)}
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()


class Speed:
    """Examples per second since the last restart; the loop restarts it after pauses, as for a checkpoint."""

    def __init__(self, batch_size: int):
        self._batch_size, self._step, self._started = batch_size, 0, 0.0

    def restart(self, step: int) -> None:
        """Starts the clock after so many steps."""
        self._step, self._started = step, time.monotonic()

    def values(self, step: int) -> dict[str, float]:
        """The metric of the steps up to this one, which is done; none before the first restart and right after one."""
        count = (step - self._step) * self._batch_size if self._started else 0
        return {SPEED: count / max(time.monotonic() - self._started, 1e-9)} if count else {}


class Waiting:
    """The fraction of the time that the training has waited for data of a feed."""

    def __init__(self, batches: data.Prefetch):
        self._batches, self._started, self._before = batches, None, 0.0
        self._seconds = self._waited = 0.0

    def start(self) -> None:
        """Starts the clock; a second call does nothing."""
        if self._started is None:
            self._started, self._before = time.monotonic(), self._batches.waited

    def stop(self) -> None:
        """Stops the clock."""
        if self._started is not None:
            self._seconds, self._waited = time.monotonic() - self._started, self._batches.waited - self._before

    def sentence(self) -> str:
        """What a person reads at the end of a run."""
        return f"waited for data {self._waited / max(self._seconds, 1e-9):.1%} of the time"
