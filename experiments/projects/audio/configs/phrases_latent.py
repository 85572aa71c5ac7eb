r"""An autoencoder of phrases at 4 kHz: pieces of 1.024 s to a latent of 62.5 positions a second with 16 channels.

    python -m experiments.train --config=experiments/projects/audio/configs/phrases_latent.py \
        --workdir=runs/phrases_latent

Trained on random pieces; full phrases are encoded and decoded by the same convolutions. Discrete, each position one of
1,024 vectors of 16 numbers: --config.autoencoder.codes=1024

Five CPU minutes with 256 codes: Fréchet distances of decoded held-out phrases to the held-out ones are 0.011 in
rhythm, 0.272 in harmony and 60.0 in timbre (the project's README).

``levels``, at 1 kHz with three levels of codes, two at 15.6 codes a second and one at 31.25. Without the auxiliary
training of the first levels: --config.loss.auxiliary=0. Two levels at 31.25 codes a second:
--config.autoencoder.levels=1,1. One level: --config.autoencoder.levels=1 --config.autoencoder.factors=4,2

    python -m experiments.train --config=experiments/projects/audio/configs/phrases_latent.py:levels \
        --workdir=runs/phrases_levels

2.6 CPU minutes: held-out phrases are decoded with a log-spectral distance of 7.96 ± 0.12 dB from the first level,
7.67 ± 0.13 dB from all three (the project's README).
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "levels")
    config = base.get_config("autoencoder")
    config.data.update(name="phrases", set="soundfont_phrases/4khz")
    config.data.representation.update(name="waveform", scale=4.0)
    config.data.crop = 4096
    config.autoencoder.update(channels=32, multipliers=(1, 2, 4), patch=4, factors=(4, 4), latent_channels=16)
    config.training.update(steps=2000, batch_size=16, learning_rate=1e-3)
    config.loss.kl = 1e-3
    if argument == "levels":
        config.data.representation.update(name="low_rate", factor=4)
        config.autoencoder.update(channels=16, patch=2, codes=256, levels=(2, 2, 1))
        config.training.update(steps=600, learning_rate=2e-3)
        config.loss.code_rate = 10.0
        config.evaluation.num_samples = 100
    return config
