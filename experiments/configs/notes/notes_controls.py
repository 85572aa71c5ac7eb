"""The notes of ``notes.py`` as controls of a synthesiser: pitch, partials and noise bands of frames of 32 ms.

    python -m experiments.train --config=experiments/configs/notes/notes_controls.py --workdir=runs/notes_controls

Ten CPU minutes for the first half of the training (--config.training.steps=2000): without guidance, the pitch of 0.58
of the notes is right and the family of 0.45, with a Fréchet distance of 8.1 (docs/audio.md).
"""

from experiments.configs.notes import notes


def get_config():
    config = notes.get_config()
    config.data.representation.update(name="controls", log_std=None)
    config.data.representation.update({"bands": 65, "hop": 128, "partials": 24})
    config.conditions.map.name = "none"
    config.noise_factor = 2.8
    config.network.update(channels=128, multipliers=(1, 1), factors=(2,), grid=(8,), patch=1)
    config.training.steps = 4000
    return config
