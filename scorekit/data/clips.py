"""Recordings of any sample rate and length, in a folder or in tar files, as clips of one length."""

import contextlib
import copy
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np

from scorekit._files import check_complete, check_unpacked
from scorekit.arguments import Count, PositiveInt, checked
from scorekit.audio import resample
from scorekit.checks import warn_caller
from scorekit.data._folder_files import FolderFiles
from scorekit.data._records import Files, Record
from scorekit.data._tar_files import TarFiles

_SUFFIXES = (".flac", ".ogg", ".wav")
_MOST_HOURS, _MOST_BYTES = 24, 2**33
"""Hours and bytes of a file."""
_MOST_PEAK = 2.0
"""Largest value of a file of floats: values beyond 1, full scale, are clipped, and many make a square wave."""
_RATE = Count(100, 768_000)
_MARGIN = 160
"""Samples, at the lower rate, that are read on either side of a clip that is resampled: more than half the filter."""


@checked
def recordings(
    path: str | os.PathLike | Iterable[str | os.PathLike],
    *,
    length: PositiveInt,
    sample_rate: Annotated[int, _RATE] | None = None,
    channels: Literal[1, 2] = 1,
    on_error: Literal["raise", "skip"] = "raise",
) -> "_Recordings":
    """The recordings in a folder or in tar files as clips, read on access: a source for :func:`scorekit.data.stream`.

    ``source[i]`` is ``{"x": int16 (length,) or (2, length), "label": int32}``, with ``"caption"`` if there
    are captions: 16-bit codes, clipped at full scale, of clip ``i``. A file of n clips' length, rounded down, is
    n clips, one after the other; what remains is left out. A file that is shorter than a clip is one, followed by
    silence. ``source.draw(i, rng)`` is a random clip of the same file instead, and :func:`scorekit.data.stream` draws
    those. Files of another sample rate are resampled. Classes and captions are as in :func:`scorekit.data.folder` and
    :func:`scorekit.data.tar`; in tar files without classes the folders of the files are the classes. The source has
    ``name``, ``num_classes``, ``classes``, ``captioned``, ``sample_rate``, ``channels`` and ``length``, and is divided
    by ``source.held_out()`` into clips to train on and others.

    Args:
      path: folder of files of the kinds flac, ogg, wav; or a folder of tar files, a tar file, several, or a pattern.
      length: samples of a clip, at ``sample_rate``.
      sample_rate: sample rate of the clips, in Hz; None is the rate of the first file.
      channels: 1 for the mean of all channels of a file; 2 for files that have two.
      on_error: consequence of a file that cannot be opened: an error that names it, or a warning and no clips of it.

    Raises:
      ValueError: for no recordings, and one that cannot be opened, is empty, has more than 24 hours, 8 GiB, or another
        number of channels; ``source[i]`` for one that is damaged further on.

    >>> import tempfile
    >>> from scorekit import audio
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, rate in (("high", 8000), ("low", 4000)):
    ...         os.mkdir(f"{folder}/{name}")
    ...         audio.write(f"{folder}/{name}/1.wav", np.linspace(-0.5, 0.5, 9000), rate)
    ...     source = recordings(folder, length=1024, sample_rate=4000)
    ...     first, drawn = source[0], source.draw(5, np.random.default_rng(0))
    >>> len(source), source.classes, first["x"].shape, int(drawn["label"])
    (12, ('high', 'low'), (1024,), 1)
    """
    return _Recordings(_files(path), length, sample_rate, channels, on_error)


class _Recordings:
    """Clips of recordings, a source; see :func:`recordings`.

    Attributes:
      padded: number of files that are shorter than a clip.
      resampled: number of files of another sample rate.
    """

    def __init__(self, files: Files, length: int, sample_rate: int | None, channels: int, on_error: str = "raise"):
        self._files, self.length, self.channels = files, length, channels
        self.name, self.num_classes, self.classes = files.name, files.num_classes, files.classes
        self.captioned = files.captioned
        headers, broken = list[tuple[int, ...]](), []
        for index in range(len(files.names)):
            try:
                headers.append((index, *self._header(index)))
            except ValueError as error:
                if on_error == "raise":
                    raise
                broken.append(str(error))
        if not headers:
            raise ValueError(f"no recording can be read: {broken[0]}")
        if broken:
            warn_caller(f"{len(broken)} recordings could not be read and were left out: {'; '.join(broken[:3])}")
        found = np.asarray(headers, np.int64)
        self.sample_rate = int(found[0, 2]) if sample_rate is None else sample_rate
        ends = found[:, 3] * self.sample_rate // found[:, 2]
        self._take(np.column_stack([found[:, :3], np.zeros_like(ends), ends]))

    def _header(self, index: int) -> tuple[int, int, int]:
        """The label, sample rate and frames of a file."""
        record = self._files.record(index)
        label = int(self._files.fields(record)["label"])
        with _opened(record) as file:
            check_complete(file.extra_info)
            _RATE.check("its sample rate", file.samplerate)
            hours = file.frames / file.samplerate / 3600
            if not 0 < hours <= _MOST_HOURS:
                raise ValueError(f"it must hold sound, and at most {_MOST_HOURS} hours of it, it holds {hours:.3g}")
            if self.channels == 2 != file.channels:
                raise ValueError(f"it must have 2 channels for channels=2, it has {file.channels}")
            return label, file.samplerate, file.frames

    def _take(self, parts: np.ndarray) -> None:
        """Sets the parts of files ``(P, 5)``: file, label, rate of the file, and first and last sample of the part."""
        self._parts = parts
        self.resampled = int(np.sum(parts[:, 2] != self.sample_rate))
        full = (parts[:, 4] - parts[:, 3]) // self.length
        self.padded, self._counts = int(np.sum(full == 0)), np.maximum(full, 1)
        self._first = np.cumsum(self._counts) - self._counts

    def __len__(self) -> int:
        return int(self._counts.sum())

    def __getitem__(self, index: int) -> dict[str, Any]:
        part, clip = self._find(index)
        return self._clip(part, int(part[3]) + clip * self.length)

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """A clip that begins anywhere in the file of clip ``index``."""
        part, _ = self._find(index)
        return self._clip(part, int(rng.integers(part[3], max(part[4] - self.length, part[3]) + 1)))

    def captions(self) -> list[str | None]:
        """The caption of each file."""
        return [self._files.record(index).caption for index in self._parts[:, 0].tolist()]

    def held_out(self) -> tuple["_Recordings", "_Recordings"]:
        """Clips to train on, and others: of every class a tenth of its files, at least one, or of its only file the
        last tenth. No second of sound is in both.
        """
        train, test = [], []
        for label in np.unique(self._parts[:, 1]):
            rows = np.flatnonzero(self._parts[:, 1] == label)
            if len(rows) > 1:
                held = np.linspace(0, len(rows) - 1, max(1, len(rows) // 10)).round().astype(int)
                test.append(self._parts[rows[held]])
                train.append(self._parts[np.delete(rows, held)])
                continue
            clips, one = self._counts[rows[0]], self._parts[rows[0]]
            if clips < 2:
                name = self._files.record(int(one[0])).name
                raise ValueError(f"every class must have two files, or one of two clips or more; {name} is alone")
            before, after = one.copy(), one.copy()
            before[4] = after[3] = one[3] + (clips - max(1, clips // 10)) * self.length
            train.append(before[None])
            test.append(after[None])
        found = copy.copy(self), copy.copy(self)
        for each, parts in zip(found, (train, test), strict=True):
            each._take(np.concatenate(parts))
        return found

    def _find(self, index: int) -> tuple[np.ndarray, int]:
        """The part of a file that clip ``index`` is in, and its number there."""
        if not 0 <= index < len(self):
            raise IndexError(f"index must be from 0 to {len(self) - 1}, got {index}")
        row = int(np.searchsorted(self._first, index, "right")) - 1
        return self._parts[row], int(index - self._first[row])

    def _clip(self, part: np.ndarray, start: int) -> dict[str, Any]:
        """The clip that begins at a sample of a file; reading begins before it, where a sample meets a frame."""
        index, _, rate, *_ = part.tolist()
        record = self._files.record(index)
        common = math.gcd(rate, self.sample_rate)
        margin = 0 if rate == self.sample_rate else -(-_MARGIN * self.sample_rate // min(rate, self.sample_rate))
        meeting = max(0, start - margin) // (self.sample_rate // common)
        begin, skipped = meeting * rate // common, start - meeting * self.sample_rate // common
        end = -(-(start + self.length + margin) * rate // self.sample_rate)
        with _opened(record) as file:
            count = min(end, file.frames) - begin
            check_unpacked("a clip of it", 4 * count * file.channels, record.size)
            file.seek(begin)
            x = file.read(count, dtype="float32", always_2d=True).T
            if x.shape[1] != count or not np.isfinite(x).all():
                what = "holds NaN or infinities" if x.shape[1] == count else f"ends after {begin + x.shape[1]:,} frames"
                raise ValueError(f"it {what}")
            if (peak := np.abs(x).max(initial=0.0)) > _MOST_PEAK:
                raise ValueError(f"it must have values of full scale [-1, 1], it has {peak:.3g}: divide it by its peak")
        x = x.mean(axis=0) if self.channels == 1 else x
        x = x if rate == self.sample_rate else resample(x, rate, self.sample_rate)
        x = x[..., skipped : skipped + self.length]
        x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, self.length - x.shape[-1])])
        codes = np.clip(np.round(x * 2.0**15), -(2**15), 2**15 - 1).astype(np.int16)
        return {"x": codes, **self._files.fields(record)}


@contextlib.contextmanager
def _opened(record: Record) -> Iterator[Any]:
    """The sound file of an example, and errors of reading it with its name and the reason."""
    try:
        import soundfile
    except ImportError as error:
        raise ImportError("sound files need soundfile: pip install 'scorekit[sound]'") from error
    try:
        with record.open() as content:
            if content.length > _MOST_BYTES:
                raise ValueError(f"it must hold at most {_MOST_BYTES:,} bytes, it holds {content.length:,}")
            with soundfile.SoundFile(cast(Any, content)) as file:
                yield file
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        raise ValueError(f"{record.name} cannot be read: {getattr(error, 'error_string', error)}") from error


def _files(path: Any) -> Files:
    root = Path(path).expanduser() if isinstance(path, str | os.PathLike) else None
    if root is not None and root.is_dir() and not any(root.glob("*.tar")):
        return FolderFiles(root, _SUFFIXES, "recordings")
    return TarFiles(path, _SUFFIXES, "recordings", by_folder=True)
