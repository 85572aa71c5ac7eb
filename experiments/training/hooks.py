"""Hooks of the training loop: what happens after a step, in the order of a list; and the signals that end it.

They are constructed before the first step, compute on every process and write on the first.
"""

import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from absl import flags

from experiments.cli import distributed, interrupts
from experiments.cli.config import ConfigError
from experiments.cli.endings import ProgramError
from experiments.models.devices import hold
from experiments.models.run_files import SNAPSHOTS, averaged
from experiments.models.samples import NotFinite
from experiments.training.feeding import Clock
from experiments.training.run import Run
from scorekit import training
from scorekit.training import Metrics, TrainState
from scorekit.typing import PyTree


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


LOOKED_AT = 10
"""Steps between those that are waited for."""


def check_steps(state: TrainState, limit: int) -> None:
    """Raises a ``ProgramError`` if the latest ``limit`` steps were not finite; waits for the state."""
    try:
        training.check_finite(state, limit)
    except FloatingPointError as error:
        raise ProgramError(f"config.training.skip_limit={limit}: {error}") from error


class SkipLimit(Hook):
    """Looks at every tenth step, or with a smaller limit at every ``limit``-th, and at the last."""

    def __init__(self, limit: int):
        self._limit, self._every = limit, min(limit, LOOKED_AT)

    def after(self, step: Step) -> None:
        if step.last or step.number % self._every == 0:
            check_steps(step.state, self._limit)


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


def define_profile_flag() -> None:
    """``--profile_steps``, of programs that train."""
    if "profile_steps" not in flags.FLAGS:
        help = "Profile the training from step a to step b, as in 10:15, into workdir/profile."
        flags.DEFINE_string("profile_steps", None, help)


def steps_to_profile() -> tuple[int, int] | None:
    """The first and last step to profile; None for no profile."""
    text = flags.FLAGS.profile_steps if "profile_steps" in flags.FLAGS and flags.FLAGS.is_parsed() else None
    if text is None:
        return None
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise ConfigError(f"--profile_steps={text}: must be two steps in order, as in 10:15")
    return int(first), int(last)


class Profile(Hook):
    """Traces the steps from ``first`` to ``last`` into ``workdir/profile``, in every process."""

    def __init__(self, workdir: Path, first: int, last: int):
        self._folder, self._first, self._last, self._running = workdir / "profile", first, last, False

    def _before(self, step: int) -> None:
        if self._first <= step <= self._last and not self._running:
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def start(self, state: TrainState) -> None:
        self._before(int(state.step) + 1)

    def after(self, step: Step) -> None:
        if self._running and step.number >= self._last:
            jax.block_until_ready(step.metrics)
            self.close()
            print(
                f"profile of steps {self._first:,} to {step.number:,}: tensorboard --logdir={self._folder}", flush=True
            )
        elif not step.last:
            self._before(step.number + 1)

    def close(self) -> None:
        if self._running:
            self._running = False
            jax.profiler.stop_trace()


ASKED_AFTER = 4
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
        return (jax.process_count() == 1 or step % ASKED_AFTER == 0) and self._agreed() > 0

    def leave(self, step: int) -> None:
        """Ends the program if a signal has come by now, after so many steps, which are saved."""
        if number := self._agreed():
            print(f"stopped at step {step:,} and saved; the same command continues", flush=True)
            raise SystemExit(interrupts.EXIT_CODES[signal.Signals(number)])
