"""The fields of a classifier's config, with defaults: data, schedule and training are those of a model."""

from ml_collections import ConfigDict

from experiments.models import choices as build
from experiments.cli.config import Config, section
from experiments.configs import base


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    model = base.get_config()
    config: Config = ConfigDict()
    for name in ("seed", "noise_factor", "schedule", "training"):
        config[name] = model[name]
    fields = ("name", "data_dir", "train_split", "test_split", "label", "crop", "form")
    config.data = ConfigDict()
    for name in fields:
        config.data[name] = model.data.get_ref(name) if model.data[name] is None else model.data[name]
    config.classifier = section(build.CLASSIFIERS, "unet_encoder", offered=("num_classes",))

    config.loss = loss = ConfigDict()
    loss.times = section(build.TIMES, "uniform")
    loss.clean = False
    """Train on clean data alone, and tell the classifier nothing of the noise."""

    config.evaluation = evaluation = ConfigDict()
    evaluation.levels = 21
    """Noise levels at which the accuracy on the test set is measured, log-SNR from -10 to 10."""
    evaluation.draws = 8
    """Draws of the noise per test example and level."""
    evaluation.plain = True
    """Train beside it, in ``workdir/plain``, the same network on clean data alone, to compare with."""
    evaluation.ema = "0.999"
    """Which average is evaluated and used: one of training.ema_decays, or "none"."""
    return config.lock()
