"""Sound files and resampling on the host, by libsndfile (soundfile) and SoX (soxr).

The last axis of arrays is time, ``(length,)`` or ``(channels, length)``, as in the rest of this package.
Without the extra ``sound`` all functions raise an ``ImportError`` that says what to install.
"""

import importlib
import os
from typing import Any, Literal, NamedTuple

import numpy as np

from scorekit._files import check_complete, check_unpacked, regular_file
from scorekit.arguments import Positive, PositiveInt, checked
from scorekit.audio._checks import check_signal
from scorekit.typing import ArrayLike

_Subtype = Literal["PCM_16", "PCM_24", "FLOAT"]
_MOST_CHANNELS = 64


class Sound(NamedTuple):
    """A recording.

    Attributes:
      x: float32 ``(length,)``, or ``(channels, length)`` if there are several.
      sample_rate: sample rate in Hz.

    >>> Sound(np.zeros(8000, np.float32), 8000).sample_rate
    8000
    """

    x: np.ndarray
    sample_rate: int


@checked
def read(path: str | os.PathLike, *, sample_rate: PositiveInt | None = None, mono: bool = False) -> Sound:
    """Reads a WAV, FLAC, Ogg, MP3 or other file supported by libsndfile; full scale of integer formats is [-1, 1).

    Args:
      path: path of the file.
      sample_rate: sample rate of the result, in Hz; ``None`` keeps the rate of the file.
      mono: whether to return the mean of the channels instead of all channels.

    Returns:
      The sound and its sample rate.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(folder + "/a.flac", np.array([0.0, 0.5, -0.5]), 8000)
    ...     sound = read(folder + "/a.flac")
    >>> sound.x.tolist(), sound.sample_rate
    ([0.0, 0.5, -0.5], 8000)
    """
    soundfile = _extra("soundfile")
    try:
        with soundfile.SoundFile(regular_file(path)) as file:
            check_complete(file.extra_info)
            rate, hours = file.samplerate, file.frames / file.samplerate / 3600
            check_unpacked(f"its {hours:.3g} hours", 4 * file.frames * file.channels, os.path.getsize(path))
            x = file.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        raise ValueError(f"path must be a sound file that can be read, got {os.fspath(path)!r}: {error}") from error
    x = x.mean(axis=1) if mono or x.shape[1] == 1 else x.T
    x = np.ascontiguousarray(x)
    return Sound(x, rate) if sample_rate is None else Sound(resample(x, rate, sample_rate), sample_rate)


@checked
def write(path: str | os.PathLike, x: ArrayLike, sample_rate: PositiveInt, *, subtype: _Subtype = "PCM_16") -> None:
    """Writes a sound file; the suffix determines the format: ``.wav``, ``.flac``, ...

    Integer formats round to the nearest code, without dither, and clip at full scale; for dither, pass
    ``pcm_to_float(float_to_pcm(x, dither=key))``, which is written without further loss.

    Args:
      path: path of the file, whose folder must exist.
      x: floats ``(length,)`` or ``(channels, length)`` of at most 64 channels, finite, full scale [-1, 1).
      sample_rate: sample rate in Hz.
      subtype: ``"PCM_16"``, ``"PCM_24"`` or, in WAV only, ``"FLOAT"``.

    >>> write("/nowhere/a.wav", np.zeros(8), 8000)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: path must be a file that can be written as PCM_16, got '/nowhere/a.wav': ...
    """
    soundfile = _extra("soundfile")
    x = np.asarray(x)
    check_signal(x=x)
    if x.ndim > 2 or (x.ndim == 2 and len(x) > _MOST_CHANNELS):
        raise ValueError(
            f"x must be (length,) or (channels, length) of at most {_MOST_CHANNELS} channels, got {x.shape}"
        )
    if np.issubdtype(x.dtype, np.integer) and not -1 <= x.min() <= x.max() <= 1:
        raise ValueError(f"x must be floats of full scale [-1, 1), got {x.dtype}; scorekit.audio.pcm_to_float converts")
    x = x.astype(np.float32)
    if not np.all(np.isfinite(x)):
        raise ValueError(f"x must be finite, got {np.sum(~np.isfinite(x))} values that are not")
    if subtype in ("PCM_16", "PCM_24"):  # libsndfile would round down
        bits = int(subtype[-2:])
        x = _to_codes(x, bits) << (32 - bits)
    try:
        soundfile.write(os.fspath(path), x.T, sample_rate, subtype=subtype)
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as error:
        raise ValueError(
            f"path must be a file that can be written as {subtype}, got {os.fspath(path)!r}: {error}"
        ) from error


def _extra(package: str) -> Any:
    """A package of the extra ``sound``."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"sound files and resampling need {package}: pip install 'scorekit[sound]'") from error


def _to_codes(x: np.ndarray, bits: int = 16) -> np.ndarray:
    """Floats to linear PCM on the host, rounded and clipped: :func:`scorekit.audio.pcm.float_to_pcm` for numpy."""
    full_scale = 2.0 ** (bits - 1)
    return np.clip(np.round(np.asarray(x, np.float32) * full_scale), -full_scale, full_scale - 1.0).astype(np.int32)


@checked
def resample(x: ArrayLike, rate_from: Positive[float], rate_to: Positive[float]) -> np.ndarray:
    """Changes the sample rate, band-limited and without delay (SoX, high quality); at least one sample is left.

    Args:
      x: floats ``(..., length)``, not empty.
      rate_from: sample rate of ``x``, in Hz.
      rate_to: sample rate of the result, in Hz.

    Returns:
      Floats ``(..., length rate_to / rate_from)``, rounded.

    >>> resample(np.zeros((2, 16000)), 16000, 4000).shape
    (2, 4000)
    """
    soxr = _extra("soxr")
    check_signal(x=x)
    x = np.asarray(x, np.float32)
    columns = x.reshape(-1, x.shape[-1]).T
    y = soxr.resample(np.ascontiguousarray(columns), rate_from, rate_to)
    y = y if len(y) else columns.mean(axis=0, keepdims=True)
    return np.ascontiguousarray(y.T).reshape(*x.shape[:-1], -1)
