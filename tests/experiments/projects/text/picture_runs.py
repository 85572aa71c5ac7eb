"""Runs with random parameters that the tests of pictures from captions share, each made when it is first asked for."""

import json

import jax
from parameters import random_like, random_params
from programs import captioned_squares, save_run, save_untrained

from experiments import data
from experiments.cli.config import save_resolved
from experiments.configs import base
from experiments.configs.images import smoke as classes
from experiments.configs.text import smoke, smoke_contrastive, smoke_decoder, smoke_prior
from experiments.models import run_files
from experiments.tasks.classifier import model as classifier
from experiments.tasks.contrastive import task
from experiments.tasks.diffusion.build import build_model
from experiments.tasks.latents import latent_data as latents
from experiments.tasks.latents import model as autoencoder


def transformer(config, patch=4):
    """The config with a small transformer, which compiles fast."""
    config.network.update(name="dit", width=16, depth=1, heads=2, patch=patch)
    config.sampling.steps = 3
    return config


def upper(config, size, factor=2):
    """The config of a stage that enlarges."""
    config.data.image_size = size
    config.conditions.map.update(name="average_pool", factor=factor)
    config.loss.update(map_noise=0.5, map_dropout=0.0)
    config.sampling.update(keep_map=True, map_noise=0.1)
    return config


class Runs:
    """``runs(name)`` is the folder of a run; all are of 24 pictures of 16 x 16 pixels with captions, or of digits."""

    def __init__(self, root):
        self.root = captioned_squares(root)

    def config(self, module=smoke, encoder=None, size=8, **fields):
        """A config of the captioned pictures."""
        config = module.get_config()
        config.data.path, config.conditions.captions.encoder = (
            str(self.root / "pictures"),
            str(self.root / "encoder.npz"),
        )
        config.data.image_size = size
        if encoder is not None:
            config.conditions.embeddings.encoder = str(self(encoder))
        config.data.update(fields)
        return config

    def __call__(self, name):
        folder = self.root / name
        if not folder.exists():
            getattr(self, f"_{name}")(folder)
        return folder

    def _low(self, folder):
        save_untrained(folder, transformer(self.config()))

    def _high(self, folder):
        save_untrained(folder, transformer(upper(self.config(), 16)))

    def _from_4(self, folder):
        save_untrained(folder, transformer(upper(self.config(), 16, factor=4)))

    def _crops(self, folder):
        save_untrained(folder, transformer(upper(self.config(image_crop=8), 16)))

    def _digits_4(self, folder):
        config = transformer(classes.get_config())
        config.data.image_size = 4
        save_untrained(folder, config)

    def _digits_8(self, folder):
        save_untrained(folder, transformer(upper(classes.get_config(), 8)))

    def _digits_classifier(self, folder):
        config = base.get_config("classifier")
        config.classifier.channels = 8
        built = classifier.build_classifier(config, 10)
        shapes = jax.eval_shape(lambda: classifier.init_params(built, (8, 8, 1), jax.random.key(0)))
        save_run(folder, config, random_like(shapes, 0.2))

    def _autoencoder(self, folder, size=None, **fields):
        """8 x 8 digits, or pictures of ``size``, to half the side."""
        config = base.get_config("autoencoder")
        config.data.update({"image_size": size, **fields})
        config.autoencoder.update(channels=8, multipliers=(1,), patch=2, latent_channels=3)
        dataset = data.build(config)
        built = autoencoder.build_latent(config, dataset)
        params = random_like(jax.eval_shape(lambda: autoencoder.init_params(built, 0)), 0.2)
        save_run(folder, config, params)
        found = autoencoder.statistics(autoencoder.make_encode(built, params), dataset)
        (folder / latents.STATISTICS).write_text(json.dumps(found))

    def _caption_autoencoder(self, folder):
        self._autoencoder(folder, 8, name="folder", path=str(self.root / "pictures"), image_mode="RGB")

    def _latent_digits(self, folder):
        config = transformer(classes.get_config(), patch=2)
        config.latents = str(self("autoencoder"))
        self._embedded(folder, config)

    def _latent_captions(self, folder):
        config = transformer(self.config(), patch=2)
        config.latents = str(self("caption_autoencoder"))
        self._embedded(folder, config)

    def _latent_upper(self, folder):
        config = upper(self.config(), 16)
        config.latents = str(self("caption_autoencoder"))
        folder.mkdir()
        save_resolved(transformer(config), folder / "config.json")

    def _contrastive(self, folder, seed=0, step=2):
        config = self.config(smoke_contrastive)
        built = task.build_encoders(config, data.build(config))
        shapes = jax.eval_shape(lambda: task.init_params(built, jax.random.key(0)))
        save_run(folder, config, random_like(shapes, 0.2, seed), step)

    def _other(self, folder):
        self._contrastive(folder, seed=1)

    def _unfinished(self, folder):
        self._contrastive(folder, step=1)

    def _prior(self, folder, encoder="contrastive", **fields):
        self._embedded(folder, self.config(smoke_prior, encoder, **fields))

    def _other_prior(self, folder):
        self._prior(folder, "other")

    def _blind_prior(self, folder):
        config = self.config(smoke_prior, "contrastive")
        config.conditions.captions.encoder, config.conditions.vector.name = None, "none"
        self._embedded(folder, config)

    def _decoder(self, folder):
        self._embedded(folder, transformer(self.config(smoke_decoder, "contrastive")))

    def _changed(self, folder):
        """A decoder whose encoder was trained again afterwards."""
        self._embedded(folder, transformer(self.config(smoke_decoder, "contrastive")), encoder="of before")

    def _early(self, folder):
        """A decoder whose encoder is not trained to its end."""
        text = (self("decoder") / "config.json").read_text().replace("/contrastive", "/unfinished")
        self("unfinished"), folder.mkdir()
        (folder / "config.json").write_text(text)
        (folder / "checkpoints").symlink_to(self("decoder") / "checkpoints")

    def _embedded(self, folder, config, encoder=None):
        """A run of what :func:`experiments.models.data.load` makes of the data."""
        dataset = data.load(config)
        extra = run_files.record(config, encoder or dataset.encoder)
        save_run(folder, config, random_params(build_model(config, dataset), 0.1), extra=extra)
