"""A profile of some training steps, for TensorBoard, Perfetto or XProf."""

from pathlib import Path
from typing import Any

import jax
from absl import flags

from experiments.cli.config import ConfigError


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


class Profile:
    """Traces the steps that ``--profile_steps`` names into ``workdir/profile``, in every process."""

    def __init__(self, workdir: Path):
        self._steps, self._folder, self._running = wanted(), workdir / "profile", False

    def before(self, step: int) -> None:
        """Call before a step is started; steps count from 1."""
        if self._steps is not None and self._steps[0] <= step <= self._steps[1] and not self._running:
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def after(self, step: int, result: Any) -> None:
        """Call once a step is started; the last one is waited for."""
        if self._running and self._steps is not None and step >= self._steps[1]:
            jax.block_until_ready(result)
            self.close()
            print(f"profile of steps {self._steps[0]:,} to {step:,}: tensorboard --logdir={self._folder}", flush=True)

    def close(self) -> None:
        """Ends a trace that is running."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
