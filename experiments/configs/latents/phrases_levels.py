"""An autoencoder of phrases at 1 kHz with three levels of codes: two at 15.6 codes a second and one at 31.25."""

from experiments.configs.latents import phrases_latent


def get_config():
    config = phrases_latent.get_config()
    config.data.representation.update(name="low_rate", factor=4)
    config.autoencoder.update(channels=16, patch=2, codes=256, levels=(2, 2, 1))
    config.training.update(steps=600, learning_rate=2e-3)
    config.loss.code_rate = 10.0
    config.evaluation.num_samples = 100
    return config
