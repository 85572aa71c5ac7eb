"""Sounds in a report: WAV files, a picture of each, and a table of audio widgets.

Every picture has the waveform above, from -1 to 1, and the spectrogram below: a Hann window of 32 ms, hops of 4 ms,
80 dB under a sine of amplitude 1. Pictures of one table may be compared.
"""

import io
import os
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Drawing
from numpy.typing import ArrayLike

from experiments.reporting import plots
from experiments.reporting.report import Cell, Heading, Section, Sound, Sounds, Table, tables_as_text, write_report
from scorekit import audio
from scorekit.io import as_path, write_atomic

WINDOW = 0.032
"""Seconds of a window of the spectrogram."""
RANGE_DB = 80.0


def audio_widgets(
    folder: str | os.PathLike[str],
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


def write_sound_report(
    path: Path,
    title: str,
    summary: Mapping[str, Cell],
    tables: Sequence[Table],
    sounds: Mapping[str, ArrayLike],
    sample_rate: int,
    *,
    folder: Path | None = None,
    row_labels: Sequence[object] | None = None,
    further: Sequence[Section] = (),
) -> Path:
    """Writes a report of tables, sounds and ``further`` sections; prints the tables.

    Sounds are written into ``folder``, by default next to the report; see :func:`audio_widgets` for the rest.
    """
    widgets = audio_widgets(folder or path.parent, sounds, sample_rate, row_labels=row_labels)
    for table in tables:
        print(f"{tables_as_text([table])}({table.caption})")
    return write_report(path, title, summary, [*tables, Heading("Sounds"), widgets, *further])


def write_sound(path: str | os.PathLike[str], x: ArrayLike, sample_rate: int) -> Sound:
    """Writes ``x``, ``(length,)`` or ``(channels, length)``, as ``path.wav``, clipped at 1, and ``path.png``."""
    wav = write_wav(f"{path}.wav", x, sample_rate)
    return Sound(wav, sound_picture(as_path(f"{path}.png"), x, sample_rate))


def write_wav(path: str | os.PathLike[str], x: ArrayLike, sample_rate: int) -> Path:
    """Writes ``x``, ``(length,)`` or ``(channels, length)``, as 16-bit WAV, clipped at 1; needs no further package."""
    codes, content = np.atleast_2d(np.asarray(audio.float_to_pcm(np.asarray(x)))).astype("<i2"), io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((len(codes), 2, sample_rate, codes.shape[1], "NONE", ""))
        file.writeframes(codes.T.tobytes())
    return write_atomic(path, content.getvalue())


def sound_picture(path: str | os.PathLike[str], x: ArrayLike, sample_rate: int) -> Path:
    """The waveform of ``x`` ``(length,)``, or of the mean of channels, above its spectrogram, as PNG."""
    x = np.asarray(np.atleast_2d(np.asarray(x)).mean(axis=0), np.float32)
    hop = max(round(WINDOW * sample_rate / 8), 1)
    level, seconds = decibels(x, sample_rate, hop), len(x) / sample_rate
    drawing = Drawing(figsize=(3.2, 2.6), layout="constrained")
    wave, spectrum = drawing.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    wave.plot(np.arange(len(x)) / sample_rate, x, linewidth=0.4, color="#2166ac")
    wave.set_ylim(-1.05, 1.05)
    wave.set_yticks([-1, 0, 1])
    edges = (np.arange(level.shape[0] + 1) - 0.5) * hop / sample_rate
    height = np.linspace(0, sample_rate / 2000, level.shape[1] + 1)
    spectrum.pcolormesh(edges, height, level.T, vmin=-RANGE_DB, vmax=0, cmap="magma", rasterized=True)
    spectrum.set_xlim(0, seconds)
    spectrum.set_ylabel("kHz", fontsize=8)
    spectrum.set_xlabel("seconds", fontsize=8)
    for axes in (wave, spectrum):
        axes.tick_params(labelsize=7)
    return plots.save(drawing, path)


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
