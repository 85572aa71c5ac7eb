"""A signal that one process receives ends the training of all of them at the same step."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from experiments.data.dataset import Batch
from scorekit.training import Loss, Prepare

_FIELD = "signal"
LAG = 2
"""Steps between the one whose rows tell of a signal and the one after which all processes stop."""


class Agreement:
    """Shares the number of a signal between processes: it passes through the training step as a field of their rows.

    With one process nothing is shared, and a signal counts at once.

    >>> agreement = Agreement()
    >>> agreement.after({"loss": 0.5}, None), agreement.after({"loss": 0.5}, 15)
    (None, 15)
    """

    def __init__(self):
        self._several = jax.process_count() > 1
        self._pending: deque[Any] = deque()

    def wrap(self, prepare: Prepare, loss: Loss) -> tuple[Prepare, Loss]:
        """The functions of the training step, with the field passed through."""
        if not self._several:
            return prepare, loss

        def with_field(key, batch):
            batch = dict(batch)
            signal = batch.pop(_FIELD)
            return {"batch": prepare(key, batch), _FIELD: signal}

        def loss_and_field(params, prepared):
            value, aux = loss(params, prepared["batch"])
            return value, {**aux, _FIELD: prepared[_FIELD]}

        return with_field, loss_and_field

    def mark(self, batch: Batch, signal: int | None) -> Batch:
        """The rows of this process, with the signal that it has received."""
        if not self._several:
            return batch
        return {**batch, _FIELD: np.full(len(batch["x"]), signal or 0, np.int32)}

    def after(self, metrics: Mapping[str, Any], signal: int | None) -> int | None:
        """The signal that ends the training after this step, the same in every process."""
        if not self._several:
            return signal
        self._pending.append(metrics["aux"][_FIELD])
        if len(self._pending) <= LAG:
            return None
        return int(np.max(self._pending.popleft())) or None

    def at_the_end(self, signal: int | None) -> int | None:
        """A signal that came too late to stop a step, agreed on; waits for all processes."""
        if not self._several:
            return signal
        from jax.experimental import multihost_utils

        return int(np.max(multihost_utils.process_allgather(np.int32(signal or 0)))) or None
