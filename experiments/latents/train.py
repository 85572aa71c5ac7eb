"""Trains an autoencoder with a compact latent, for a diffusion model of latents.

    python -m experiments.latents.train --config=experiments/configs/latents/phrases_latent.py \
        --workdir=runs/phrases_latent
    python -m experiments.train --config=experiments/configs/latents/phrases_of_latents.py --workdir=runs/phrases \
        --config.data.latents=runs/phrases_latent

The same command continues a run that was stopped. ``workdir`` then holds ``report.html``, ``config.json``,
``evaluation.json``, reconstructions, metrics and ``checkpoints/``, and ``latents.json``: the mean and standard
deviation of each channel of the training latents, by which the latents of the model are standardised.
"""

import time
from pathlib import Path

import jax
import numpy as np

from experiments import data, training
from experiments.cli import command_line, distributed, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.configs import base_latent
from experiments.data.dataset import Dataset, held_out_of
from experiments.data.views import Sounds
from experiments.models import autoencoder
from experiments.models.devices import everywhere
from experiments.models.finite import check_samples
from experiments.models.latents import STATISTICS
from experiments.models.loss import held_out_loss
from experiments.models.restoring import averaged
from experiments.models.runs import write_results
from experiments.reporting import plots
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.pictures import training_sections
from experiments.reporting.report import ConfigSection, Figure, Heading, Section, Table, tables_as_text, write_report
from experiments.reporting.tables import reconstruction_table
from experiments.training import lock, loop
from scorekit.typing import PyTree

_CONFIG, _WORKDIR = shared.config("Config file of an autoencoder."), shared.new_workdir()
shared.distributed()


def check(config: Config, workdir: Path) -> None:
    """Validates a config before anything is loaded or compiled."""
    base_latent.check_fields(config)
    data.check(config)
    autoencoder.check(config)
    training.check(config)
    training.check_devices(config)
    loop.check_same_run(config, workdir)


def train(config: Config, workdir: Path, built: autoencoder.Latent) -> PyTree:
    """Trains to the last step; returns the parameters that are used."""
    prepare, loss = autoencoder.make_prepare(built), autoencoder.make_loss(built)
    state = loop.fit(
        config,
        workdir,
        built.dataset,
        params=autoencoder.init_params(built, config.seed),
        prepare=prepare,
        loss=loss,
        ema=config.evaluation.ema,
        held_out=held_out_loss(prepare, loss, built.dataset, built.dataset.max_reconstructed),
    )
    return everywhere(averaged(state, config.evaluation.ema))


def reconstructions(folder: Path, built: autoencoder.Latent, params: PyTree, encode, shown: int) -> Section:
    """Held-out examples, of each class as far as they go, with their reconstructions, written into ``folder``."""
    dataset: Dataset = built.dataset
    classes = np.unique(dataset.test["label"])[:shown]
    part = held_out_of(dataset, np.resize(classes, min(shown, len(dataset.test["x"]))))
    decode = jax.jit(lambda z: built.module.apply(params, z, method="decode"))
    back = np.asarray(dataset.from_model(decode(encode(part["x"]))))
    check_samples(back, f"the autoencoder in {folder.parent}", "reconstructions")
    versions = {"held out": dataset.real(part), "reconstruction": back}
    caption, labels = "Held-out examples and their reconstructions.", part["label"].tolist()
    view = dataset.view(back)
    if isinstance(view, Sounds):
        return audio_widgets(folder, versions, view.sample_rate, row_labels=labels, caption=caption)
    return Figure(plots.comparison(folder / "reconstructions.png", versions, row_labels=labels), caption)


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = shared.path(_WORKDIR)
    check(config, workdir)
    with lock.hold(workdir):
        train_and_report(config, workdir, start)


def train_and_report(config: Config, workdir: Path, start: float) -> None:
    """Trains the autoencoder, measures it and writes the report."""
    dataset = data.load(config)
    built = autoencoder.build_latent(config, dataset)
    params = train(config, workdir, built)
    trained = time.monotonic() - start
    print("measuring …", flush=True)
    if not distributed.is_first():
        return
    encode = autoencoder.make_encode(built, params)
    parts = {"training data": dataset.train, "held-out data": dataset.test}
    few = {name: {"x": part["x"][: config.evaluation.num_samples]} for name, part in parts.items()}
    metrics = {name: autoencoder.measure(built, params, part) for name, part in few.items()}
    size = autoencoder.compression(built)
    write_results(workdir / "evaluation.json", {**metrics, "size": size})
    shown = reconstructions(workdir / "reconstructions", built, params, encode, config.evaluation.shown)
    write_results(workdir / STATISTICS, autoencoder.statistics(encode, dataset))
    table = reconstruction_table(metrics)
    sections: list[Section] = [Heading("Reconstructions"), shown, Heading("Distances"), table]
    sections.append(Table(list(size), [list(size.values())], "The size of one example and of its latent."))
    sections += training_sections(workdir)
    sections.append(ConfigSection((workdir / "config.json").read_text()))
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
    command_line.run(main, lambda: _CONFIG.value, base_latent.check_fields)
