"""Trains, samples and evaluates a model; the same command continues a run that was stopped.

    python -m experiments.train --config=experiments/configs/digits.py --workdir=runs/digits
    python -m experiments.train --config=… --workdir=… --config.training.steps=5000 --config.loss.target.name=eps

The folder ``workdir`` then holds ``report.html``, ``config.json``, ``metrics.jsonl``, TensorBoard events, pictures and
``checkpoints/``.
"""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
from absl import flags

from experiments import build, command_line, evaluation, model, pictures, progress
from experiments.config import Config, ConfigError, check_config, leaves, load_resolved, save_resolved
from experiments.configs import base
from experiments.datasets import Dataset, load_dataset
from experiments.files import write_atomic
from experiments.writers import MetricWriter
from scorekit import training
from scorekit.training import TrainState
from scorekit.typing import PyTree

_CONFIG = flags.DEFINE_string("config", None, "Config file, such as experiments/configs/digits.py.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for everything that the run leaves behind.", required=True)
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Call jax.distributed.initialize() (clusters, TPU pods).")

_FREE = ("sampling.", "evaluation.", "training.steps", "training.log_every", "training.sample_every",
         "training.checkpoint_every", "training.keep", "training.parallel", "training.model_axis",
         "training.shard_params")  # fmt: skip
"""Fields that may change when a run continues."""


def check(config: Config) -> None:
    """Refuses a config that cannot be run, before anything is compiled."""
    check_config(config, base.get_config())
    points = config.data.name == "ring"
    if points != (config.network.name == "mlp"):
        raise ConfigError(
            f"config.network.name={config.network.name}: must be {'mlp' if points else 'unet'} "
            f"for config.data.name={config.data.name}"
        )
    build.check_choices(config)
    devices, training_ = jax.device_count(), config.training
    if devices % training_.model_axis:
        raise ConfigError(f"config.training.model_axis={training_.model_axis}: must divide the {devices} devices")
    parts = devices // training_.model_axis * training_.accumulate
    if training_.batch_size % parts:
        raise ConfigError(
            f"config.training.batch_size={training_.batch_size}: must be a multiple of {parts} "
            f"(data devices × config.training.accumulate)"
        )
    if training_.parallel == "pmap" and (training_.model_axis > 1 or training_.shard_params):
        raise ConfigError("config.training.parallel=pmap: needs model_axis=1 and shard_params=false")


def check_same_run(config: Config, workdir: Path) -> None:
    """Refuses to continue a run with a config that would not have led to it."""
    path = workdir / "config.json"
    if not path.exists():
        return
    old, new = dict(leaves(load_resolved(path))), dict(leaves(config))
    for field in new:
        if old.get(field) != new[field] and not field.startswith(_FREE):
            raise ConfigError(
                f"config.{field}={new[field]}: the run in {workdir} has {old.get(field)}; use another --workdir, "
                f"or the old value to continue it"
            )


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collects SIGTERM instead of dying of it."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def sampling_params(config: Config, state: TrainState) -> PyTree:
    """The parameters that samples are drawn from."""
    return state.params if config.sampling.ema == "none" else state.ema[config.sampling.ema]


def train(
    config: Config, workdir: Path, dataset: Dataset, built: model.Model, generate: evaluation.Generate
) -> TrainState:
    """Trains to ``config.training.steps``, from the newest checkpoint if there is one."""
    options = config.training
    key = jax.random.key(config.seed)
    optimizer = training.make_optimizer(
        options.learning_rate, options.warmup_steps, options.steps, options.final_fraction, options.clip_norm,
        options.weight_decay,
    )  # fmt: skip
    mesh = training.make_mesh(options.model_axis)
    params = model.init_params(built, key)
    state = training.init_state(key, params, optimizer, options.ema_decays)
    state = training.place_state(state, mesh, options.shard_params)
    step_fn = training.make_train_step(
        model.make_prepare(built, dataset, config.loss.label_dropout),
        model.make_loss(built),
        optimizer,
        mesh=mesh,
        parallel=options.parallel,
        shard_params=options.shard_params,
        accumulate=options.accumulate,
    )
    held_out = evaluation.held_out_loss(built, dataset)
    chief = jax.process_index() == 0
    with (
        training.Checkpoints(workdir / "checkpoints", options.keep, keep_best=1, metric="held_out") as checkpoints,
        stop_requests() as stop,
    ):
        restored = checkpoints.restore_latest(state)
        first = 0
        if restored is not None:
            first, state = restored.step, training.place_state(restored.state, mesh, options.shard_params)
        if chief:
            save_resolved(config, workdir / "config.json")
            summary = progress.summary_lines(
                jax.devices(), jax_version=jax.__version__, data=dataset.name, examples=dataset.examples,
                parameters=sum(x.size for x in jax.tree.leaves(state.params)), batch_size=options.batch_size,
                steps=options.steps, workdir=str(workdir), first_step=first,
            )  # fmt: skip
            print("\n".join(summary), flush=True)
        with (
            MetricWriter(workdir, resume_step=first if restored else None) as writer,
            progress.Progress(options.steps, batch_size=options.batch_size, first_step=first) as bar,
        ):
            for done in range(first + 1, options.steps + 1):
                batch = dataset.batch(config.seed, done - 1, options.batch_size)
                progress_now = (done - 1) / max(options.steps - 1, 1)
                batch["progress"] = np.full(options.batch_size, progress_now, np.float32)
                state, metrics = step_fn(state, batch)
                if chief:
                    bar.update(done, metrics["loss"])
                stopping = bool(stop)  # looked at once: a signal later in this step waits for the next
                last = done == options.steps or stopping
                if done % options.log_every == 0 or last:
                    training.check_finite(state, options.skip_limit)
                    values = {"train/loss": metrics["loss"], "train/grad_norm": metrics["grad_norm"],
                              "train/skipped": state.skipped}  # fmt: skip
                    writer.scalars(done, {name: np.asarray(value) for name, value in values.items()})
                if done % options.checkpoint_every == 0 or last:
                    score = held_out(sampling_params(config, state))
                    writer.scalars(done, {"held_out/loss": score})
                    checkpoints.save(done, state, {"held_out": score}, {"seed": config.seed, "next_batch": done})
                if done % options.sample_every == 0 and done < options.steps and chief:
                    path = workdir / "samples" / f"step_{done:07d}.png"
                    title = f"Samples after {done:,} steps"
                    pictures.sample_picture(path, config, dataset, generate, sampling_params(config, state), title)
                    writer.picture(done, "samples", path)
                if stopping:
                    checkpoints.wait()
                    print(f"stopped at step {done:,} and saved; the same command continues", flush=True)
                    raise SystemExit(143)
        checkpoints.wait()
    return state


def main(config: Config) -> None:
    start = time.monotonic()
    if _DISTRIBUTED.value:
        jax.distributed.initialize()
    workdir = Path(_WORKDIR.value).expanduser().absolute()
    check(config)
    check_same_run(config, workdir)
    dataset = load_dataset(config)
    built = model.build_model(config, dataset)
    generate = model.make_sampler(config, built, dataset)
    state = train(config, workdir, dataset, built, generate)
    if jax.process_index() == 0:
        trained = time.monotonic() - start
        print("sampling and evaluating …", flush=True)
        params = sampling_params(config, state)
        drawn = pictures.final_pictures(workdir, config, built, dataset, generate, params)
        found = evaluation.evaluate(config, built, dataset, params, generate)
        write_atomic(workdir / "evaluation.json", json.dumps(found.numbers, indent=2) + "\n")
        facts = {
            "network": f"{progress.human(sum(x.size for x in jax.tree.leaves(params)))} parameters",
            "steps": config.training.steps,
            "training time": progress.duration(trained),
        }
        report = pictures.final_report(workdir, config, dataset, found, drawn, facts)
        print(evaluation.as_text(found))
        print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value)
