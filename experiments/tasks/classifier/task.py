"""A classifier of noisy data, for guidance, or one of clean data to compare it with.

The folder of the run then also holds ``accuracy.png``, the accuracy on the test set by noise level.
"""

import functools

from experiments import data
from experiments.cli import distributed
from experiments.reporting.report import Figure, Heading
from experiments.reporting.run_report import Findings
from experiments.tasks import task
from experiments.tasks.classifier import model as classifier
from experiments.tasks.classifier.report import accuracy_picture, classifier_table
from experiments.training import build_optimizer, loop
from experiments.training.held_out import held_out_loss
from experiments.training.loop import Trainable

FIELDS = task.fields("classifier", data.KINDS, **classifier.FIELDS)
OPENED_BY = "is a classifier; name it as --config.rules.classifier.workdir=… with the --workdir of a model"
load, resolve, train, drawn_by = data.build, task.unchanged, loop.train, task.draws_nothing
fields = lambda config=None: FIELDS


def build(config, dataset):
    classifier.check(config, dataset)
    model = classifier.build_classifier(config, dataset.num_classes)
    prepare, loss = classifier.make_prepare(model, dataset), classifier.make_loss(model)
    trained = Trainable(
        init=functools.partial(classifier.init_params, model, dataset.shape),
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
