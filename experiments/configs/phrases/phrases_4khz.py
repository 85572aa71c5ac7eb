"""The last model of a cascade: phrases at 4 kHz from their signal at 1 kHz, trained on pieces of 1.024 s.

    python -m experiments.train --config=experiments/configs/phrases/phrases_1khz.py --workdir=runs/phrases_1khz
    python -m experiments.train --config=experiments/configs/phrases/phrases_4khz.py --workdir=runs/phrases_4khz
    python -m experiments.latents.cascade --stages=runs/phrases_1khz,runs/phrases_4khz --config.sampling.map_noise=0.1

The network is convolutional throughout and looks 0.5 s to either side, so that it draws full phrases.

3,000 steps of each stage.
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.name = "soundfont_phrases/4khz"
    config.data.representation.update(name="waveform", scale=4.0)
    config.data.crop = 4096
    config.data.map.update(name="low_rate", factor=4, scale=4.0)
    config.loss.map_noise = 0.5
    config.network.update(name="wavenet", channels=48, layers=14, cycle=7, patch=8)
    config.training.update(steps=3000, batch_size=16, learning_rate=1e-3)
    config.sampling.update(map_noise=0.1, guidance_scale=1.0, batch_size=20)
    config.evaluation.bound_times = 4
    return config
