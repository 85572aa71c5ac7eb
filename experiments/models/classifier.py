"""A classifier of noisy data, its loss and its accuracy by noise level, put together from a config."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from ml_collections import ConfigDict

from experiments.models import choices as build
from experiments.cli.config import (
    Config,
    ConfigError,
    check_config,
    choice,
    descend,
    filled,
    leaves,
    load_resolved,
    require,
    shown,
)
from experiments.configs import base_classifier
from experiments.data.dataset import Dataset
from scorekit import losses, training
from scorekit import times as time_samplers
from scorekit.predictions import bounded_log_snr
from scorekit.typing import Array, Key, PyTree, Schedule

_CLEAN = 12.0
"""The log-SNR, in nats, above which a pixel of 256 levels is not changed by the noise: sigma is a third of a level."""


class Classifier(NamedTuple):
    """What a config means, ready to use; a ``clean`` one is trained at t = 0 and always told that level."""

    module: nn.Module
    schedule: Schedule
    times: time_samplers.TimeSampler
    clean: bool


class Curve(NamedTuple):
    """The accuracy on the test set by noise level, the last without noise; all ``(levels + 1,)``."""

    log_snr: np.ndarray
    accuracy: np.ndarray
    cross_entropy: np.ndarray


def check(config: Config) -> None:
    """Refuses a config that cannot be run, before anything is compiled."""
    if "network" in config:
        raise ConfigError("config.network: this is the config of a model; train it with experiments.train")
    check_config(config, base_classifier.get_config())
    if config.data.name == "ring":
        raise ConfigError("config.data.name=ring: must be a data set of images")
    build.build_schedule(config)
    build.build_times(config)
    build.build_classifier(config, 10)
    build.check_training(config)
    choice("evaluation.ema", config.evaluation.ema, (*map(str, config.training.ema_decays), "none"))
    for field in ("levels", "draws"):
        require(config.evaluation[field] >= 1, f"evaluation.{field}", config.evaluation[field], "at least 1")


def build_classifier(config: Config, num_classes: int) -> Classifier:
    """Puts the pieces of the config together."""
    return Classifier(
        module=build.build_classifier(config, num_classes),
        schedule=build.build_schedule(config),
        times=build.build_times(config),
        clean=config.loss.clean,
    )


def init_params(built: Classifier, shape: tuple[int, ...], key: Key) -> PyTree:
    """The parameters before training, for examples of this shape."""
    return jax.jit(built.module.init)(key, jnp.zeros((1, *shape)), jnp.zeros(1))


def _told(network, schedule, x_t, t):
    return network(x_t, 0.25 * jnp.clip(bounded_log_snr(t, schedule), -_CLEAN, _CLEAN))


def _told_clean(network, x_t, t):
    del t
    return network(x_t, 0.25 * _CLEAN)


def logits(built: Classifier, params: PyTree) -> Callable[[Array, Array], Array]:
    """``(x_t, t) -> logits``; it is told the log-SNR within +-12, not t, and a clean one that of clean data always."""
    network = Partial(built.module.apply, params)
    return Partial(_told_clean, network) if built.clean else Partial(_told, network, built.schedule)


def make_prepare(built: Classifier, dataset: Dataset):
    """``(key, batch) -> batch``: all the randomness of a training step, at the global batch."""

    def prepare(key, batch):
        for_times, for_noise = jax.random.split(key)
        x = dataset.to_model(batch["x"])
        drawn = time_samplers.draw(for_times, x.shape[0], built.times, built.schedule)
        if built.clean:
            drawn = time_samplers.Times(jnp.zeros_like(drawn.t), jnp.ones_like(drawn.t))
        eps = jax.random.normal(for_noise, x.shape, x.dtype)
        return {"x": x, "label": jnp.asarray(batch["label"]), "eps": eps, "t": drawn.t, "weight": drawn.weight}

    return prepare


def make_loss(built: Classifier):
    """``(params, prepared batch) -> (per-example loss, per-example aux)``."""

    def loss(params, batch):
        drawn = time_samplers.Times(batch["t"], batch["weight"])
        value, aux = losses.classification_loss_at(
            logits(built, params), built.schedule, batch["x"], batch["eps"], drawn, batch["label"]
        )
        return value, {"log_snr": aux.log_snr, "correct": aux.correct}

    return loss


def held_out_loss(built: Classifier, dataset: Dataset):
    """``params -> loss`` on up to 1,000 test examples, always at the same noise and times."""
    few = 1000 if dataset.sample_rate is None else 256
    batch = {"x": dataset.test["x"][:few], "label": dataset.test["label"][:few]}
    prepared = jax.jit(make_prepare(built, dataset))(jax.random.key(0), batch)
    loss = make_loss(built)
    run = jax.jit(lambda params: loss(params, prepared)[0].mean())
    return lambda params: float(run(params))


def accuracy_by_noise(
    built: Classifier, dataset: Dataset, params: PyTree, levels: int, draws: int, batch_size: int = 500
) -> Curve:
    """The accuracy and cross-entropy at ``levels`` log-SNRs from -10 to 10 and without noise, on the test set under
    ``draws`` draws of the noise."""

    @jax.jit
    def run(params, key, t, x, label):
        x = dataset.to_model(x)
        eps = jax.random.normal(key, x.shape, x.dtype)
        at = time_samplers.Times(jnp.full(x.shape[:1], t), jnp.ones(x.shape[:1]))
        _, aux = losses.classification_loss_at(logits(built, params), built.schedule, x, eps, at, label)
        return aux.correct, aux.cross_entropy

    x, label = (jnp.asarray(dataset.test[name]) for name in ("x", "label"))
    size = min(batch_size, len(x))
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
    """``(x_t, t) -> logits`` of the classifier whose folder ``chosen.workdir`` names, for the model of ``config``.

    Raises:
      ConfigError: if there is no classifier there, or one of other data or another schedule.
    """
    given, workdir = f"config.rules.classifier.workdir={chosen.workdir}", Path(chosen.workdir).expanduser()
    path = workdir / "config.json"
    if not path.exists():
        raise ConfigError(
            f"{given}: there is no run here (no config.json); train one with experiments.train_classifier"
        )
    own: Config = load_resolved(path)
    if "classifier" not in own:
        raise ConfigError(f"{given}: this run is no classifier; train one with experiments.train_classifier")
    own = filled(own, base_classifier.get_config())
    check(own)
    for field in ("noise_factor", "schedule", "data.name"):
        theirs, ours = (_in_short(descend(c, field)) for c in (own, config))
        if theirs != ours:
            raise ConfigError(
                f"{given}: was trained with config.{field}={theirs}, the model with {ours}; train another"
            )
    average = None if own.evaluation.ema == "none" else own.evaluation.ema
    try:
        _, params = training.restore_params(workdir / "checkpoints", step=chosen.step, decay=average)
    except (ValueError, FileNotFoundError) as error:
        raise ConfigError(f"{given}: {error}") from error
    num_classes = params["params"]["output"]["bias"].shape[0]
    return logits(build_classifier(own, num_classes), params)


def _in_short(value: Any) -> str:
    """A value, or what a section names with the numbers that are set."""
    if not isinstance(value, ConfigDict):
        return shown(value)
    numbers = [f"{name}={shown(number)}" for name, number in leaves(value) if name != "name" and number is not None]
    return " ".join([str(value.name), *numbers])
