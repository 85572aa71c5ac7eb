r"""An autoencoder of phrases at 1 kHz with three levels of codes: two at 15.6 codes a second and one at 31.25.

    python -m experiments.train --config=experiments/configs/latents/phrases_levels.py --workdir=runs/phrases_levels

Without the auxiliary training of the first levels: --config.loss.auxiliary=0
Two levels at 31.25 codes a second: --config.autoencoder.levels=1,1
One level of as many codes a second: --config.autoencoder.levels=1 --config.autoencoder.factors=4,2

2.6 CPU minutes: held-out phrases are decoded with a log-spectral distance of 7.96 ± 0.12 dB from the first level,
7.67 ± 0.13 dB from all three (docs/hierarchy.md).
"""

from experiments.configs.latents import phrases_latent


def get_config():
    config = phrases_latent.get_config()
    config.data.representation.update(name="low_rate", factor=4)
    config.autoencoder.update(channels=16, patch=2, codes=256, levels=(2, 2, 1))
    config.training.update(steps=600, learning_rate=2e-3)
    config.loss.code_rate = 10.0
    config.evaluation.num_samples = 100
    return config
