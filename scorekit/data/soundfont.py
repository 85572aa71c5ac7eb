"""Reads SoundFont 2 files: the recordings that an instrument plays at a pitch and velocity, and their parameters.

The default font is TimGM6mb (Tim Brechbill), the General MIDI font that the package pretty_midi contains: 520
recordings, most of real instruments. It is licensed under the GNU GPL, version 2, and not part of scorekit: it is read
from the installed package, and sounds are rendered on the user's machine. Other SoundFont 2 files of uncompressed
16-bit samples work too (.sf2, not .sf3).

>>> os.path.basename(default_path())
'TimGM6mb.sf2'
>>> font = read_soundfont()
>>> zone = font.zones(73, 60, 100)[0]
>>> isinstance(font, SoundFont), isinstance(zone, Zone), font.names[0, 73], zone.root
(True, True, 'Flute TB', 61.51)

Source: Creative Technology, SoundFont technical specification 2.04 (2001).
"""

import dataclasses
import functools
import importlib.util
import os
import struct
from collections.abc import Iterator, Mapping

import numpy as np

from scorekit.io import read_file

__all__ = ["SoundFont", "Zone", "default_path", "read_soundfont"]

_ENVELOPE = ("delay", "attack", "hold", "decay", "sustain", "release", "hold_by_key", "decay_by_key")
_GENERATORS = {
    **dict(enumerate(("start", "end", "loop_start", "loop_end", "start_coarse"))),
    **{8: "filter_cents", 9: "filter_resonance", 11: "mod_to_filter", 12: "end_coarse", 17: "pan"},
    **{25 + i: f"mod_{name}" for i, name in enumerate(_ENVELOPE)},
    **{33 + i: name for i, name in enumerate(_ENVELOPE)},
    **{41: "instrument", 43: "key_range", 44: "velocity_range", 45: "loop_start_coarse", 46: "key", 47: "velocity"},
    **{48: "attenuation", 50: "loop_end_coarse", 51: "coarse_tune", 52: "fine_tune", 53: "sample", 54: "loop_mode"},
    **{56: "scale_tuning", 58: "root_key"},
}
"""The generators that are read, by their number in the file. Vibrato, tremolo, pitch envelopes, chorus, reverb and
modulators are ignored."""
_TIMES = {f"{kind}{name}" for kind in ("", "mod_") for name in ("delay", "attack", "hold", "decay", "release")}
_DEFAULTS = {
    **dict.fromkeys(_GENERATORS.values(), 0),
    **dict.fromkeys(_TIMES, -12000),
    **{"filter_cents": 13500, "scale_tuning": 100, "root_key": -1, "key": -1, "velocity": -1},
}
_NOT_ADDED = {"key_range", "velocity_range", "instrument", "sample", "loop_mode", "root_key", "key", "velocity"}

_MOST_BYTES, _MOST_ZONES = 2**32, 2**17  # of a file, whose sizes have 32 bits, and of all its presets
_NAMED = [("name", "S20")]
_ADDRESSES = [(field, "<u4") for field in ("start", "end", "loop_start", "loop_end", "rate")]
_BAG = np.dtype([("generator", "<u2"), ("modulator", "<u2")])
_GENERATOR = np.dtype([("kind", "<u2"), ("amount", "<i2")])
_RECORDS = {
    b"phdr": np.dtype([*_NAMED, ("program", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("rest", "<u4", 3)]),
    b"inst": np.dtype([*_NAMED, ("bag", "<u2")]),
    b"pbag": _BAG,
    b"ibag": _BAG,
    b"pgen": _GENERATOR,
    b"igen": _GENERATOR,
    b"shdr": np.dtype([*_NAMED, *_ADDRESSES, ("key", "u1"), ("correction", "i1"), ("link", "<u2"), ("type", "<u2")]),
}
_FIRSTS = {b"phdr": "bag", b"inst": "bag", b"pbag": "generator", b"ibag": "generator"}
"""The field of each table with the first row of another that belongs to a record; the next record ends it."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Zone:
    """A recording with its playback parameters for a range of pitches and velocities.

    Attributes:
      pitches: the least and the greatest MIDI pitch.
      velocities: the least and the greatest velocity.
      sound: the recording from its start to its end, float32 in [-1, 1), a view into the font.
      loop: the part ``[start, end)`` that repeats for the duration of the note, in samples; ``None`` without a loop.
      rate: samples a second of the recording, in Hz.
      root: the pitch in semitones at which it is played at its own rate, its correction in cents included.
      parameters: the generators by their names here, in the units of the file (timecents, centibels, cents, 0.1 %).
    """

    pitches: tuple[int, int]
    velocities: tuple[int, int]
    sound: np.ndarray
    loop: tuple[int, int] | None
    rate: float
    root: float
    parameters: Mapping[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SoundFont:
    """The instruments of a file.

    Attributes:
      presets: the zones of each ``(bank, program)``; bank 0 is melodic, bank 128 percussion.
      names: the name of each preset.
    """

    presets: Mapping[tuple[int, int], tuple[Zone, ...]]
    names: Mapping[tuple[int, int], str]

    def zones(self, program: int, pitch: int, velocity: int, bank: int = 0) -> list[Zone]:
        """The zones that are played together for a key, none if the instrument has no such key.

        Args:
          program: the instrument, 0 to 127 in the order of General MIDI.
          pitch: the MIDI pitch.
          velocity: 1 to 127.
          bank: 0, or 128 for percussion.
        """
        contains = lambda bounds, value: bounds[0] <= value <= bounds[1]
        zones = self.presets.get((bank, program), ())
        return [zone for zone in zones if contains(zone.pitches, pitch) and contains(zone.velocities, velocity)]


def default_path() -> str:
    """The path of the General MIDI font of pretty_midi, which must be installed and is not imported."""
    spec = importlib.util.find_spec("pretty_midi")
    path = os.path.join(os.path.dirname(spec.origin), "TimGM6mb.sf2") if spec and spec.origin else ""
    if not os.path.exists(path):
        raise ValueError(
            "path must name a SoundFont, or pretty_midi, which contains one, must be installed: pip install pretty_midi"
        )
    return path


@functools.lru_cache(maxsize=2)
def read_soundfont(path: str | None = None) -> SoundFont:
    """Reads a font of uncompressed 16-bit samples with at most 2¹⁷ zones; the two last ones read are cached.

    Args:
      path: an ``.sf2`` file; ``None`` is the General MIDI font of pretty_midi.
    """
    path = default_path() if path is None else path
    try:
        return _parse(read_file(path, limit=_MOST_BYTES))
    except (OSError, struct.error, KeyError, IndexError, ValueError) as error:
        raise ValueError(f"path must be a SoundFont 2 file of 16-bit samples, got {path!r}: {error!r}") from error


def _parse(raw: bytes) -> SoundFont:
    if raw[:4] != b"RIFF" or raw[8:12] != b"sfbk":
        raise ValueError("no RIFF file of type sfbk")
    chunks = {}
    for name, start, size in _chunks(raw, 12, len(raw)):
        if name == b"LIST":
            chunks.update((inner, (at, length)) for inner, at, length in _chunks(raw, start + 4, start + size))
    tables = {
        name: np.frombuffer(raw, dtype, chunks[name][1] // dtype.itemsize, chunks[name][0])
        for name, dtype in _RECORDS.items()
    }
    for name, field in _FIRSTS.items():
        if np.any(np.diff(tables[name][field].astype(int)) < 0):
            raise ValueError(f"the zones of {name.decode()} are out of order")
    start, size = chunks[b"smpl"]
    recorded = np.frombuffer(raw, "<i2", size // 2, start).astype(np.float32) / 32768.0
    instruments = [list(_bags(tables, b"inst", b"ibag", b"igen", i)) for i in range(len(tables[b"inst"]) - 1)]
    presets, names, left = {}, {}, _MOST_ZONES
    for i, header in enumerate(tables[b"phdr"][:-1]):
        slot = int(header["bank"]), int(header["program"])
        names.setdefault(slot, header["name"].split(b"\0")[0].decode("latin-1").strip())
        outers = [outer for outer in _bags(tables, b"phdr", b"pbag", b"pgen", i) if "instrument" in outer]
        left -= sum(len(instruments[outer["instrument"]]) for outer in outers)
        if left < 0:
            raise ValueError(f"it has more than {_MOST_ZONES:,} zones")
        zones = (
            _zone(tables[b"shdr"][inner["sample"]], recorded, inner, outer)
            for outer in outers
            for inner in instruments[outer["instrument"]]
            if "sample" in inner
        )
        presets.setdefault(slot, tuple(zone for zone in zones if len(zone.sound) > 1))
    return SoundFont(presets=presets, names=names)


def _chunks(raw: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The name, first byte and size of each chunk."""
    while start + 8 <= end:
        (size,) = struct.unpack_from("<I", raw, start + 4)
        yield raw[start : start + 4], start + 8, size
        start += 8 + size + size % 2


def _bags(tables, owners: bytes, bags: bytes, generators: bytes, index: int) -> Iterator[dict[str, int]]:
    """The parameters of each zone of a preset or instrument; defaults come from its global zone."""
    first, last = (int(tables[owners][i]["bag"]) for i in (index, index + 1))
    shared: dict[str, int] = {}
    for bag in range(first, last):
        a, b = (int(tables[bags][i]["generator"]) for i in (bag, bag + 1))
        read = {
            _GENERATORS[int(g["kind"])]: int(g["amount"])
            for g in tables[generators][a:b]
            if int(g["kind"]) in _GENERATORS
        }
        if bag == first and not {"instrument", "sample"} & set(read):
            shared = read
        yield {**shared, **read}


def _zone(header, recorded: np.ndarray, inner: Mapping[str, int], outer: Mapping[str, int]) -> Zone:
    """Combines a zone of an instrument with one of a preset: parameters add, ranges intersect."""
    added = {name: value for name, value in outer.items() if name not in _NOT_ADDED}
    own = {**_DEFAULTS, **inner}
    p = {name: value + added.get(name, 0) for name, value in own.items()}
    address = lambda name: p[name] + 32768 * p[f"{name}_coarse"]
    start = int(header["start"]) + address("start")
    end = int(header["end"]) + address("end")
    loop = [int(header[name]) + address(name) - start for name in ("loop_start", "loop_end")]
    sound = recorded[start:end]
    looped = p["loop_mode"] in (1, 3) and 0 <= loop[0] < loop[1] <= len(sound)
    key = p["root_key"] if p["root_key"] >= 0 else int(header["key"])
    return Zone(
        pitches=_intersection(inner.get("key_range"), outer.get("key_range")),
        velocities=_intersection(inner.get("velocity_range"), outer.get("velocity_range")),
        sound=sound,
        loop=(loop[0], loop[1]) if looped else None,
        rate=float(header["rate"]),
        root=(60 if key > 127 else key) - int(header["correction"]) / 100.0,
        parameters=p,
    )


def _intersection(*ranges: int | None) -> tuple[int, int]:
    """The intersection of ranges; a range is two bytes, the smallest value in the lower one."""
    bounds = [(0, 127) if r is None else (r & 0xFF, r >> 8 & 0xFF) for r in ranges]
    return max(low for low, _ in bounds), min(high for _, high in bounds)
