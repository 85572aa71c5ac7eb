"""Images of samples while a model is trained."""

import warnings
from collections.abc import Callable
from pathlib import Path

from experiments.cli import distributed
from experiments.models.devices import hold
from experiments.models.run_files import averaged
from experiments.models.samples import NotFinite
from experiments.training.hooks import Hook, Step
from experiments.training.run import Run
from scorekit.typing import PyTree


class Images(Hook):
    """Draws samples of an average every so many steps; left out, with a warning, where they are not finite.

    Args:
      run: the run.
      every: steps between images; the evaluation draws the images of the last step.
      draw: ``(path, params, step) -> path`` of the image.
      ema: the average.
    """

    def __init__(self, run: Run, every: int, draw: Callable[[Path, PyTree, int], Path], ema: str):
        self._run, self._every, self._draw, self._ema = run, every, draw, ema

    def after(self, step: Step) -> None:
        if step.number % self._every or step.number == self._run.steps:
            return
        path = distributed.folder(self._run.workdir / "samples") / f"step_{step.number:07d}.png"
        with step.clock.paused(step.metrics):
            params = hold(averaged(step.state, self._ema), self._run.fsdp)
            try:
                self._run.write_image(step.number, "samples", self._draw(path, params, step.number))
            except NotFinite as error:  # those of a later step, or with another guidance scale, may be
                warnings.warn(f"no picture at step {step.number:,}: {error}", stacklevel=2)
