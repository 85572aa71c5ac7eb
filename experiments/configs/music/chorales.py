"""The chorales of J. S. Bach as voices, by masked diffusion, which harmonises a melody (``pip install '.[scores]'``).

    python -m experiments.train --config=experiments/configs/music/chorales.py --workdir=runs/chorales
    python -m experiments.music.compose --workdir=runs/chorales --harmonise=melody.mid

Two CPU minutes: harmonies in the key of the melody, as dissonant as voices that do not belong together (docs/music.md).
"""

from experiments.configs.music import rolls_masked


def get_config():
    config = rolls_masked.get_config()
    config.data.name = "scores/chorales"
    config.training.steps = 300
    return config
