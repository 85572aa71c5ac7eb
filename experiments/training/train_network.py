"""Training one network by a config: its run, its hooks, the loop."""

from pathlib import Path

from experiments.cli.config import Config
from experiments.data.dataset import Dataset
from experiments.training import learning_rate, run
from experiments.training.hooks import Hook, profile
from experiments.training.hooks.checkpoint import Checkpoint, Snapshots
from experiments.training.hooks.images import Images
from experiments.training.hooks.log import Log
from experiments.training.hooks.profile import Profile
from experiments.training.hooks.skip_limit import SkipLimit
from experiments.training.loop import Trainable, fit
from scorekit.typing import PyTree


def train_network(config: Config, workdir: Path, model: Trainable, dataset: Dataset) -> PyTree:
    """Trains a network to ``config.training.steps``, or continues the run in ``workdir``; returns its average.

    Raises:
      ConfigError: for fewer steps than the run has made, or another meaning of its weights.
      ProgramError: if another process trains into ``workdir``, all its checkpoints are damaged, or the loss stays not
        finite.
      SystemExit: after SIGTERM or Ctrl-C, once a checkpoint is saved.
    """
    with run.opened(config, workdir, dataset) as opened:
        return fit(opened, model, dataset, hooks_of(opened, model, config))


def hooks_of(opened: run.Run, model: Trainable, config: Config) -> list[Hook]:
    """The hooks of a run. The line of a step is written before its checkpoint, which a resumed run relies on."""
    options = config.training
    hooks: list[Hook] = [
        SkipLimit(options.skip_limit),
        Log(opened, options.log_every, options.checkpoint_every, learning_rate(options)),
    ]
    if (steps := profile.wanted()) is not None:
        hooks.insert(0, Profile(opened.workdir, *steps))
    if options.power_ema:
        every = options.snapshot_every or max(options.steps // 20, 1)
        hooks.append(Snapshots(opened, every, options.snapshot_dtype))
    hooks.append(Checkpoint(opened, options.checkpoint_every, model.held_out, model.ema))
    if model.draw is not None:
        hooks.append(Images(opened, options.sample_every, model.draw, model.ema))
    return hooks
