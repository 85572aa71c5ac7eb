"""Ends a training whose loss or gradient is not finite for many steps in a row."""

from experiments.cli.endings import ProgramError
from experiments.training.hooks import Hook, Step
from scorekit import training
from scorekit.training import TrainState

EVERY = 10
"""Steps between those that are waited for."""


def check(state: TrainState, limit: int) -> None:
    """Raises a ``ProgramError`` if the latest ``limit`` steps were not finite; waits for the state."""
    try:
        training.check_finite(state, limit)
    except FloatingPointError as error:
        raise ProgramError(f"config.training.skip_limit={limit}: {error}") from error


class SkipLimit(Hook):
    """Looks at every tenth step, or with a smaller limit at every ``limit``-th, and at the last."""

    def __init__(self, limit: int):
        self._limit, self._every = limit, min(limit, EVERY)

    def after(self, step: Step) -> None:
        if step.last or step.number % self._every == 0:
            check(step.state, self._limit)
