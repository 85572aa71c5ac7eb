"""Phrases at 1 kHz as 256 μ-law codes: a WaveNet of pieces of 1.024 s, given the instrument.

    python -m experiments.train --config=experiments/configs/sequences/phrases_codes.py --workdir=runs/phrases_codes

Single notes: --config.data.name=soundfont_notes/4khz

5,000 steps.
"""

from experiments.configs import base


def get_config():
    config = base.get_config("sequence")
    config.data.name = "soundfont_phrases/4khz"
    config.data.crop = 4096
    config.data.peak = 0.9
    config.symbols.name = "mu_law"
    config.symbols.factor = 4
    config.network.name = "causal_wavenet"
    config.network.channels = 64
    config.network.layers = 18
    config.network.cycle = 9
    config.training.steps = 5000
    config.training.batch_size = 16
    config.training.learning_rate = 1e-3
    config.sampling.batch_size = 10
    return config
