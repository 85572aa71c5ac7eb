"""A classifier of noisy data from a config: its network, its loss, its accuracy by noise level."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from ml_collections import ConfigDict

from experiments import data
from experiments.cli.choices import Choices
from experiments.cli.config import Config, ConfigError, leaves, lookup, require, require_field, to_text
from experiments.cli.fields import Field, Section
from experiments.data.dataset import Dataset
from experiments.models import choices
from experiments.models.networks import SIZES, module
from experiments.models.run_files import EVALUATED, check_weights, config_of, restore
from experiments.tasks.diffusion.build import build_schedule
from experiments.tasks.diffusion.fields import MODEL_FIELDS
from experiments.training import check_average
from scorekit import losses
from scorekit import times as time_samplers
from scorekit.arguments import Count
from scorekit.io import as_path
from scorekit.predictions import bounded_log_snr
from scorekit.typing import Array, PyTree, Schedule

CLASSIFIERS = Choices(
    {"unet_encoder": "scorekit.networks:Classifier"},
    "unet_encoder",
    "What is trained: the log-probabilities of the classes of a noisy example.",
    ("num_classes",),
    bounds=SIZES,
    adapt=module,
)

_CLEAN = 12.0
"""The log-SNR, in nats, above which noise does not change a pixel of 256 values: sigma is a third of a value."""


class Classifier(NamedTuple):
    """What a config describes; a ``clean`` one is trained at t = 0 and always conditioned on that noise level."""

    module: nn.Module
    schedule: Schedule
    times: time_samplers.TimeSampler
    clean: bool


class Curve(NamedTuple):
    """The accuracy on the test set by noise level, the last entry without noise; all ``(levels + 1,)``."""

    log_snr: np.ndarray
    accuracy: np.ndarray
    cross_entropy: np.ndarray


FIELDS = Section(
    noise_factor=MODEL_FIELDS["noise_factor"],
    schedule=MODEL_FIELDS["schedule"],
    classifier=CLASSIFIERS,
    loss=Section(
        times=MODEL_FIELDS["loss"]["times"],
        clean=Field(False, bool, "Train on clean data alone, without conditioning on the noise level."),
    ),
    evaluation=Section(
        levels=Field(21, Count(1, 10**6), """
            Noise levels at which the accuracy on the test set is measured, log-SNR from -10 to 10."""),
        draws=Field(8, Count(1, 10**6), "Draws of the noise per test example and level."),
        ema=EVALUATED,
    ),
)  # fmt: skip
"""The sections of a classifier's config beside ``data`` and ``training``."""


def check(config: Config, dataset: Dataset) -> None:
    """Validates relations between fields; compiles nothing."""
    data.check_not_symbols(config, dataset)
    require_field(config, "data.name", dataset.axes > 0, "a data set of images or sounds")
    labelled = dataset.labelled and dataset.num_classes > 1
    require(labelled, "data.label", config.data.get("label"), "left out, or another: a classifier needs classes")
    data.check_no_pitch(dataset)
    require_field(config, "schedule.name", config.schedule.name != "learned", "a schedule that is not trained")
    check_average(config, "evaluation.ema")


def build_classifier(config: Config, num_classes: int) -> Classifier:
    """Puts the parts of the config together."""
    schedule, times = build_schedule(config), choices.TIMES.build(config, "loss.times")
    module = CLASSIFIERS.build(config, "classifier", num_classes=num_classes)
    return Classifier(module, schedule, times, config.loss.clean)


def _logits(network, schedule, x_t, t):
    """A schedule of None is clean data at any t."""
    log_snr = _CLEAN if schedule is None else jnp.clip(bounded_log_snr(schedule, t), -_CLEAN, _CLEAN)
    return network(x_t, 0.25 * log_snr)


def logits(built: Classifier, params: PyTree) -> Callable[[Array, Array], Array]:
    """``(x_t, t) -> logits``, conditioned on log-SNR within +-12, always on 12 for a classifier of clean data."""
    return Partial(_logits, Partial(built.module.apply, params), None if built.clean else built.schedule)


def make_prepare(built: Classifier, dataset: Dataset):
    """``(key, batch) -> batch``: all randomness of a training step, at the global batch."""

    def prepare(key, batch):
        for_times, for_noise = jax.random.split(key)
        x = dataset.to_model(batch["x"])
        times = time_samplers.draw(for_times, built.times, built.schedule, x.shape[0])
        if built.clean:
            times = time_samplers.Times(jnp.zeros_like(times.t), jnp.ones_like(times.t))
        eps = jax.random.normal(for_noise, x.shape, x.dtype)
        return {"x": x, "label": jnp.asarray(batch["label"]), "eps": eps, "times": times}

    return prepare


def make_loss(built: Classifier):
    """``(params, prepared batch) -> (loss of each example, auxiliary values of each example)``."""

    def loss(params, batch):
        times = time_samplers.Times(*batch["times"])
        value, aux = losses.classification_loss_at(
            logits(built, params), built.schedule, batch["x"], batch["eps"], times, batch["label"]
        )
        return value, {"log_snr": aux.log_snr, "correct": aux.correct}

    return loss


def accuracy_by_noise(built: Classifier, dataset: Dataset, params: PyTree, levels: int, draws: int) -> Curve:
    """Accuracy and cross-entropy at ``levels`` log-SNRs from -10 to 10 and without noise, on the test set with
    ``draws`` draws of the noise."""

    @jax.jit
    def run(params, key, t, x, label):
        x = dataset.to_model(x)
        eps = jax.random.normal(key, x.shape, x.dtype)
        at = time_samplers.Times(jnp.full(x.shape[:1], t), jnp.ones(x.shape[:1]))
        _, aux = losses.classification_loss_at(logits(built, params), built.schedule, x, eps, at, label)
        return aux.correct, aux.cross_entropy

    x, label = (jnp.asarray(dataset.test[name]) for name in ("x", "label"))
    size = min(500, len(x))
    log_snr = np.append(np.linspace(-10.0, 10.0, levels), np.inf)
    ts = jnp.append(built.schedule.time_at(jnp.asarray(log_snr[:-1], jnp.float32)), 0.0)
    correct, entropy = np.zeros(levels + 1), np.zeros(levels + 1)
    for i, t in enumerate(ts):
        parts = [
            run(params, jax.random.key(d), t, x[start : start + size], label[start : start + size])
            for d in range(draws)
            for start in range(0, len(x) - size + 1, size)
        ]
        correct[i], entropy[i] = (float(np.mean(np.stack(values))) for values in zip(*parts, strict=True))
    return Curve(log_snr, correct, entropy)


def open_logits(config: Config, chosen: Any) -> Callable[[Array, Array], Array]:
    """``(x_t, t) -> logits`` of the classifier in ``chosen.workdir``, for the model of ``config``."""
    given, workdir = f"config.rules.classifier.workdir={chosen.workdir}", as_path(chosen.workdir)
    own = config_of(workdir, given, "classifier", Section(data=data.KINDS, **FIELDS))
    check_weights(own, workdir, chosen.step)
    for field in ("noise_factor", "schedule", "data.name", "data.set"):
        value_of = lambda c, field=field: data.field_of(c, "set") if field == "data.set" else lookup(c, field)
        theirs, ours = _summary(value_of(own)), _summary(value_of(config))
        if theirs != ours:
            raise ConfigError(
                f"{given}: was trained with config.{field}={theirs}, the model with {ours}; train another"
            )
    _, params = restore(given, workdir, chosen.step, own.evaluation.ema)
    num_classes = params["params"]["output"]["bias"].shape[0]
    return logits(build_classifier(own, num_classes), params)


def _summary(value: Any) -> str:
    """A value, or the name in a section with the fields that are set."""
    if not isinstance(value, ConfigDict):
        return to_text(value)
    values = [f"{name}={to_text(v)}" for name, v in leaves(value) if name != "name" and v is not None]
    return " ".join([str(value.name), *values])
