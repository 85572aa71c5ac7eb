"""Runs with random parameters that the tests of images from captions share, each made when it is first asked for."""

import jax
import small_configs
from parameters import random_like, random_params
from programs import captioned_squares, save_run, save_untrained

from experiments import data
from experiments.configs.images import smoke as classes
from experiments.models import run_files
from experiments.tasks.contrastive import task
from experiments.tasks.diffusion.build import build_model


def transformer(config):
    """The config with a small transformer, which compiles fast."""
    config.network.update(name="dit", width=16, depth=1, heads=2, patch=4)
    config.sampling.steps = 3
    return config


def upper(config, size):
    """The config of a stage that enlarges."""
    config.data.image_size = size
    config.conditions.map.update(name="average_pool", factor=2)
    config.loss.update(map_noise=0.5, map_dropout=0.0)
    config.sampling.update(keep_map=True, map_noise=0.1)
    return config


class Runs:
    """``runs(name)`` is the folder of a run; all are of 24 images of 16 x 16 pixels with captions, or of digits."""

    def __init__(self, root):
        self.root = captioned_squares(root)

    def config(self, make=small_configs.captioned, encoder=None, size=8, **fields):
        """A config of the captioned images."""
        config = make()
        config.data.path = str(self.root / "pictures")
        config.conditions.captions.encoder = str(self.root / "encoder.npz")
        config.data.image_size = size
        if encoder is not None:
            config.conditions.embeddings.encoder = str(self(encoder))
        config.data.update(fields)
        return config

    def __call__(self, name):
        folder = self.root / name
        if not folder.exists():
            self._make(folder, name)
        return folder

    def _make(self, folder, name):
        untrained = {
            "low": lambda: self.config(),
            "high": lambda: upper(self.config(), 16),
            "crops": lambda: upper(self.config(image_crop=8), 16),
            "digits_8": lambda: upper(classes.get_config(), 8),
        }
        if name in untrained:
            save_untrained(folder, transformer(untrained[name]()))
        elif name in ("contrastive", "other"):
            config = self.config(small_configs.contrastive)
            init = task.build(config, data.build(config)).trained.init
            params = random_like(jax.eval_shape(init, jax.random.key(0)), 0.2, seed=int(name == "other"))
            save_run(folder, config, params, step=2)
        elif name in ("prior", "other_prior"):
            self._embedded(
                folder, self.config(small_configs.prior, "other" if name == "other_prior" else "contrastive")
            )
        else:  # a decoder, or one whose encoder was trained again afterwards
            config = transformer(self.config(small_configs.decoder, "contrastive"))
            self._embedded(folder, config, {"decoder": None, "changed": "of before"}[name])

    def _embedded(self, folder, config, encoder=None):
        """A run of what :func:`experiments.data.load` makes of the data."""
        dataset = data.load(config)
        extra = run_files.record(config, encoder or dataset.encoder)
        save_run(folder, config, random_params(build_model(config, dataset), 0.1), extra=extra)
