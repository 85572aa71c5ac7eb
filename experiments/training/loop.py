"""The training loop: from the newest checkpoint of a run to its last step, safe to stop at any moment."""

import contextlib
import functools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax

from experiments.cli import interrupts
from experiments.cli.config import Config
from experiments.cli.progress import Progress
from experiments.data.dataset import Dataset, rows_of
from experiments.models.devices import collect, everywhere, hold, spread
from experiments.models.run_files import averaged
from experiments.training import learning_rate
from experiments.training.feeding import Clock, feed
from experiments.training.hooks import (
    Checkpoint,
    Hook,
    Images,
    Log,
    Profile,
    Signals,
    SkipLimit,
    Snapshots,
    Step,
    steps_to_profile,
)
from experiments.training.run import Run, opened
from scorekit import training
from scorekit.typing import Key, PyTree


class Trainable(NamedTuple):
    """A network as it is trained.

    Attributes:
      init: ``key -> parameters`` at step 0.
      prepare: ``(key, batch) -> batch``, see :func:`scorekit.training.make_train_step`.
      loss: ``(params, prepared batch) -> (loss of each example, aux)``; entries ``train/…`` of ``aux`` are logged.
      optimizer: the optimiser.
      held_out: ``params -> held-out loss``.
      ema: average that is evaluated and used, "none" for the parameters themselves.
      draw: ``(path, params, step) -> path`` of an image of samples; None for a model that draws nothing.
      gathers: parameters that the network gathers itself, see :func:`scorekit.training.make_train_step`.
    """

    init: Callable[[Key], PyTree]
    prepare: training.Prepare
    loss: training.Loss
    optimizer: optax.GradientTransformation
    held_out: Callable[[PyTree], float]
    ema: str = "none"
    draw: Callable[[Path, PyTree, int], Path] | None = None
    gathers: Collection[str] = ()


def held_out_loss(prepare, loss, dataset: Dataset, limit: int | None = None):
    """``params -> loss`` on up to ``limit`` (``dataset.max_held_out`` by default) test examples, always with the same
    noise and times, which are read by the first call; ``prepare`` and ``loss`` are the functions of training."""
    # prepared is an argument: as a constant XLA would compute with it
    run = jax.jit(lambda params, prepared: collect(loss(params, spread(prepared))[0]).mean())

    @functools.cache
    def prepared():
        few = rows_of(dataset.test, slice(dataset.max_held_out if limit is None else limit))
        return jax.jit(prepare)(jax.random.key(0), few)

    return lambda params: float(run(everywhere(params), prepared()))


def fit(run: Run, model: Trainable, dataset: Dataset, hooks: Sequence[Hook]) -> PyTree:
    """Trains from the newest checkpoint of the run to its last step, and returns the averaged parameters.

    Raises:
      SystemExit: after SIGTERM or Ctrl-C, once the hooks have saved the step under way.
    """
    how = {"mesh": run.mesh, "parallel": run.parallel, "accumulate": run.accumulate, "gathers": model.gathers}
    train_step = training.make_train_step(model.prepare, model.loss, model.optimizer, **how)
    key = jax.random.key(run.seed)
    new = training.init_state(key, model.init(key), model.optimizer, run.ema_decays, run.power_ema)
    state = run.restore(new)
    done = int(state.step)
    with (
        contextlib.ExitStack() as started,
        interrupts.deferred() as received,
        feed(dataset, run.mesh, seed=run.seed, batch_size=run.batch_size, steps=run.steps, first=done) as batches,
        Progress(run.steps, batch_size=run.batch_size, first_step=done) as bar,
    ):
        for hook in hooks:
            started.callback(hook.close)
            hook.start(state)
        clock, signals = Clock(batches), Signals(received)
        while done < run.steps:
            state, metrics = train_step(state, next(batches))
            done += 1
            bar.update(done, metrics["loss"])
            clock.start(metrics)
            step = Step(done, done == run.steps or signals.stop(done), state, metrics, clock)
            for hook in hooks:
                hook.after(step)
            if step.last:
                break
    signals.leave(done)
    return hold(averaged(state, model.ema), run.fsdp)


def train_network(config: Config, workdir: Path, model: Trainable, dataset: Dataset) -> PyTree:
    """Trains a network to ``config.training.steps``, or continues the run in ``workdir``; returns its average.

    Raises:
      ConfigError: for fewer steps than the run has made, or another meaning of its weights.
      ProgramError: if another process trains into ``workdir``, all its checkpoints are damaged, or the loss stays not
        finite.
      SystemExit: after SIGTERM or Ctrl-C, once a checkpoint is saved.
    """
    with opened(config, workdir, dataset) as run:
        return fit(run, model, dataset, hooks_of(run, model, config))


def train(config: Config, dataset: Dataset, setup: Any, workdir: Path) -> PyTree:
    """``train`` of a task with one network, ``setup.trained``."""
    return train_network(config, workdir, setup.trained, dataset)


def hooks_of(run: Run, model: Trainable, config: Config) -> list[Hook]:
    """The hooks of a run. The line of a step is written before its checkpoint, which a resumed run relies on."""
    options = config.training
    hooks: list[Hook] = [
        SkipLimit(options.skip_limit),
        Log(run, options.log_every, options.checkpoint_every, learning_rate(options)),
    ]
    if (steps := steps_to_profile()) is not None:
        hooks.insert(0, Profile(run.workdir, *steps))
    if options.power_ema:
        every = options.snapshot_every or max(options.steps // 20, 1)
        hooks.append(Snapshots(run, every))
    hooks.append(Checkpoint(run, options.checkpoint_every, model.held_out, model.ema))
    if model.draw is not None:
        hooks.append(Images(run, options.sample_every, model.draw, model.ema))
    return hooks
