"""The full path for sounds, for tests: a tiny U-Net on a few notes.

    python -m experiments.train --config=experiments/configs/notes/notes_smoke.py --workdir=runs/notes_smoke

Seconds; the sounds are noise.
"""

from experiments.configs.images import smoke


def get_config():
    config = smoke.get_config()
    config.data.update(name="notes", set="soundfont_notes/4khz", train_split="train[:64]", test_split="train[:64]")
    config.conditions.vector.name = "pitch_velocity"
    config.data.representation.update(name="waveform", scale=4.0)
    config.network.update(patch=16, factors=(4,))
    return config
