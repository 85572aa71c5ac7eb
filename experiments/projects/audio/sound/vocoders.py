"""Distances and real-time factors of vocoders: of a model in any number of steps, and of Griffin and Lim."""

import time

import jax
import numpy as np

from experiments.reporting.tables import Table
from scorekit import audio
from scorekit.typing import Array


def compare(sounds: dict[str, np.ndarray], truth: np.ndarray, rate: int, full: str, factors: dict[str, float]) -> Table:
    """Both distances of every version to the truth and to the version ``full``, means over sounds."""
    lsd = jax.jit(lambda x, y: audio.log_spectral_distance(x, y, rate).mean())
    loss = jax.jit(lambda x, y: audio.multi_resolution_stft_loss(x, y, rate).mean())
    rows = []
    for name, x in sounds.items():
        to_full = (None, None) if name == full else (float(lsd(x, sounds[full])), float(loss(x, sounds[full])))
        rows.append([name, float(lsd(x, truth)), float(loss(x, truth)), *to_full, factors.get(name)])
    header = ["", "LSD (dB)", "MR-STFT loss", "LSD to full (dB)", "MR-STFT loss to full", "real-time factor"]
    caption = (
        f"means over {len(truth)} held-out sounds at {rate} Hz; full is {full}; the real-time factor is the time of "
        f"one sound over its length, below 1 faster than it plays"
    )
    return Table(header, rows, caption)


def griffin_lim(key, features: audio.LogMel, encoded: Array, length: int, iterations: int = 60) -> Array:
    """Sounds from log-mel spectrograms without a model."""
    magnitudes = audio.magnitude_from_mel(features.mel(encoded), features.bank)
    window, hop = features.window, features.hop
    return audio.griffin_lim(key, magnitudes, window, hop, length, iterations=iterations).x


def real_time_factor(make, seconds: float) -> float:
    """The shortest time of three runs after one that compiles, over the length of the sound."""
    jax.block_until_ready(make())
    times = []
    for _ in range(3):
        begin = time.monotonic()
        jax.block_until_ready(make())
        times.append(time.monotonic() - begin)
    return min(times) / seconds
