"""The folder of a run that is trained: continued by the same config, with its checkpoints.

A :class:`Run` has plain attributes for the loop and its hooks; hooks and ``fit`` take no config.
"""

import contextlib
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from experiments.cli import distributed, progress
from experiments.cli.config import Config, ConfigError, changed, leaves, require, save_resolved
from experiments.cli.endings import ProgramError
from experiments.data.dataset import Dataset
from experiments.models import run_files
from experiments.training import sharing, unset
from experiments.training.writers import MetricWriter
from scorekit import training
from scorekit.training import TrainState

FREE = ("sampling.", "evaluation.", "guidance", "rules.", "training.steps", "training.log_every",
        "training.sample_every", "training.checkpoint_every", "training.keep", "training.snapshot_",
        "training.parallel", "training.fsdp")  # fmt: skip
"""Fields that may change when a run continues."""


def check_same(ours: Mapping[str, Any], theirs: Mapping[str, Any], workdir: Path) -> None:
    """Raises an error if a run in ``workdir`` has other values than ours."""
    for name in {**theirs, **ours}:
        if theirs.get(name) != ours.get(name):
            raise ConfigError(
                f"{name}={ours.get(name)}: the run in {workdir} has {theirs.get(name)}; use another --workdir, or the "
                f"old value to continue it"
            )


def as_begun(config: Config, workdir: Path) -> Config:
    """The config with the values that the run in ``workdir``, if there is one, has of what it leaves unset.

    A config leaves fields unset, to be chosen for data and device, where one of ``training`` is None that must be set.
    """
    if not unset(config) or not (workdir / "config.json").exists():
        return config
    old = dict(leaves(run_files.config_of(workdir, f"--workdir={workdir}")))
    return changed(config, {name: old.get(name) for name, value in leaves(config) if value is None})


def check_same_run(config: Config, workdir: Path) -> None:
    """Raises an error if the run in ``workdir`` was trained with other values of fields that matter to it."""
    if (workdir / "config.json").exists():
        old = dict(leaves(run_files.config_of(workdir, f"--workdir={workdir}")))
        ours = {f"config.{name}": value for name, value in leaves(config) if not name.startswith(FREE)}
        check_same(ours, {name: old.get(name.removeprefix("config.")) for name in ours}, workdir)


@contextlib.contextmanager
def opened(config: Config, workdir: Path, dataset: Dataset) -> Iterator["Run"]:
    """A context in which this process, which holds the lock, trains by ``config`` into ``workdir``, which is made.

    Raises:
      ConfigError: if the run there was trained by another config.
    """
    check_same_run(config, workdir)
    keep = config.training.keep
    with (
        training.Checkpoints(workdir / "checkpoints", keep, keep_best=1, metric="held_out") as checkpoints,
        contextlib.closing(Run(config, workdir, dataset, checkpoints)) as run,
    ):
        yield run


class Run:
    """A run, open for training by :func:`opened`.

    Attributes:
      workdir: its folder.
      checkpoints: its checkpoints.
      mesh: devices that it is trained on.
      seed, steps, batch_size, parallel, accumulate, ema_decays, power_ema, fsdp: fields of its config.
    """

    def __init__(self, config: Config, workdir: Path, dataset: Dataset, checkpoints: training.Checkpoints):
        options = config.training
        self.workdir, self.checkpoints, self.seed, self.steps = workdir, checkpoints, config.seed, options.steps
        self.batch_size, self.parallel, self.accumulate = options.batch_size, options.parallel, options.accumulate
        self.ema_decays, self.power_ema, self.fsdp = options.ema_decays, options.power_ema or (), options.fsdp
        self.mesh = training.make_mesh(sharing(options, jax.device_count()))
        self._config, self._dataset, self._writer = config, dataset, None

    def restore(self, state: TrainState) -> TrainState:
        """The newest readable checkpoint, or this new state if there has been none; the run is described and printed.

        Raises:
          ConfigError: for fewer steps than the run has made, or another meaning of its weights.
          ProgramError: if all checkpoints are damaged, or they are of another network or optimiser.
        """
        state, first = training.place_state(state, self.mesh), 0
        try:
            restored = self.checkpoints.restore_latest(state)
        except FileNotFoundError as error:
            raise ProgramError(
                f"{error}; the run in {self.workdir} cannot be continued: copy a checkpoint back, or start anew with "
                f"another --workdir, or with the same one after rm -r {shlex.quote(str(self.workdir))}"
            ) from error
        except ValueError as error:
            raise ProgramError(f"{error}; another version has trained this network: use another --workdir") from error
        if restored is not None:
            run_files.check_record(self._config, restored.extra, self.workdir)
            run_files.check_encoder(self._config, self._dataset.encoder, restored.extra, self.workdir)
            run_files.check_class_names(self._dataset.class_names, restored.extra, self.workdir)
            first, state = restored.step, training.place_state(restored.state, self.mesh)
            allowed = f"at least {first}, the steps that the run in {self.workdir} has made"
            require(self.steps >= first, "training.steps", self.steps, allowed)
        if distributed.is_first():
            save_resolved(self._config, self.workdir / "config.json")
            self._print_summary(first, sum(x.size for x in jax.tree.leaves(state.params)))
            self._writer = MetricWriter(self.workdir, resume_step=first if restored else None)
        return state

    def _print_summary(self, first: int, parameters: int) -> None:
        """Prints what is about to run, one fact a line; data that are drawn anew for every step have no epochs."""
        devices, examples = jax.devices(), self._dataset.examples
        epochs = f" ({self.steps * self.batch_size / examples:.3g} epochs)" if examples else ""
        lines = [
            f"devices   {len(devices)} × {devices[0].platform} ({devices[0].device_kind}), jax {jax.__version__}",
            f"data      {self._dataset.summary()}",
            f"network   {progress.human(parameters)} parameters",
            f"training  {self.steps:,} steps of {self.batch_size:,} examples{epochs}",
            *([f"resuming  from step {first:,}"] if first else []),
            f"workdir   {self.workdir}",
        ]
        print("\n".join(lines), flush=True)

    def write_scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes a line of metrics."""
        if self._writer is not None:
            self._writer.scalars(step, values)

    def write_image(self, step: int, name: str, path: Path) -> None:
        """Shows an image in TensorBoard."""
        if self._writer is not None:
            self._writer.picture(step, name, path)

    def save(self, step: int, state: TrainState, held_out: float) -> None:
        """Starts saving a checkpoint, with the meaning of its weights and the position in the data."""
        position = {"seed": self.seed, "examples_consumed": step * self.batch_size}
        meaning = run_files.record(self._config, self._dataset.encoder, self._dataset.class_names)
        self.checkpoints.save(step, state, {"held_out": held_out}, {**position, **meaning})

    def close(self) -> None:
        """Writes everything out."""
        if self._writer is not None:
            self._writer.close()
