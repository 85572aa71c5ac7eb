"""Notes at 4 kHz from one family of instruments to another: one encoder, a decoder for each family.

    python -m experiments.train --config=experiments/projects/audio/configs/translation.py --workdir=runs/translation

Nine CPU minutes: of translated held-out notes 0.86 keep their pitch (0.99 with the phase of the note), 0.13 have the
family that they are translated to, and 0.13 their own; 0.07 and 0.29 with ``loss.confusion=0`` (the project's README).
"""

from experiments.configs import base


def get_config():
    config = base.get_config("translation")
    config.data.update(name="notes", set="soundfont_notes/4khz", label="family")
    config.data.representation.update(name="log_magnitudes", by_frames=True)
    config.training.update(steps=1500, batch_size=64, learning_rate=2e-3, warmup_steps=100)
    config.training.update(ema_decays=(0.99,), checkpoint_every=500, sample_every=3000)
    config.evaluation.ema = "0.99"
    return config
