"""A classifier of noisy data, for guidance, or one of clean data to compare it with.

The folder of the run then also holds ``accuracy.png``, the accuracy on the test set by noise level.
"""

import functools
import math
from pathlib import Path

import jax
import jax.numpy as jnp

from experiments import data
from experiments.cli import distributed
from experiments.reporting.curves import NOISE_AXIS, Panel, curves, lines
from experiments.reporting.png import PathLike
from experiments.reporting.report import Figure, Heading
from experiments.reporting.run_report import Findings
from experiments.reporting.tables import Table
from experiments.tasks import task
from experiments.tasks.classifier import model as classifier
from experiments.tasks.classifier.model import Curve
from experiments.training import build_optimizer, loop
from experiments.training.loop import Trainable, held_out_loss

FIELDS = task.fields("classifier", data.KINDS, **classifier.FIELDS)
OPENED_BY = "is a classifier; name it as --config.rules.classifier.workdir=… with the --workdir of a model"
load, resolve, train, drawn_by = data.build, task.unchanged, loop.train, task.draws_nothing
fields = lambda config=None: FIELDS


def build(config, dataset):
    classifier.check(config, dataset)
    model = classifier.build_classifier(config, dataset.num_classes)
    prepare, loss = classifier.make_prepare(model, dataset), classifier.make_loss(model)
    trained = Trainable(
        init=lambda key: jax.jit(model.module.init)(key, jnp.zeros((1, *dataset.shape)), jnp.zeros(1)),
        prepare=prepare,
        loss=loss,
        optimizer=build_optimizer(config.training),
        held_out=held_out_loss(prepare, loss, dataset),
        ema=config.evaluation.ema,
    )
    return task.Setup(config, model, "classifier", trained)


open_run = functools.partial(task.open_run, load, build)


def evaluate(config, run, workdir, asked: task.Asked):
    options, dataset = config.evaluation, run.dataset
    curve = classifier.accuracy_by_noise(run.model, dataset, run.params, options.levels, options.draws)
    values = {field: value.tolist() for field, value in curve._asdict().items()}
    values["log_snr"][-1] = None  # no noise: JSON has no infinity
    path = f"{asked.figures(distributed.folder(workdir), 'accuracy')}.png"
    figure = accuracy_picture(path, curve, 1 / dataset.num_classes)
    return Findings(
        values,
        [classifier_table(curve, options.draws)],
        pictures=[Heading("Accuracy by noise level"), Figure(figure, "On the test set.")],
        title="classifier",
        loss="The cross-entropy as logged and its running mean.",
    )


def accuracy_picture(path: PathLike, curve: Curve, chance: float) -> Path:
    """The accuracy by noise level, without the entry of no noise; ``chance`` is the accuracy of guessing."""
    accuracy = lines(curve.log_snr[:-1], {"classifier": curve.accuracy[:-1]})
    label, guess = "share of test examples classified rightly", {f"guessing, {chance:.2g}": chance}
    return curves(
        path, [Panel(accuracy, NOISE_AXIS, label, "Accuracy by noise level", guess, axes={"ylim": (0, 1.03)})]
    )


def classifier_table(curve: Curve, draws: int) -> Table:
    """Accuracy and cross-entropy by noise level, with ``draws`` draws of the noise."""
    rows = []
    for level, accuracy, entropy in zip(*map(list, curve), strict=True):
        noise = [float(level), math.exp(-level / 2)] if math.isfinite(level) else ["no noise", 0.0]
        rows.append([*noise, float(accuracy), float(entropy)])
    caption = f"On the held-out test set, {draws} draws of the noise; cross-entropy in nats."
    return Table(["log-SNR", "σ / α", "accuracy", "cross-entropy"], rows, caption)
