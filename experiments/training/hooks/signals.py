"""SIGINT and SIGTERM end a training after a step, in all processes the same, once it is saved."""

import signal
from collections.abc import Callable

import jax
import numpy as np

from experiments.cli import interrupts

EVERY = 4
"""Steps between those after which several processes ask each other for signals."""


class Signals:
    """The signals of all processes; ``received()`` is the one of this process, or None.

    >>> Signals(lambda: None).stop(1), Signals(lambda: 15).stop(1)
    (False, True)
    """

    def __init__(self, received: Callable[[], int | None]):
        self._received = received

    def _agreed(self) -> int:
        """The signal that any process has received, or 0; with several processes waits for all of them."""
        number = self._received() or 0
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            number = int(np.max(multihost_utils.process_allgather(np.int32(number))))
        return number

    def stop(self, step: int) -> bool:
        """Whether the training ends after this step, the same in every process."""
        return (jax.process_count() == 1 or step % EVERY == 0) and self._agreed() > 0

    def leave(self, step: int) -> None:
        """Ends the program if a signal has come by now, after so many steps, which are saved."""
        if number := self._agreed():
            print(f"stopped at step {step:,} and saved; the same command continues", flush=True)
            raise SystemExit(interrupts.EXIT_CODES[signal.Signals(number)])
