r"""Phrases at 4 kHz by diffusion forcing with a causal network: a frame is denoised given itself and those before.

    python -m experiments.train --config=experiments/configs/phrases/phrases_forcing_causal.py \
        --workdir=runs/phrases_forcing_causal
    python -m experiments.benchmarks.sound --table=roll_out --workdir=runs/phrases_forcing_causal

The WaveNet of ``phrases_forcing.py`` without the frames that follow: it sees 0.48 s to the left. 4,000 steps.
"""

from experiments.configs.phrases import phrases_forcing


def get_config():
    config = phrases_forcing.get_config()
    config.network.name = "causal_wavenet"
    return config
