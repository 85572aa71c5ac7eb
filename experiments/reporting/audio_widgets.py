"""Sounds in a report: WAV files, a picture of each, and a table of audio widgets.

Every picture has the waveform above, from -1 to 1, and the spectrogram below: a Hann window of 32 ms, hops of 4 ms,
80 dB under a sine of amplitude 1. Pictures of one table may be compared.
"""

import io
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from experiments.reporting.grids import Draw, grid
from experiments.reporting.png import COLOURS, PathLike
from experiments.reporting.report import Sound, Sounds
from scorekit import audio
from scorekit.io import as_path, write_atomic

WINDOW = 0.032
"""Seconds of a window of the spectrogram."""
RANGE_DB = 80.0


def audio_widgets(
    folder: PathLike,
    sounds: Mapping[str, ArrayLike],
    sample_rate: int,
    *,
    row_labels: Sequence[object] | None = None,
    caption: str = "",
) -> Sounds:
    """Writes every sound as WAV and as a picture; returns the section of the report that plays them.

    Args:
      folder: folder of ``<row>_<version>.wav`` and ``.png``; made where it is not there.
      sounds: name of a version, as in ``"held out"`` -> ``(N, length)`` or ``(N, channels, length)`` at full scale 1.
        One row of the table for each of N sounds, one column for each version.
      sample_rate: samples a second.
      row_labels: N of them; 0, 1, ... by default.
    """
    versions = {name: np.asarray(x, np.float32) for name, x in sounds.items()}
    counts = {x.shape[0] if x.ndim in (2, 3) else None for x in versions.values()}
    if len(counts) != 1 or None in counts:
        raise ValueError(f"sounds must hold (N, length) with one N, got {[x.shape for x in versions.values()]}")
    labels = range(next(iter(versions.values())).shape[0]) if row_labels is None else row_labels
    if {len(labels)} != counts:
        raise ValueError(f"row_labels must have {counts} entries, got {len(labels)}")
    rows = []
    for i, label in enumerate(labels):
        cells = [write_sound(as_path(folder) / f"{i}_{_slug(name)}", x[i], sample_rate) for name, x in versions.items()]
        rows.append((str(label), cells))
    return Sounds(tuple(versions), rows, caption)


def write_sound(path: PathLike, x: ArrayLike, sample_rate: int) -> Sound:
    """Writes ``x``, ``(length,)`` or ``(channels, length)``, as ``path.wav``, clipped at 1, and ``path.png``, which
    shows the mean of channels."""
    wav, mean = write_wav(f"{path}.wav", x, sample_rate), np.atleast_2d(np.asarray(x, np.float32)).mean(axis=0)
    cells = [[waveform(mean, sample_rate)], [spectrogram(mean, sample_rate)]]
    return Sound(wav, grid(f"{path}.png", cells, size=(3.2, 1.4)))


def write_wav(path: PathLike, x: ArrayLike, sample_rate: int) -> Path:
    """Writes ``x``, ``(length,)`` or ``(channels, length)``, as 16-bit WAV, clipped at 1; needs no further package."""
    codes, content = np.atleast_2d(np.asarray(audio.float_to_pcm(np.asarray(x)))).astype("<i2"), io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((len(codes), 2, sample_rate, codes.shape[1], "NONE", ""))
        file.writeframes(codes.T.tobytes())
    return write_atomic(path, content.getvalue())


def waveform(x: np.ndarray, sample_rate: int) -> Draw:
    """A cell of the samples ``(length,)``, from -1 to 1."""

    def draw(axes: Axes) -> None:
        axes.plot(np.arange(len(x)) / sample_rate, x, linewidth=0.4, color=COLOURS[0])
        axes.set(xlim=(0, len(x) / sample_rate), ylim=(-1.05, 1.05), yticks=[-1, 0, 1], ylabel="amplitude")

    return draw


def spectrogram(x: np.ndarray, sample_rate: int) -> Draw:
    """A cell of the spectrogram of ``x`` ``(length,)`` in decibels, over seconds and kHz."""

    def draw(axes: Axes) -> None:
        hop = max(round(WINDOW * sample_rate / 8), 1)
        level = decibels(x, sample_rate, hop)
        edges = (np.arange(level.shape[0] + 1) - 0.5) * hop / sample_rate
        height = np.linspace(0, sample_rate / 2000, level.shape[1] + 1)
        axes.pcolormesh(edges, height, level.T, vmin=-RANGE_DB, vmax=0, cmap="magma", rasterized=True)
        axes.set(xlim=(0, len(x) / sample_rate), xlabel="seconds", ylabel="kHz")

    return draw


def decibels(x: np.ndarray, sample_rate: int, hop: int) -> np.ndarray:
    """The spectrogram ``(frames, bins)`` in dB; 0 is a sine of amplitude 1."""
    window = audio.hann(max(round(WINDOW * sample_rate), 4))
    size = np.asarray(audio.magnitude(audio.stft(x, window, hop)))
    return 20 * np.log10(np.maximum(2 * size / window.sum(), 1e-9))


def _slug(name: str) -> str:
    """A name as part of a file name.

    >>> _slug("6 steps, γ = 2")
    '6_steps_γ_2'
    """
    return "_".join("".join(c if c.isalnum() else " " for c in name).split())
