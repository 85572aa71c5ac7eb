"""A profile of some training steps, for TensorBoard, Perfetto or XProf."""

from pathlib import Path

import jax
from absl import flags

from experiments.cli.config import ConfigError
from experiments.training.hooks import Hook, Step
from scorekit.training import TrainState


def define_flag() -> None:
    """``--profile_steps``, of programs that train."""
    if "profile_steps" not in flags.FLAGS:
        help = "Profile the training from step a to step b, as in 10:15, into workdir/profile."
        flags.DEFINE_string("profile_steps", None, help)


def wanted() -> tuple[int, int] | None:
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
