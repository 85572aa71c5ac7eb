"""The training loop of every program: from the newest checkpoint to the last step, safe to stop at any moment."""

import contextlib
import shlex
import signal
import warnings
from collections.abc import Callable, Collection, Generator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax

from experiments.cli import distributed, interrupts, progress
from experiments.cli.config import Config, ConfigError, leaves, require, save_resolved
from experiments.cli.endings import ProgramError
from experiments.data.dataset import Dataset
from experiments.models import run_files
from experiments.models.devices import hold
from experiments.models.run_files import SNAPSHOTS, averaged, config_of
from experiments.models.samples import NotFinite
from experiments.training import build_optimizer, learning_rate, lock, sharing, writers
from experiments.training.agreement import Agreement
from experiments.training.feeding import Speed, Waiting, feed
from experiments.training.profiling import Profile
from experiments.training.skipped import SkippedSteps
from scorekit import training
from scorekit.training import TrainState
from scorekit.typing import PyTree

FREE = ("sampling.", "evaluation.", "guidance", "rules.", "training.steps", "training.log_every",
        "training.sample_every", "training.checkpoint_every", "training.keep", "training.snapshot_",
        "training.parallel", "training.fsdp")  # fmt: skip
"""Fields that may change when a run continues."""


class Fit(NamedTuple):
    """The training of one network.

    Attributes:
      config: the full config; its fields ``seed`` and ``training`` are read, and it is saved.
      workdir: the folder of the run.
      dataset: the source of batches.
      params: the initial parameters.
      prepare: ``(key, batch) -> batch``, see :func:`scorekit.training.make_train_step`.
      loss: ``(params, prepared batch) -> (loss of each example, aux)``; entries ``train/…`` of ``aux`` are logged.
      ema: average that is evaluated and sampled from, "none" for the parameters themselves.
      held_out: ``params -> held-out loss``.
      draw: ``(path, params, step) -> path`` of a picture, every ``sample_every`` steps; left out, with a warning, where
        samples are not finite.
      optimizer: optimiser; by default from ``training``.
      gathers: parameters that the network gathers itself, see :func:`scorekit.training.make_train_step`.
    """

    config: Config
    workdir: Path
    dataset: Dataset
    params: PyTree
    prepare: Callable
    loss: Callable
    ema: str
    held_out: Callable[[PyTree], float]
    draw: Callable[[Path, PyTree, int], Path] | None = None
    optimizer: optax.GradientTransformation | None = None
    gathers: Collection[str] = ()


def run(stages: Generator[Fit, PyTree, PyTree]) -> PyTree:
    """Trains every network that ``stages`` yields and sends its averaged parameters back; returns its result.

    A network that is trained to its last step is read from its checkpoint.
    """
    params = None
    while True:
        try:
            one = stages.send(params)
        except StopIteration as done:
            return done.value
        check_same_run(one.config, one.workdir)
        params = hold(averaged(fit(one), one.ema), one.config.training.fsdp)


def check_same_run(config: Config, workdir: Path) -> None:
    """Raises an error if the run in ``workdir`` was trained with other values of fields that matter to it."""
    if not (workdir / "config.json").exists():
        return
    old, new = dict(leaves(config_of(workdir, f"--workdir={workdir}"))), dict(leaves(config))
    for field in new:
        if old.get(field) != new[field] and not field.startswith(FREE):
            raise ConfigError(
                f"config.{field}={new[field]}: the run in {workdir} has {old.get(field)}; use another --workdir, "
                f"or the old value to continue it"
            )


def _restore(checkpoints: training.Checkpoints, state: TrainState, workdir: Path) -> training.Restored | None:
    """The newest readable checkpoint; None if there has been none.

    Raises:
      ProgramError: if all of them are damaged, or it is of another network or optimiser.
    """
    try:
        return checkpoints.restore_latest(state)
    except FileNotFoundError as error:
        raise ProgramError(
            f"{error}; the run in {workdir} cannot be continued: copy a checkpoint back, or start anew with another "
            f"--workdir, or with the same one after rm -r {shlex.quote(str(workdir))}"
        ) from error
    except ValueError as error:
        raise ProgramError(f"{error}; another version has trained this network: use another --workdir") from error


def fit(one: Fit) -> TrainState:
    """Trains to ``config.training.steps``, from the newest checkpoint in ``workdir`` if there is one.

    Raises:
      ConfigError: for fewer steps than the run has made, or another meaning of its weights.
      ProgramError: if another process trains into ``workdir``, all its checkpoints are damaged, or the loss stays not
        finite.
      SystemExit: after SIGTERM or Ctrl-C, once a checkpoint is saved.
    """
    config, workdir, dataset, params, prepare, loss, ema, held_out, draw, optimizer, gathers = one
    options = config.training
    key = jax.random.key(config.seed)
    if optimizer is None:
        optimizer = build_optimizer(options)
    mesh, agreement = training.make_mesh(sharing(options, jax.device_count())), Agreement()
    state = training.init_state(key, params, optimizer, options.ema_decays, options.power_ema or ())
    snapshot_every = options.snapshot_every or max(options.steps // 20, 1)
    state = training.place_state(state, mesh)
    how = {"mesh": mesh, "parallel": options.parallel, "accumulate": options.accumulate, "gathers": gathers}
    step_fn = training.make_train_step(*agreement.wrap(prepare, loss), optimizer, **how)
    with (
        lock.hold(workdir) as held,
        training.Checkpoints(workdir / "checkpoints", options.keep, keep_best=1, metric="held_out") as checkpoints,
    ):
        restored = _restore(checkpoints, state, workdir)
        first = 0
        if restored is not None:
            run_files.check_record(config, restored.extra, workdir)
            run_files.check_encoder(config, dataset.encoder, restored.extra, workdir)
            run_files.check_class_names(dataset.class_names, restored.extra, workdir)
            first, state = restored.step, training.place_state(restored.state, mesh)
            allowed = f"at least {first}, the steps that the run in {workdir} has made"
            require(options.steps >= first, "training.steps", options.steps, allowed)
        if distributed.is_first():
            save_resolved(config, workdir / "config.json")
            summary = progress.summary_lines(
                jax.devices(),
                jax_version=jax.__version__,
                data=dataset.summary(),
                examples=dataset.examples,
                parameters=sum(x.size for x in jax.tree.leaves(state.params)),
                batch_size=options.batch_size,
                steps=options.steps,
                workdir=str(workdir),
                first_step=first,
            )
            print("\n".join(summary), flush=True)
        place = lambda rows: training.place_batch(agreement.mark(rows, stop()), mesh)
        with (
            writers.MetricWriter(workdir, resume_step=first if restored else None)
            if distributed.is_first()
            else contextlib.nullcontext() as writer,
            progress.Progress(options.steps, batch_size=options.batch_size, first_step=first) as bar,
            interrupts.deferred() as stop,
            Profile(workdir) as profile,
            feed(config, dataset, first, place) as batches,
        ):
            stopping, clock, speed, rate = None, Waiting(batches), Speed(options.batch_size), learning_rate(options)
            skipped = SkippedSteps(options.skip_limit, int(state.skipped_in_a_row))
            for done in range(first + 1, options.steps + 1):
                profile.before(done)
                state, metrics = step_fn(state, next(batches))
                profile.after(done, metrics)
                skipped.add(done, metrics)
                bar.update(done, metrics["loss"])
                clock.start()  # the first step is waited for: its compilation is not counted
                stopping = agreement.after(metrics, stop())
                last = done == options.steps or stopping is not None
                log, save = (last or done % every == 0 for every in (options.log_every, options.checkpoint_every))
                if log or save:
                    skipped.wait()
                    if held is not None:
                        held.check()
                if log:
                    values = {
                        "train/loss": metrics["loss"],
                        "train/grad_norm": metrics["grad_norm"],
                        "train/skipped": state.skipped,
                    }
                    further = {name: np.mean(x) for name, x in metrics["aux"].items() if name.startswith("train/")}
                    values.update(further)
                    if further and save:
                        found = ", ".join(f"{name[6:].replace('_', ' ')} {x:.3g}" for name, x in further.items())
                        print(f"step {done:,}: {found}", flush=True)
                    values |= {"train/learning_rate": rate(done - 1 - state.skipped)}
                    values = {name: np.asarray(value) for name, value in values.items()}
                    values |= speed.values(done)
                    if writer is not None:
                        writer.scalars(done, values)
                if options.power_ema and (done == options.steps or done % snapshot_every == 0):
                    if held is not None:
                        held.check()
                    training.save_snapshots(workdir / SNAPSHOTS, state, options.snapshot_dtype or "float32")
                if save:
                    score = held_out(averaged(state, ema))
                    if writer is not None:
                        writer.scalars(done, {"held_out/loss": score})
                    if held is not None:
                        held.check()
                    position = {"seed": config.seed, "examples_consumed": done * options.batch_size}
                    extra = {**position, **run_files.record(config, dataset.encoder, dataset.class_names)}
                    checkpoints.save(done, state, {"held_out": score}, extra)
                if draw is not None and done % options.sample_every == 0 and done < options.steps:
                    try:
                        folder = distributed.folder(workdir / "samples")
                        path = draw(folder / f"step_{done:07d}.png", hold(averaged(state, ema), options.fsdp), done)
                        if writer is not None:
                            writer.picture(done, "samples", path)
                    except NotFinite as error:  # those of a later step, or with another guidance scale, may be
                        warnings.warn(f"no picture at step {done:,}: {error}", stacklevel=2)
                if done == first + 1 or log or save or done % options.sample_every == 0:
                    speed.restart(done)
                if stopping is not None:
                    break
            clock.stop()
            checkpoints.wait()
            stopping = agreement.at_the_end(stop()) if stopping is None else stopping
        print(clock.sentence(), flush=True)
        if stopping is not None:
            saved = f"stopped at step {int(state.step):,} and saved; the same command continues"
            print(saved, flush=True)
            raise SystemExit(interrupts.EXIT_CODES[signal.Signals(stopping)])
    return state
