"""A classifier of noisy data, for guidance, and one of clean data to compare it with.

The folder of the run then also holds ``accuracy.png``; ``plain`` in it is the run of the classifier of clean data,
which can be used for guidance as well.
"""

import functools

from ml_collections import ConfigDict

from experiments import data
from experiments.cli import distributed
from experiments.cli.config import Config
from experiments.models.run_files import restore
from experiments.reporting.report import Figure, Heading
from experiments.reporting.run_report import Findings
from experiments.tasks import task
from experiments.tasks.classifier import model as classifier
from experiments.tasks.classifier.report import accuracy_picture, classifier_table
from experiments.training import build_optimizer, loop
from experiments.training.held_out import held_out_loss
from experiments.training.loop import Trainable
from experiments.training.run import check_same_run

FIELDS = task.fields("classifier", data.KINDS, **classifier.FIELDS)
OPENED_BY = "is a classifier; name it as --config.rules.classifier.workdir=… with the --workdir of a model"
load, resolve, drawn_by = data.build, task.unchanged, task.draws_nothing
fields = lambda config=None: FIELDS


def check_continues(config, workdir):
    check_same_run(config, workdir)
    if with_plain(config):
        check_same_run(plain_config(config), workdir / "plain")


def with_plain(config: Config) -> bool:
    """Whether a classifier of clean data is trained as well."""
    return config.evaluation.plain and not config.loss.clean


def plain_config(config: Config) -> Config:
    """The config of the same classifier on clean data alone."""
    plain: Config = ConfigDict(config.to_dict())
    plain.loss.clean, plain.evaluation.plain = True, False
    return plain.lock()


def build(config, dataset):
    classifier.check(config, dataset)
    model = classifier.build_classifier(config, dataset.num_classes)
    prepare, loss = classifier.make_prepare(model, dataset), classifier.make_loss(model)
    init, held_out = (
        lambda key: classifier.init_params(model, dataset.shape, key),
        held_out_loss(prepare, loss, dataset),
    )
    trained = Trainable(init, prepare, loss, build_optimizer(config.training), held_out, config.evaluation.ema)
    return task.Model(config, model, "classifier", trained)


def train(config, dataset, model, workdir):
    params = loop.train(config, dataset, model, workdir)
    if with_plain(config):
        print("training the classifier of clean data …", flush=True)
        plain = plain_config(config)
        loop.train(plain, dataset, build(plain, dataset), workdir / "plain")
    return params


open_run = functools.partial(task.open_run, load, build)


def evaluate(config, run, workdir, asked: task.Asked):
    options, dataset = config.evaluation, run.dataset
    measure = lambda model, params: classifier.accuracy_by_noise(model, dataset, params, options.levels, options.draws)
    curves = {"clean" if config.loss.clean else "noisy": measure(run.model, run.params)}
    if with_plain(config):
        plain = workdir / "plain"
        _, params = restore(f"--workdir={plain}", plain, None, options.ema)
        curves["clean"] = measure(build(plain_config(config), dataset).built, params)
    values = {name: {field: value.tolist() for field, value in c._asdict().items()} for name, c in curves.items()}
    for curve in values.values():
        curve["log_snr"][-1] = None  # no noise: JSON has no infinity
    path = f"{asked.figures(distributed.folder(workdir), 'accuracy')}.png"
    figure = accuracy_picture(path, curves, 1 / dataset.num_classes)
    return Findings(
        values,
        [classifier_table(curves, options.draws)],
        pictures=[Heading("Accuracy by noise level"), Figure(figure, "On the test set.")],
        title="classifier",
        loss="The cross-entropy as logged and its running mean.",
    )
