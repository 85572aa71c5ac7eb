"""Ends a training whose loss or gradient is not finite for many steps in a row, without waiting for a step."""

from collections import deque
from collections.abc import Mapping
from typing import Any, cast

import jax
import numpy as np

from experiments.cli.endings import ProgramError


class SkippedSteps:
    """Counts skipped steps in a row: every step is seen, as soon as the devices have computed it.

    ``limit`` steps in a row end the training; ``in_a_row`` were skipped before, say before the checkpoint was saved.

    >>> steps = SkippedSteps(limit=2)
    >>> steps.add(1, {"loss": np.float32(0.5), "grad_norm": np.float32(1.0)})
    >>> steps.add(2, {"loss": np.float32("nan"), "grad_norm": np.float32(1.0)})
    >>> steps.add(3, {"loss": np.float32(0.5), "grad_norm": np.float32("inf")})
    Traceback (most recent call last):
    ...
    experiments.cli.endings.ProgramError: loss or gradient was not finite in 2 steps in a row, 2 to 3 ...
    """

    def __init__(self, limit: int, in_a_row: int = 0):
        self._limit, self._in_a_row = limit, in_a_row
        self._pending: deque[tuple[int, Any, Any]] = deque()

    def add(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Notes the metrics of a step, and counts the steps that are computed by now."""
        values = metrics["loss"], metrics["grad_norm"]
        for value in values:
            if isinstance(value, jax.Array):
                value.copy_to_host_async()
        self._pending.append((step, *values))
        if jax.process_count() == 1:  # several processes stop at the same step, in wait()
            self._count(wait=False)

    def wait(self) -> None:
        """Counts all steps.

        Raises:
          ProgramError: if loss or gradient was not finite in ``limit`` steps in a row.
        """
        self._count(wait=True)

    def _count(self, wait: bool) -> None:
        while self._pending and (wait or all(map(_is_ready, self._pending[0][1:]))):
            step, *values = self._pending.popleft()
            finite = all(np.isfinite(np.asarray(value)) for value in values)  # as the training step decides
            self._in_a_row = 0 if finite else self._in_a_row + 1
            if self._in_a_row >= self._limit:
                first = step - self._in_a_row + 1
                raise ProgramError(
                    f"loss or gradient was not finite in {self._in_a_row} steps in a row, {first} to {step} "
                    f"(config.training.skip_limit={self._limit}); these steps changed nothing: lower "
                    f"config.training.learning_rate, or inspect the data"
                )


def _is_ready(value: Any) -> bool:
    return not isinstance(value, jax.Array) or cast(Any, value).is_ready()
