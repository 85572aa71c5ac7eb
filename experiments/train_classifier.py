"""Trains a classifier of noisy data for guidance, and a plain one of clean data to compare it with.

    python -m experiments.train_classifier --config=experiments/configs/images/digits_classifier.py --workdir=runs/classifier
    python -m experiments.sample --workdir=runs/digits --config.guidance=classifier \\
        --config.rules.classifier.workdir=runs/classifier

The same command continues a run that was stopped. ``workdir`` then holds ``report.html``, ``config.json``,
``accuracy.png``, ``evaluation.json``, metrics and ``checkpoints/``; ``workdir/plain`` is the run of the plain
classifier, which guidance takes as well.
"""

import json
import math
import time
from pathlib import Path

import jax
from absl import flags
from ml_collections import ConfigDict

from experiments.models import classifier
from experiments.cli import command_line, progress
from experiments.training import loop
from experiments.reporting import pictures, plots
from experiments.cli.config import Config
from experiments.data.dataset import Dataset, load_dataset
from experiments.reporting.report import Config as ConfigText
from experiments.reporting.report import Figure, Heading, Section, Table, tables_as_text, write_report
from scorekit.io.files import write_atomic

_CONFIG = flags.DEFINE_string("config", None, "Config file of a classifier.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for everything that the run leaves behind.", required=True)


def check(config: Config, workdir: Path) -> None:
    """Refuses a config that cannot be run, before anything is compiled."""
    classifier.check(config)
    loop.check_devices(config)
    loop.check_same_run(config, workdir)


def train(config: Config, workdir: Path, dataset: Dataset) -> classifier.Curve:
    """Trains one classifier to its last step and measures it."""
    built, ema = classifier.build_classifier(config, dataset.num_classes), config.evaluation.ema
    averaged = lambda state: state.params if ema == "none" else state.ema[ema]
    state = loop.fit(
        config,
        workdir,
        dataset,
        params=classifier.init_params(built, dataset.shape, jax.random.key(config.seed)),
        prepare=classifier.make_prepare(built, dataset),
        loss=classifier.make_loss(built),
        averaged=averaged,
        held_out=classifier.held_out_loss(built, dataset),
    )
    levels, draws = config.evaluation.levels, config.evaluation.draws
    return classifier.accuracy_by_noise(built, dataset, averaged(state), levels, draws)


def plain_config(config: Config) -> Config:
    """The config of the same classifier on clean data alone."""
    plain: Config = ConfigDict(config.to_dict())
    plain.loss.clean, plain.evaluation.plain = True, False
    return plain.lock()


def table_of(curves: dict[str, classifier.Curve], draws: int) -> Table:
    """Accuracy and cross-entropy by noise level, one column a classifier."""
    first = next(iter(curves.values()))
    header = ["log-SNR", "σ / α", *(f"accuracy, {n}" for n in curves), *(f"cross-entropy, {n}" for n in curves)]
    rows = []
    for i, level in enumerate(first.log_snr):
        noise = [float(level), math.exp(-level / 2)] if math.isfinite(level) else ["no noise", 0.0]
        accuracies = [float(c.accuracy[i]) for c in curves.values()]
        rows.append([*noise, *accuracies, *(float(c.cross_entropy[i]) for c in curves.values())])
    caption = (
        f"By what a classifier was trained on, noisy examples or clean ones. On the held-out test set, {draws} draws "
        "of the noise; cross-entropy in nats."
    )
    return Table(header, rows, caption)


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = Path(_WORKDIR.value).expanduser().absolute()
    check(config, workdir)
    both = config.evaluation.plain and not config.loss.clean
    if both:
        loop.check_same_run(plain_config(config), workdir / "plain")
    dataset = load_dataset(config)
    curves = {"clean" if config.loss.clean else "noisy": train(config, workdir, dataset)}
    if both:
        print("training the plain classifier …", flush=True)
        curves["clean"] = train(plain_config(config), workdir / "plain", dataset)
    trained = time.monotonic() - start
    table = table_of(curves, config.evaluation.draws)
    numbers = {name: {field: value.tolist() for field, value in c._asdict().items()} for name, c in curves.items()}
    for curve in numbers.values():
        curve["log_snr"][-1] = None  # no noise: JSON has no infinity
    write_atomic(workdir / "evaluation.json", json.dumps(numbers, indent=2) + "\n")
    first = next(iter(curves.values()))
    figure = plots.accuracy_by_noise_level(
        workdir / "accuracy.png",
        first.log_snr[:-1],
        {f"trained on {name} examples": c.accuracy[:-1] for name, c in curves.items()},
        chance=1 / dataset.num_classes,
    )
    sections: list[Section] = [Heading("Accuracy by noise level"), Figure(figure, "On the test set."), table]
    loss = pictures.training_picture(workdir / "training.png", workdir / "metrics.jsonl")
    if loss:
        sections += [Heading("Training"), Figure(loss, "The cross-entropy as logged and its running mean.")]
    sections.append(ConfigText((workdir / "config.json").read_text()))
    facts = {"data": dataset.name, "steps": config.training.steps, "training time": progress.duration(trained)}
    report = write_report(workdir / "report.html", f"scorekit: {dataset.name}, classifier", facts, sections)
    print(tables_as_text([table]))
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value)
