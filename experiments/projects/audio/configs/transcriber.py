"""A transcriber of phrases at 4 kHz: sound to piano roll and MIDI.

    python -m experiments.train --config=experiments/projects/audio/configs/transcriber.py --workdir=runs/transcriber
    python -m experiments.projects.audio.music.transcribe --workdir=runs/transcriber --sound=song.wav --out=song.mid

Six CPU minutes: on the held-out phrases, a frame F1 of 0.951 and an onset F1 of 0.931 (the project's README).
"""

from experiments.configs import base


def get_config():
    config = base.get_config("transcriber")
    config.data.update(name="phrases", set="soundfont_phrases/4khz")
    config.training.update(steps=800, batch_size=8, learning_rate=3e-3, warmup_steps=50)
    config.training.update(ema_decays=(0.99,), log_every=10, checkpoint_every=100)
    return config
