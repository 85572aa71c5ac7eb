"""Hooks of the training loop, a file each: what happens after a step, in the order of a list.

They are constructed before the first step, compute on every process and write on the first.
"""

from typing import NamedTuple

from experiments.training.feeding import Clock
from scorekit.training import Metrics, TrainState


class Step(NamedTuple):
    """A step that has been started; its arrays may still be computed.

    Attributes:
      number: steps that are done, this one included.
      last: whether the training ends after it.
      state: the state after it, whose buffers the next step takes.
      metrics: its metrics, see :func:`scorekit.training.make_train_step`.
      clock: the time of the training.
    """

    number: int
    last: bool
    state: TrainState
    metrics: Metrics
    clock: Clock


class Hook:
    """What happens after each step."""

    def start(self, state: TrainState) -> None:
        """Called before the first step."""

    def after(self, step: Step) -> None:
        """Called after each step."""

    def close(self) -> None:
        """Called at the end, also after an error."""
