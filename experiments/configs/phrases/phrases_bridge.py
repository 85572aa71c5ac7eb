"""Phrases at 4 kHz from themselves below 500 Hz, by a diffusion bridge that starts at the low band (I2SB).

    python -m experiments.train --config=experiments/configs/phrases/phrases_bridge.py --workdir=runs/phrases_bridge

Four CPU minutes: held-out sounds in 10 steps with a log-spectral distance of 14.6 dB, 17.3 by the conditional model of
``phrases_wide.py``, whose commands compare both (docs/audio.md).
"""

from experiments.configs.images.digits_bridge import bridge
from experiments.configs.phrases import phrases_wide


def get_config():
    return bridge(phrases_wide.get_config())
