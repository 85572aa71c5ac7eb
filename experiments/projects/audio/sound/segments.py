"""Statistics of long sounds by segments: whether they drift, and how rough the seams between segments are."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from experiments.reporting.tables import Cell, Table
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
    """The means of the statistics of each segment, as long as the real sounds, and the mean of last less first segment.

    The standard error of the last column is of the differences, one for each sound. Real sounds are ``(N, L)``,
    the others, by sampler, ``(N, k L)`` with N at least 2.
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
            found = np.stack([measure(x[:, k * size : (k + 1) * size], rate) for k in range(count)])
            apart = found[-1] - found[0]
            error = float(apart.std(ddof=1) / np.sqrt(len(apart)))
            rows.append([f"{what}: {name}", of_real, *map(float, found.mean(axis=1)), float(apart.mean()), error])
    header = ["", "real", *(f"segment {k + 1}" for k in range(count)), "drift", "standard error"]
    caption = f"means over {len(x)} sounds of segments of {size / rate:.3f} s; real: {len(real)} held-out sounds"
    return Table(header, rows, caption)


def seams(real: np.ndarray, sounds: Mapping[str, np.ndarray], rate: int, seconds: Mapping[str, float]) -> Table:
    """The roughness where segments meet and half-way between these, and the time that each sampler takes.

    A mean over a few positions scatters less than the value at one, and so has another median. Real sounds, in which
    nothing meets, are measured at as many positions as the others have seams, spread evenly.
    """
    size, roughness = real.shape[1], lambda x, at: float(np.median(audio.seam_roughness(x, at)))
    length = next(iter(sounds.values())).shape[1]
    at_seams, between = list(range(size, length - 1, size)), list(range(size // 2, length - 1, size))[1:]
    spread = np.linspace(0, size, len(at_seams) + 2)[1:-1].astype(int).tolist()
    loud = real[np.abs(np.diff(real, n=2)).max(-1) > 0]
    rows: list[list[Cell]] = [["real", roughness(loud, spread), None, None]]
    for name, x in sounds.items():
        rows.append([name, roughness(x, at_seams), roughness(x, between), seconds[name]])
    caption = (
        f"roughness: the median over sounds of the energy of the second difference, at {len(at_seams)} multiples of "
        f"{size / rate:.3f} s and half-way between them, over that everywhere; real: at {len(spread)} positions"
    )
    return Table(["", "roughness at seams", "half-way between", "seconds a second of sound"], rows, caption)
