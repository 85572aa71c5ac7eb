r"""Phrases at 4 kHz from their piano roll and instrument, as frames of log-magnitudes; phases by Griffin and Lim.

    python -m experiments.train --config=experiments/configs/phrases/phrases_magnitudes.py \
        --workdir=runs/phrases_magnitudes
    python -m experiments.projects.audio.sound.perform --workdir=runs/phrases_magnitudes

Fifteen CPU minutes: a transcriber finds three of four notes, an onset F1 of 0.732 (docs/music.md).
"""

from experiments.configs.phrases import phrases


def get_config():
    config = phrases.get_config()
    config.data.representation.update(name="log_magnitudes", by_frames=True, floor=0.03)
    config.data.representation.update(log_mean=-1.4, log_std=1.6)
    config.conditions.map.name = "piano_roll"  # a row for each frame
    config.network.update(channels=128, multipliers=(1, 2), patch=1, factors=(2,))
    config.training.update(steps=3000, sample_every=3000)
    config.sampling.guidance_scale = 1.0  # more makes notes harder to tell apart
    config.evaluation.guidance_scales = (1.0,)
    return config
