"""Statistics of rhythm, harmony and timbre of phrases, and Fréchet distances between sets of them."""

import functools

import jax
import numpy as np

from experiments.data.dataset import in_blocks
from scorekit import metrics
from scorekit.audio import structure
from scorekit.audio.mel_features import log_mel_statistics
from scorekit.typing import Array


def statistics(sounds: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
    """Statistics of rhythm, harmony and timbre of each sound ``(N, L)``."""
    run = functools.partial(_statistics, sample_rate=sample_rate)
    return in_blocks(run, np.asarray(sounds, np.float32), min(20, len(sounds)))


@functools.partial(jax.jit, static_argnames="sample_rate")
def _statistics(x: Array, sample_rate: int) -> dict[str, Array]:
    return {
        "rhythm": structure.rhythm_statistics(x, sample_rate),
        "harmony": structure.harmony_statistics(x, sample_rate),
        "timbre": log_mel_statistics(x, sample_rate),
    }


def distances(found: dict[str, np.ndarray], real: dict[str, np.ndarray]) -> dict[str, float]:
    """Fréchet distances between statistics."""
    distance = jax.jit(metrics.frechet_distance)
    return {name: float(distance(values, real[name])) for name, values in found.items()}
