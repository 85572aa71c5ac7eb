r"""Phrases at 1 kHz as 256 μ-law codes: a WaveNet of pieces of 1.024 s, given the instrument.

    python -m experiments.train --config=experiments/projects/audio/configs/phrases_codes.py \
        --workdir=runs/phrases_codes

Single notes: --config.data.name=notes --config.data.set=soundfont_notes/4khz

5,000 steps.
"""

from experiments.configs import base


def get_config():
    config = base.get_config("sequence")
    config.data.update(name="phrases", set="soundfont_phrases/4khz", crop=4096, peak=0.9)
    config.symbols.update(name="mu_law", factor=4)
    config.network.update(name="causal_wavenet", channels=64, layers=18, cycle=9)
    config.training.update(steps=5000, batch_size=16, learning_rate=1e-3)
    config.sampling.batch_size = 10
    return config
