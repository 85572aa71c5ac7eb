"""Performances with swing, rubato, spread chords and dynamics, as events of 10 ms: a causal transformer, given the key.

    python -m experiments.train --config=experiments/configs/music/performances.py --workdir=runs/performances

Three CPU minutes: 1.91 bits a token, 134 a second.
"""

from experiments.configs.music import events_transformer


def get_config():
    config = events_transformer.get_config()
    config.data.name = "performances"
    config.symbols.update(resolution=0.01, velocities=32, length=144)
    config.network.relative = 144
    config.training.steps = 500
    config.sampling.guidance_scale = 1.0
    return config
