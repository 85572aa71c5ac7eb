"""The rules that are compared, and the problems: classes in the plane with exact denoisers, and a trained model."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from experiments.configs import base
from experiments.models.runs import open_run
from scorekit import densities, guidance, metrics, schedules
from scorekit.typing import Array, Denoiser, Prediction, Schedule


class Problem(NamedTuple):
    """A conditional denoiser, and what its samples are compared with.

    Attributes:
      name: name in tables and plots.
      conditional: ``(x_t, t, labels) -> Prediction``, with its ``schedule``.
      labels: classes of the samples, each of this ``shape``.
      null: the null label, which is also the number of classes.
      accuracy: ``samples -> class accuracy``; ``real_accuracy`` is the accuracy of real data.
      real: real data ``(N, D)``; ``by_class``: ``(classes, samples / classes, D)``.
      bandwidth: bandwidth of the Vendi score.
      extra: further models for some rules: a weaker model, a classifier.
    """

    name: str
    conditional: Callable[[Array, Array, Array], Prediction]
    schedule: Schedule
    labels: np.ndarray
    null: int
    shape: tuple[int, ...]
    accuracy: Callable[[np.ndarray], float]
    real_accuracy: float
    real: np.ndarray
    by_class: np.ndarray
    bandwidth: float
    extra: dict[str, Callable]


LOW, HIGH = 0.15, 4.0
"""Bounds of the guidance interval, in sigma / alpha."""

RULES: dict[str, Callable[..., Denoiser]] = {
    "CFG": lambda c, u, s, g: guidance.classifier_free(c, u, g),
    "interval": lambda c, u, s, g: guidance.interval(guidance.classifier_free(c, u, g), c, s, LOW, HIGH),
    "increasing γ(t)": lambda c, u, s, g: guidance.classifier_free(c, u, guidance.weight_schedule(1.0, 2.0 * g - 1.0)),
    "rescale": lambda c, u, s, g: guidance.rescale(guidance.classifier_free(c, u, g), c, s, 0.7),
    "threshold": lambda c, u, s, g: guidance.dynamic_threshold(guidance.classifier_free(c, u, g), s, 0.99, 1.0),
    "APG": lambda c, u, s, g: guidance.apg(c, u, s, g, norm_threshold=2.5),
    "APG, momentum": lambda c, u, s, g: guidance.apg(c, u, s, g, momentum=-0.5, norm_threshold=2.5),
    "CFG++": lambda c, u, s, g: guidance.cfg_plus_plus(c, u, g / 10.0),  # at gamma / 10
    "CFG-Zero*": lambda c, u, s, g: guidance.cfg_zero_star(c, u, s, g),
    "tangential": lambda c, u, s, g: guidance.tangential(c, u, s, g),
    "frequency": lambda c, u, s, g: guidance.frequency_decoupled(c, u, g, (1.0, 0.5)),
}
"""``(cond, uncond, schedule, gamma) -> denoiser`` by the name in tables and plots."""
EULER = ("CFG++",)
"""Rules that are defined for DDIM."""
IMAGES = ("frequency", "threshold", "rescale")
"""Rules that are measured on images only."""

CLASSES, MODES = 4, 3


def classes_in_the_plane() -> densities.Mixture:
    """Twelve overlapping modes on a circle; every fourth one belongs to the same class, with weights 5 : 3 : 2."""
    ring = densities.ring(CLASSES * MODES, 1.4, 0.3)
    weights = np.repeat([0.5, 0.3, 0.2], CLASSES)  # mode k has class k % 4
    return densities.mixture(weights, [ring.component(k) for k in range(CLASSES * MODES)])


def _of_class(data, schedule, x, t, label):
    noisy = data.marginal(schedule.alpha(t), schedule.sigma(t))
    joint = jax.vmap(lambda c: c.log_density(x))(noisy.components) + noisy.log_weights[:, None]
    belongs = (label[None] == CLASSES) | (jnp.arange(CLASSES * MODES)[:, None] % CLASSES == label[None])
    weights = jax.nn.softmax(jnp.where(belongs, joint, -jnp.inf), axis=0)[..., None]
    each = jax.vmap(lambda c: c.predict(x, schedule.alpha(t), schedule.sigma(t)))(data.components)
    return jax.tree.map(lambda leaf: jnp.sum(weights * leaf, axis=0), each)


def _log_posterior(data, schedule, labels, x, t):
    noisy = data.marginal(schedule.alpha(t), schedule.sigma(t))
    each = noisy.responsibilities(x).reshape(len(labels), MODES, CLASSES).sum(axis=1)
    return jnp.log(each[jnp.arange(len(labels)), labels])


def mixture_problem(samples: int) -> Problem:
    """Classes in the plane, with exact denoisers and the exact classifier of every noise level."""
    data, schedule = classes_in_the_plane(), schedules.cosine()
    labels = np.arange(samples, dtype=np.int32) % CLASSES
    drawn, modes = data.sample_with_labels(jax.random.key(9), (12 * samples,))
    of_class = [np.asarray(drawn)[np.asarray(modes) % CLASSES == k][: samples // CLASSES] for k in range(CLASSES)]

    def accuracy(x, labels=labels):
        each = np.asarray(data.responsibilities(jnp.asarray(x))).reshape(len(x), MODES, CLASSES).sum(axis=1)
        return float(np.mean(each.argmax(axis=1) == labels))

    return Problem(
        name="mixture",
        conditional=Partial(_of_class, data, schedule),
        schedule=schedule,
        labels=labels,
        null=CLASSES,
        shape=(2,),
        accuracy=accuracy,
        real_accuracy=accuracy(np.asarray(drawn), np.asarray(modes) % CLASSES),
        real=np.concatenate(of_class),
        by_class=np.stack(of_class),
        bandwidth=0.3,
        extra={"log posterior": Partial(_log_posterior, data, schedule, labels)},
    )


def digits_problem(workdir: str, samples: int) -> Problem:
    """The network of a finished run, with its oldest checkpoint as the weaker model."""
    config, folder = base.saved(workdir), Path(workdir).expanduser()
    opened = open_run(config, folder)
    dataset, model = opened.dataset, opened.model
    train = np.asarray(dataset.to_model(dataset.train["x"]))
    test = np.asarray(dataset.to_model(dataset.test["x"]))
    classifier = metrics.fit_reference_classifier(train, dataset.train["label"])
    labels = np.arange(samples, dtype=np.int32) % dataset.num_classes
    flat = train.reshape(len(train), -1)
    by_class = [flat[dataset.train["label"] == k][:60] for k in range(dataset.num_classes)]
    distances = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in by_class]
    network = lambda params, x, t, labels: model.denoiser(params, labels)(x, t)
    extra = {}
    oldest = min(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
    if oldest < opened.step:
        weak = open_run(config, folder, oldest).params
        extra["weak"] = guidance.branches(Partial(network, weak), labels)[0]
    return Problem(
        name="digits",
        conditional=Partial(network, opened.params),
        schedule=model.schedule,
        labels=labels,
        null=dataset.num_classes,
        shape=model.shape,
        accuracy=lambda x: metrics.class_accuracy(classifier, x, labels),
        real_accuracy=metrics.class_accuracy(classifier, test, dataset.test["label"]),
        real=flat,
        by_class=np.stack([x[: samples // dataset.num_classes] for x in by_class]),
        bandwidth=0.5 * float(np.median(np.concatenate([d[d > 0] for d in distances]))),
        extra=extra,
    )
