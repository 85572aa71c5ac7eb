"""Music as the voices of piano rolls, by masked diffusion: 64 steps of 64 ms, five voices, given the key.

    python -m experiments.train --config=experiments/configs/music/rolls_masked.py --workdir=runs/rolls
    python -m experiments.projects.audio.music.compose --workdir=runs/rolls --seconds=16 --key=Am

MIDI files of your own in place of drawn phrases: --config.data.name=midi --config.data.path=~/music

Twelve CPU minutes: at most 2.63 bits a step of held-out phrases (docs/music.md).

``rolls_masked.py:chorales`` are the chorales of J. S. Bach (``pip install '.[scores]'``), to harmonise a melody:

    python -m experiments.train --config=experiments/configs/music/rolls_masked.py:chorales --workdir=runs/chorales
    python -m experiments.projects.audio.music.compose --workdir=runs/chorales --harmonise=melody.mid

Two CPU minutes: harmonies in the key of the melody, as dissonant as voices that do not belong together (docs/music.md).
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "chorales")
    config = base.get_config("sequence")
    config.data.name = "rolls"
    config.symbols.name = "roll"
    config.model = "masked"
    config.network.update(name="dit", patch=5, depth=4, width=96, heads=4)
    config.training.update(steps=3000, batch_size=32, learning_rate=2e-3)
    config.sampling.update(guidance_scale=1.5, steps=128, batch_size=32)
    if argument == "chorales":
        config.data.update(name="scores", set="chorales")
        config.training.steps = 300
    return config
