"""Statistics of long sounds by segments: whether they drift, and how rough the seams between segments are."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from experiments.reporting.report import Cell, Table
from scorekit import audio

SILENCE = 1e-10
"""The least power of a segment, -100 dB."""


def level(x: np.ndarray, rate: int) -> np.ndarray:
    """The level of each sound ``(N, L)`` in dB of full scale, ``(N,)``.

    >>> level(np.ones((1, 8)), 4000).round(3)
    array([0.])
    """
    del rate
    return 10 * np.log10(np.mean(np.square(x), axis=-1) + SILENCE)


def onset_rate(threshold: float) -> Callable[[np.ndarray, int], np.ndarray]:
    """``(sounds, rate) -> onsets a second``: local maxima of the onset envelope above a threshold."""
    envelope = jax.jit(audio.onset_envelope, static_argnums=1)

    def measure(x: np.ndarray, rate: int) -> np.ndarray:
        e = np.asarray(envelope(x, rate))
        peaks = (e[:, 1:-1] > e[:, :-2]) & (e[:, 1:-1] >= e[:, 2:]) & (e[:, 1:-1] > threshold)
        return peaks.sum(-1) * rate / x.shape[-1]

    return measure


def chroma_entropy() -> Callable[[np.ndarray, int], np.ndarray]:
    """``(sounds, rate) -> bits``, the entropy of the mean chroma: 0 for one pitch class, log2(12) for noise."""
    chroma = jax.jit(audio.chroma, static_argnums=1)

    def measure(x: np.ndarray, rate: int) -> np.ndarray:
        mean = np.asarray(chroma(x, rate)).mean(axis=1) + 1e-9
        p = mean / mean.sum(-1, keepdims=True)
        return -np.sum(p * np.log2(p), axis=-1)

    return measure


def drift(real: np.ndarray, sounds: Mapping[str, np.ndarray], rate: int) -> Table:
    """The means of the statistics of each segment, as long as the real sounds; the last column is last less first.

    Args:
      real: ``(N, L)``.
      sounds: by sampler, ``(N, k L)``.
      rate: their sample rate.
    """
    size = real.shape[1]
    envelope = np.asarray(jax.jit(audio.onset_envelope, static_argnums=1)(real, rate))
    threshold = 0.5 * float(np.percentile(envelope.max(-1), 50))
    measures = {"level, dB": level, "onsets a second": onset_rate(threshold), "chroma entropy, bits": chroma_entropy()}
    count = next(iter(sounds.values())).shape[1] // size
    rows: list[list[Cell]] = []
    for what, measure in measures.items():
        of_real = float(measure(real, rate).mean())
        for name, x in sounds.items():
            found = [float(measure(x[:, k * size : (k + 1) * size], rate).mean()) for k in range(count)]
            rows.append([f"{what}: {name}", of_real, *found, found[-1] - found[0]])
    header = ["", "real", *(f"segment {k + 1}" for k in range(count)), "drift"]
    caption = f"means over {len(x)} sounds of segments of {size / rate:.3f} s; real: {len(real)} held-out sounds"
    return Table(header, rows, caption)


def seams(real: np.ndarray, sounds: Mapping[str, np.ndarray], rate: int, seconds: Mapping[str, float]) -> Table:
    """The roughness where segments meet, of real sounds in their middle, and the time that each sampler takes."""
    size, roughness = real.shape[1], lambda x, at: float(np.median(audio.seam_roughness(x, at)))
    loud = real[np.abs(np.diff(real, n=2)).max(-1) > 0]
    rows: list[list[Cell]] = [["real", roughness(loud, [size // 2]), None]]
    for name, x in sounds.items():
        rows.append([name, roughness(x, list(range(size, x.shape[1] - 1, size))), seconds[name]])
    where = f"at multiples of {size / rate:.3f} s"
    caption = f"roughness: the median energy of the second difference {where} over that everywhere"
    return Table(["", "roughness at seams", "seconds a second of sound"], rows, caption)
