r"""Music as events, one after the other: a causal transformer of the pieces of ``rolls.py``, given the key.

    python -m experiments.train --config=experiments/projects/audio/configs/events.py --workdir=runs/events

Five CPU minutes: 29.9 bits a second of held-out phrases (the project's README).

``masked``, by masked diffusion of 160 tokens:

    python -m experiments.train --config=experiments/projects/audio/configs/events.py:masked \
        --workdir=runs/events_masked

Four CPU minutes: at most 125 bits a second of held-out phrases; it has learned little (the project's README).

``performances``, with swing, rubato, spread chords and dynamics, as events of 10 ms:

    python -m experiments.train --config=experiments/projects/audio/configs/events.py:performances \
        --workdir=runs/performances

Three CPU minutes: 1.91 bits a token, 134 a second (the project's README).
"""

from experiments.configs import base
from experiments.projects.audio.configs import rolls


def get_config(argument=""):
    base.check_argument(argument, "masked", "performances")
    config = rolls.get_config("" if argument == "masked" else "transformer")
    config.symbols.update(name="events", resolution=0.064, velocities=1, length=160)
    if argument == "masked":
        config.network.patch = 1
        config.training.update(steps=400, batch_size=16)
    elif argument == "performances":
        config.data.name = "performances"
        config.symbols.update(resolution=0.01, velocities=32, length=144)
        config.network.relative = 144
        config.training.steps = 500
        config.sampling.guidance_scale = 1.0
    return config
