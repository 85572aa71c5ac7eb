"""Trains a classifier of noisy data for guidance, and one of clean data to compare it with.

    python -m experiments.train_classifier --config=experiments/configs/images/digits_classifier.py \
        --workdir=runs/classifier
    python -m experiments.sample --workdir=runs/digits --config.guidance=classifier \
        --config.rules.classifier.workdir=runs/classifier

The same command continues a run that was stopped. ``workdir`` then holds ``report.html``, ``config.json``,
``accuracy.png``, ``evaluation.json``, metrics and ``checkpoints/``; ``workdir/plain`` is the run of the classifier of
clean data, which can also be used for guidance.
"""

import time
from pathlib import Path

import jax
from ml_collections import ConfigDict

from experiments import data, training
from experiments.cli import command_line, distributed, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.configs import base_classifier
from experiments.data.dataset import Dataset
from experiments.models import classifier
from experiments.models.devices import everywhere
from experiments.models.loss import held_out_loss
from experiments.models.restoring import averaged
from experiments.models.runs import write_results
from experiments.models.sizes import COPIES, param_shapes
from experiments.reporting import plots
from experiments.reporting.pictures import training_sections
from experiments.reporting.report import ConfigSection, Figure, Heading, Section, tables_as_text, write_report
from experiments.reporting.tables import classifier_table
from experiments.training import lock, loop

_CONFIG, _WORKDIR = shared.config("Config file of a classifier."), shared.new_workdir()
shared.distributed()


def check(config: Config, workdir: Path) -> None:
    """Validates a config before anything is loaded or compiled."""
    base_classifier.check_fields(config)
    data.check(config)
    classifier.check(config)
    training.check(config)
    training.check_devices(config)
    loop.check_same_run(config, workdir)


def train(config: Config, workdir: Path, dataset: Dataset) -> classifier.Curve:
    """Trains one classifier to its last step and measures its accuracy by noise level."""
    built = classifier.build_classifier(config, dataset.num_classes)
    prepare, loss = classifier.make_prepare(built, dataset), classifier.make_loss(built)
    state = loop.fit(
        config,
        workdir,
        dataset,
        params=classifier.init_params(built, dataset.shape, jax.random.key(config.seed)),
        prepare=prepare,
        loss=loss,
        ema=config.evaluation.ema,
        held_out=held_out_loss(prepare, loss, dataset),
    )
    params, options = everywhere(averaged(state, config.evaluation.ema)), config.evaluation
    return classifier.accuracy_by_noise(built, dataset, params, options.levels, options.draws)


def plain_config(config: Config) -> Config:
    """The config of the same classifier on clean data alone."""
    plain: Config = ConfigDict(config.to_dict())
    plain.loss.clean, plain.evaluation.plain = True, False
    return plain.lock()


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = shared.path(_WORKDIR)
    check(config, workdir)
    with lock.hold(workdir):
        train_and_report(config, workdir, start)


def train_and_report(config: Config, workdir: Path, start: float) -> None:
    """Trains the classifiers, measures them and writes the report."""
    both = config.evaluation.plain and not config.loss.clean
    if both:
        loop.check_same_run(plain_config(config), workdir / "plain")
    dataset = data.load(config)
    built = classifier.build_classifier(config, dataset.num_classes)
    init = lambda: classifier.init_params(built, dataset.shape, jax.random.key(0))
    param_shapes(config, "classifier", init, copies=COPIES)
    curves = {"clean" if config.loss.clean else "noisy": train(config, workdir, dataset)}
    if both:
        print("training the classifier of clean data …", flush=True)
        curves["clean"] = train(plain_config(config), workdir / "plain", dataset)
    trained = time.monotonic() - start
    if not distributed.is_first():
        return
    table = classifier_table(curves, config.evaluation.draws)
    results = {name: {field: value.tolist() for field, value in c._asdict().items()} for name, c in curves.items()}
    for curve in results.values():
        curve["log_snr"][-1] = None  # no noise: JSON has no infinity
    write_results(workdir / "evaluation.json", results)
    figure = plots.accuracy_by_noise_level(
        workdir / "accuracy.png",
        next(iter(curves.values())).log_snr[:-1],
        {f"trained on {name} examples": c.accuracy[:-1] for name, c in curves.items()},
        chance=1 / dataset.num_classes,
    )
    sections: list[Section] = [Heading("Accuracy by noise level"), Figure(figure, "On the test set."), table]
    sections += training_sections(workdir, "The cross-entropy as logged and its running mean.")
    sections.append(ConfigSection((workdir / "config.json").read_text()))
    facts = {"data": dataset.name, "steps": config.training.steps, "training time": progress.duration(trained)}
    report = write_report(workdir / "report.html", f"scorekit: {dataset.name}, classifier", facts, sections)
    print(tables_as_text([table]))
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value, base_classifier.check_fields)
