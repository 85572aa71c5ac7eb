"""The fields of an autoencoder's config, with defaults: data and training are those of a model."""

from ml_collections import ConfigDict

from experiments.models import choices as build
from experiments.cli.config import Config, section
from experiments.configs import base


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    model = base.get_config()
    config: Config = ConfigDict()
    for name in ("seed", "training"):
        config[name] = model[name]
    config.data = ConfigDict()
    for name in ("name", "data_dir", "train_split", "test_split", "label", "crop", "form"):
        config.data[name] = model.data.get_ref(name) if model.data[name] is None else model.data[name]
    config.autoencoder = section(build.AUTOENCODERS, "convolutional", offered=("data_channels",))
    """With ``codes``, the latent is discrete: every vector of it is one of so many codes."""

    config.loss = loss = ConfigDict()
    loss.sample = 1.0
    """Weight of the squared error, in units of what the network sees."""
    loss.spectral = 1.0
    """Of sounds, weight of the multi-resolution STFT loss."""
    loss.noise = 0.1
    """Of a continuous latent: standard deviation of the noise that is added to it in training."""
    loss.kl = 1e-2
    """Of a continuous latent: weight of its divergence from a standard normal, in nats per latent number."""
    loss.commitment = 0.25
    """Of codes: weight of what draws the latent to its codes."""
    loss.revival = 0.1
    """Of codes: weight of what draws codes that are not in use to the latents."""

    config.evaluation = evaluation = ConfigDict()
    evaluation.num_samples = 500
    """Test examples that distances are measured on, at most."""
    evaluation.shown = 8
    """Reconstructions that are written."""
    evaluation.ema = "0.999"
    """Which average is evaluated and used: one of training.ema_decays, or "none"."""
    return config.lock()
