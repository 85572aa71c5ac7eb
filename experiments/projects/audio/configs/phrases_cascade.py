r"""A cascade of phrases: the last model, at 4 kHz from the signal at 1 kHz, trained on pieces of 1.024 s.

    python -m experiments.train --config=experiments/projects/audio/configs/phrases_cascade.py:low_rate \
        --workdir=runs/phrases_1khz
    python -m experiments.train --config=experiments/projects/audio/configs/phrases_cascade.py \
        --workdir=runs/phrases_4khz
    python -m experiments.tasks.latents.cascade --stages=runs/phrases_1khz,runs/phrases_4khz \
        --config.sampling.map_noise=0.1

The network is convolutional throughout and looks 0.5 s to either side, so that it draws full phrases. ``low_rate`` is
the first model: full phrases at 1 kHz. 3,000 steps of each stage; not measured here.
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "low_rate")
    config = base.get_config()
    config.data.update(name="phrases", set="soundfont_phrases/4khz")
    config.training.update(steps=3000, batch_size=16, learning_rate=1e-3)
    config.evaluation.bound_times = 4
    if argument == "low_rate":
        config.data.representation.update(name="low_rate", factor=4, scale=4.0)
        config.network.update(patch=8, channels=48, multipliers=(1, 2, 2))
        config.network.update(factors=(4, 2), attention_resolutions=(64,), heads=4)
        return config
    config.data.representation.update(name="waveform", scale=4.0)
    config.data.crop = 4096
    config.conditions.map.update(name="low_rate", factor=4, scale=4.0)
    config.loss.map_noise = 0.5
    config.network.update(name="wavenet", channels=48, layers=14, cycle=7, patch=8)
    config.sampling.update(map_noise=0.1, guidance_scale=1.0, batch_size=20)
    return config
