"""The loss and other metrics of training, with the throughput and the waiting for data."""

import numpy as np
import optax

from experiments.training.hooks import Hook, Step
from experiments.training.run import Run
from scorekit.training import TrainState

SPEED = "train/examples_per_second"


class Log(Hook):
    """A line of metrics every so many steps and after the last.

    Args:
      run: the run.
      every: steps between lines.
      print_every: steps between those whose metrics of the loss's own, ``train/…``, are printed too.
      learning_rate: learning rate after a number of updates.
    """

    def __init__(self, run: Run, every: int, print_every: int, learning_rate: optax.Schedule):
        self._run, self._every, self._print_every, self._rate = run, every, print_every, learning_rate
        self._since, self._waited = (0, 0.0), None  # the step and the time of the line before; the fraction at the end

    def start(self, state: TrainState) -> None:
        self._since = int(state.step) + 1, 0.0  # its compilation does not count

    def after(self, step: Step) -> None:
        if not step.last and step.number % self._every:
            return
        metrics, state = step.metrics, step.state
        own = {name: np.mean(x) for name, x in metrics["aux"].items() if name.startswith("train/")}
        values = {
            "train/loss": metrics["loss"],
            "train/grad_norm": metrics["grad_norm"],
            "train/skipped": state.skipped,
            **own,
            "train/learning_rate": self._rate(step.number - 1 - state.skipped),
        }
        values = {name: np.asarray(value) for name, value in values.items()}
        (before, then), now = self._since, step.clock.seconds
        if step.number > before:
            values[SPEED] = (step.number - before) * self._run.batch_size / max(now - then, 1e-9)
        self._since = step.number, now
        self._run.write_scalars(step.number, values)
        if own and (step.last or step.number % self._print_every == 0):
            facts = ", ".join(f"{name[6:].replace('_', ' ')} {x:.3g}" for name, x in own.items())
            print(f"step {step.number:,}: {facts}", flush=True)
        if step.last:
            self._waited = step.clock.waited / max(now, 1e-9)

    def close(self) -> None:
        if self._waited is not None:
            print(f"waited for data {self._waited:.1%} of the time", flush=True)
