r"""Music as the voices of piano rolls, by masked diffusion: 64 steps of 64 ms, five voices, given the key.

    python -m experiments.train --config=experiments/projects/audio/configs/rolls.py --workdir=runs/rolls
    python -m experiments.projects.audio.music.compose --workdir=runs/rolls --seconds=16 --key=Am

MIDI files of your own in place of drawn phrases: --config.data.name=midi --config.data.path=~/music

Twelve CPU minutes: at most 2.63 bits a step of held-out phrases (the project's README).

``transformer``, one symbol after the other: a causal transformer of 320 symbols:

    python -m experiments.train --config=experiments/projects/audio/configs/rolls.py:transformer \
        --workdir=runs/rolls_transformer
    python -m experiments.projects.audio.music.compose --workdir=runs/rolls_transformer --continue=song.mid

Eleven CPU minutes: 1.95 bits a step of held-out phrases (the project's README).
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "transformer")
    config = base.get_config("sequence")
    config.data.name = "rolls"
    config.symbols.name = "roll"
    config.model = "masked"
    config.network.update(name="dit", patch=5, depth=4, width=96, heads=4)
    config.training.update(steps=3000, batch_size=32, learning_rate=2e-3)
    config.sampling.update(guidance_scale=1.5, steps=128, batch_size=32)
    if argument == "transformer":
        config.model = "autoregressive"
        config.network.update(name="causal_transformer", depth=3, width=96)
        config.training.update(steps=1000, batch_size=16)
        config.sampling.steps = None
    return config
