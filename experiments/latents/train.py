"""Trains an autoencoder with a compact latent, for a diffusion model that works on latents.

    python -m experiments.latents.train --config=experiments/configs/latents/phrases_latent.py --workdir=runs/phrases_latent
    python -m experiments.train --config=experiments/configs/latents/phrases_of_latents.py --workdir=runs/phrases \\
        --config.data.latents=runs/phrases_latent

The same command continues a run that was stopped. ``workdir`` then holds ``report.html``, ``config.json``,
``evaluation.json``, reconstructions, metrics and ``checkpoints/``, and ``latents.json``: the mean and standard
deviation of each channel of the training latents, by which the model's latents are standardised.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.models import autoencoder as latent_model
from experiments.training import loop
from experiments.reporting import pictures, audio_widgets as players, plots
from experiments.cli.config import Config
from experiments.data.dataset import Dataset, held_out_of, load_dataset
from experiments.models.latents import STANDARD
from experiments.reporting.report import Config as ConfigText
from experiments.reporting.report import Figure, Heading, Section, Table, tables_as_text, write_report
from scorekit.io.files import write_atomic
from scorekit.training import TrainState
from scorekit.typing import PyTree

_CONFIG = flags.DEFINE_string("config", None, "Config file of an autoencoder.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for everything that the run leaves behind.", required=True)


def check(config: Config, workdir: Path) -> None:
    """Refuses a config that cannot be run, before anything is compiled."""
    latent_model.check(config)
    loop.check_devices(config)
    loop.check_same_run(config, workdir)


def train(config: Config, workdir: Path, dataset: Dataset, built: latent_model.Latent) -> PyTree:
    """Trains to the last step; returns the parameters that are used."""
    ema = config.evaluation.ema

    def averaged(state: TrainState) -> PyTree:
        return state.params if ema == "none" else state.ema[ema]

    state = loop.fit(
        config,
        workdir,
        dataset,
        params=latent_model.init_params(built, dataset, config.seed),
        prepare=latent_model.make_prepare(built, dataset),
        loss=latent_model.make_loss(built),
        averaged=averaged,
        held_out=latent_model.held_out_loss(built, dataset),
    )
    return averaged(state)


def reconstructions(
    folder: Path, built: latent_model.Latent, dataset: Dataset, params: PyTree, encode, shown: int
) -> Section:
    """Held-out examples, of each class as far as they go, beside what comes back of them, written into ``folder``."""
    classes = np.unique(dataset.test["label"])[:shown]
    part = held_out_of(dataset, np.resize(classes, min(shown, len(dataset.test["x"]))))
    decode = jax.jit(lambda z: built.module.apply(params, z, method="decode"))
    back = np.asarray(dataset.from_model(decode(encode(part["x"]))))
    real = dataset.real(part)
    caption = "Held-out examples and their reconstructions."
    if dataset.sample_rate is not None:
        versions = {"held out": real, "reconstruction": back}
        return players.players(
            folder, versions, dataset.sample_rate, row_labels=part["label"].tolist(), caption=caption
        )
    columns = {"held out": real, "reconstruction": back}
    picture = plots.comparison(folder / "reconstructions.png", columns, row_labels=part["label"].tolist())
    return Figure(picture, caption)


def table_of(numbers: Mapping[str, Mapping[str, float]]) -> Table:
    """Distances of reconstructions, by the part of the data."""
    names = list(next(iter(numbers.values())))
    rows = [[name, *(found[name] for found in numbers.values())] for name in names]
    caption = "Means over examples. Root mean square errors in units of what the network sees."
    return Table(["", *numbers], rows, caption)


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = Path(_WORKDIR.value).expanduser().absolute()
    check(config, workdir)
    dataset = load_dataset(config)
    built = latent_model.build_latent(config, dataset)
    params = train(config, workdir, dataset, built)
    trained = time.monotonic() - start
    print("measuring …", flush=True)
    encode = latent_model.make_encode(built, dataset, params)
    most = config.evaluation.num_samples
    parts = {"training data": dataset.train, "held-out data": dataset.test}
    few = {name: {"x": part["x"][:most]} for name, part in parts.items()}
    numbers = {name: latent_model.measure(built, dataset, params, part) for name, part in few.items()}
    size = latent_model.compression(built, dataset)
    write_atomic(workdir / "evaluation.json", json.dumps({**numbers, "size": size}, indent=2) + "\n")
    shown = reconstructions(workdir / "reconstructions", built, dataset, params, encode, config.evaluation.shown)
    write_atomic(workdir / STANDARD, json.dumps(latent_model.standard(encode, dataset), indent=2) + "\n")
    table = table_of(numbers)
    sections: list[Section] = [Heading("Reconstructions"), shown, Heading("Distances"), table]
    sections.append(Table(list(size), [list(size.values())], "The size of one example and of its latent."))
    loss = pictures.training_picture(workdir / "training.png", workdir / "metrics.jsonl")
    if loss:
        sections += [Heading("Training"), Figure(loss, "The loss as logged and its running mean.")]
    sections.append(ConfigText((workdir / "config.json").read_text()))
    facts = {
        "data": dataset.name,
        "network": f"{progress.human(sum(x.size for x in jax.tree.leaves(params)))} parameters",
        "compression factor": size["compression factor"],
        "steps": config.training.steps,
        "training time": progress.duration(trained),
    }
    report = write_report(workdir / "report.html", f"scorekit: {dataset.name}, autoencoder", facts, sections)
    print(tables_as_text([table]))
    print(", ".join(f"{name} {value:,.4g}" for name, value in size.items()))
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value)
