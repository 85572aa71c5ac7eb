"""Trains, samples and evaluates a model; the same command continues a run that was stopped.

    python -m experiments.train --config=experiments/configs/images/digits.py --workdir=runs/digits
    python -m experiments.train --config=… --workdir=… --config.training.steps=5000 --config.loss.target.name=eps

The folder ``workdir`` then holds ``report.html``, ``config.json``, ``metrics.jsonl``, TensorBoard events, pictures and
``checkpoints/``.
"""

import json
import time
from pathlib import Path

import jax
from absl import flags

from experiments.models import choices as build, model, rules
from experiments.cli import command_line, progress
from experiments.evaluation.run_metrics import run_metrics as evaluation
from experiments.training import loop
from experiments.reporting import pictures
from experiments.data.conditions import MAPS, dropout_rates
from experiments.cli.config import Config, ConfigError, check_config, descend, require
from experiments.configs import base
from experiments.data.dataset import Dataset, kind_of, load_dataset
from scorekit.io.files import write_atomic
from scorekit.training import TrainState
from scorekit.typing import PyTree

_CONFIG = flags.DEFINE_string("config", None, "Config file, such as experiments/configs/images/digits.py.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for everything that the run leaves behind.", required=True)
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Call jax.distributed.initialize() (clusters, TPU pods).")


def check(config: Config) -> None:
    """Refuses a config that cannot be run, before anything is compiled."""
    if "classifier" in config:
        raise ConfigError("config.classifier: this is the config of a classifier; train it with train_classifier")
    check_config(config, base.get_config())
    kind = kind_of(config.data.name)
    waveforms = kind in ("notes", "phrases") and config.data.form.name in (None, "waveform", "low_rate")
    allowed = ("mlp",) if kind == "points" else ("unet", "wavenet") if waveforms else ("unet",)
    if config.network.name not in allowed:
        raise ConfigError(
            f"config.network.name={config.network.name}: must be {' or '.join(allowed)} "
            f"for config.data.name={config.data.name}"
        )
    if kind == "points" and config.data.map.name != "none":
        raise ConfigError(f"config.data.map.name={config.data.map.name}: must be none for config.data.name=ring")
    if config.data.latents:
        for field, refused in {"data.map": set(MAPS) - {"none", "piano_roll"}, "data.vector": {"moments"}}.items():
            name = descend(config, field).name
            require(name not in refused, f"{field}.name", name, "one that does not read what the latents are of")
    build.check_choices(config)
    if rules.needs_files(config):
        raise ConfigError(
            f"config.guidance={','.join(config.guidance)}: {config.guidance[0]} reads what another run or checkpoint "
            f"left; train with another rule, and name it when sampling"
        )
    loop.check_devices(config)


def sampling_params(config: Config, state: TrainState) -> PyTree:
    """The parameters that samples are drawn from."""
    return state.params if config.sampling.ema == "none" else state.ema[config.sampling.ema]


def train(
    config: Config, workdir: Path, dataset: Dataset, built: model.Model, generate: evaluation.Generate
) -> TrainState:
    """Trains to ``config.training.steps``, from the newest checkpoint if there is one."""

    def draw(path, params, step):
        return pictures.sample_picture(path, config, dataset, generate, params, f"Samples after {step:,} steps")

    return loop.fit(
        config,
        workdir,
        dataset,
        params=model.init_params(built, jax.random.key(config.seed)),
        prepare=model.make_prepare(built, dataset, dropout_rates(config), config.loss.joint_dropout),
        loss=model.make_loss(built),
        averaged=lambda state: sampling_params(config, state),
        held_out=evaluation.held_out_loss(built, dataset),
        draw=draw,
    )


def main(config: Config) -> None:
    start = time.monotonic()
    if _DISTRIBUTED.value:
        jax.distributed.initialize()
    workdir = Path(_WORKDIR.value).expanduser().absolute()
    check(config)
    loop.check_same_run(config, workdir)
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
