"""Music as the voices of piano rolls, one after the other: a causal transformer of 320 symbols, given the key.

    python -m experiments.train --config=experiments/configs/music/rolls_transformer.py --workdir=runs/rolls_transformer
    python -m experiments.projects.audio.music.compose --workdir=runs/rolls_transformer --continue=song.mid

Eleven CPU minutes: 1.95 bits a step of held-out phrases (docs/music.md).
"""

from experiments.configs.music import rolls_masked


def get_config():
    config = rolls_masked.get_config()
    config.model = "autoregressive"
    config.network.update(name="causal_transformer", depth=3, width=96)
    config.training.update(steps=1000, batch_size=16, learning_rate=2e-3)
    config.sampling.steps = None
    return config
