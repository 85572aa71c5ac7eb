"""What :mod:`.guidance` steers: classes in the plane with exact denoisers, and a trained model."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from experiments import judge
from experiments.cli import command_line
from experiments.models import model
from experiments.models import runs as checkpoint
from scorekit import densities, guidance, schedules
from scorekit.typing import Array, Prediction, Schedule


class Problem(NamedTuple):
    """A conditional denoiser, its labels, and how its samples are judged."""

    name: str
    conditional: Callable[[Array, Array, Array], Prediction]
    schedule: Schedule
    labels: np.ndarray
    null: int
    shape: tuple[int, ...]
    accuracy: Callable[[np.ndarray], float]
    real_accuracy: float  # of the judge on real data
    real: np.ndarray  # (N, D)
    by_class: np.ndarray  # (classes, samples / classes, D), of the real data
    bandwidth: float  # of the Vendi score
    extra: dict[str, Callable]  # what some rules need: a weaker model, a classifier


CLASSES, MODES = 4, 3


def classes_in_the_plane() -> densities.Mixture:
    """Twelve modes on a circle, wide enough to overlap; every fourth one, with weights 5 : 3 : 2, is a class."""
    angles = 2 * np.pi * np.arange(CLASSES * MODES) / (CLASSES * MODES)
    means = 1.4 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    weights = np.repeat([0.5, 0.3, 0.2], CLASSES)  # mode k has class k % 4
    return densities.mixture(weights, [densities.gaussian(jnp.asarray(m, float), std=0.3) for m in means])


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
    """The plane, with exact denoisers and an exact classifier of every noise level."""
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
    """The network of a finished run, and its oldest checkpoint as the weaker model."""
    config = command_line.load_config(checkpoint.config_path(workdir))
    folder = Path(workdir).expanduser()
    opened = checkpoint.open_experiment(config, folder, None)
    dataset, built = opened.dataset, opened.model
    train = np.asarray(dataset.to_model(dataset.train["x"]))
    expert = judge.fit_judge(train, dataset.train["label"])
    labels = np.arange(samples, dtype=np.int32) % dataset.num_classes
    flat = train.reshape(len(train), -1)
    near = [flat[dataset.train["label"] == k][:60] for k in range(dataset.num_classes)]
    distances = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in near]
    network = lambda params, x, t, labels: model.denoiser(built, params, labels)(x, t)
    extra = {}
    oldest = min(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
    if oldest < opened.step:
        weak = checkpoint.open_experiment(config, folder, oldest).params
        extra["weak"] = guidance.branches(Partial(network, weak), labels)[0]
    return Problem(
        name="digits",
        conditional=Partial(network, opened.params),
        schedule=built.schedule,
        labels=labels,
        null=dataset.num_classes,
        shape=built.shape,
        accuracy=lambda x: judge.class_accuracy(expert, x, labels),
        real_accuracy=judge.real_accuracy(
            expert, np.asarray(dataset.to_model(dataset.test["x"])), dataset.test["label"]
        ),
        real=flat,
        by_class=np.stack([x[: samples // dataset.num_classes] for x in near]),
        bandwidth=0.5 * float(np.median(np.concatenate([d[d > 0] for d in distances]))),
        extra=extra,
    )
