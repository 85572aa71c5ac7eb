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
    config.data.representation.name = "waveform"
    config.data.representation.scale = 4.0
    config.data.crop = 4096
    config.data.map.name = "low_rate"
    config.data.map.factor = 4
    config.data.map.scale = 4.0
    config.loss.map_noise = 0.5
    config.network.name = "wavenet"
    config.network.channels = 48
    config.network.layers = 14
    config.network.cycle = 7
    config.network.patch = 8
    config.training.steps = 3000
    config.training.batch_size = 16
    config.training.learning_rate = 1e-3
    config.sampling.map_noise = 0.1
    config.sampling.guidance_scale = 1.0
    config.sampling.batch_size = 20
    config.evaluation.bound_times = 4
    return config
