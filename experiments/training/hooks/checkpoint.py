"""Checkpoints with their held-out loss, by which the best one is kept, and snapshots of power-function averages."""

from collections.abc import Callable

from experiments.models.run_files import SNAPSHOTS, averaged
from experiments.training.hooks import Hook, Step
from experiments.training.run import Run
from scorekit import training
from scorekit.typing import PyTree


class Checkpoint(Hook):
    """Writes the held-out loss of an average and then saves the state, every so many steps and after the last."""

    def __init__(self, run: Run, every: int, held_out: Callable[[PyTree], float], ema: str):
        self._run, self._every, self._held_out, self._ema = run, every, held_out, ema

    def after(self, step: Step) -> None:
        if step.last or step.number % self._every == 0:
            with step.clock.paused(step.metrics):
                score = self._held_out(averaged(step.state, self._ema))
                self._run.write_scalars(step.number, {"held_out/loss": score})
                self._run.save(step.number, step.state, score)
                if step.last:
                    self._run.checkpoints.wait()


class Snapshots(Hook):
    """Saves the power-function averages every so many steps and after the last of the run."""

    def __init__(self, run: Run, every: int):
        self._run, self._every = run, every

    def after(self, step: Step) -> None:
        if step.number == self._run.steps or step.number % self._every == 0:
            with step.clock.paused(step.metrics):
                training.save_snapshots(self._run.workdir / SNAPSHOTS, step.state)
