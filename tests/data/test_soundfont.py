"""Reading SoundFonts: a synthetic file, the font of pretty_midi, and error messages."""

import os
import struct

import numpy as np
import pytest

from scorekit.data.soundfont import read_soundfont
from scorekit.data.synthesis import render_note


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def generators(*pairs) -> list[bytes]:
    """Numbers of the specification with their amounts; a pair is a range."""
    return [struct.pack("<HBB", k, *v) if isinstance(v, tuple) else struct.pack("<Hh", k, v) for k, v in pairs]


def write_font(path, samples, sample_rate, headers, instrument_zones, preset_zones):
    """A font of one preset (bank 0, program 5) and one instrument."""

    def bags(zones, tag):
        flat = [g for zone in zones for g in zone]
        starts = np.cumsum([0, *map(len, zones)])
        bag = b"".join(struct.pack("<HH", s, 0) for s in starts)
        return chunk(b"%cbag" % tag, bag) + chunk(b"%cmod" % tag, bytes(10)), chunk(
            b"%cgen" % tag, b"".join(flat) + bytes(4)
        )

    pbag, pgen = bags(preset_zones, ord("p"))
    ibag, igen = bags(instrument_zones, ord("i"))
    phdr = struct.pack("<20sHHHIII", b"Test", 5, 0, 0, 0, 0, 0) + struct.pack(
        "<20sHHHIII", b"EOP", 0, 0, len(preset_zones), 0, 0, 0
    )
    inst = struct.pack("<20sH", b"Inst", 0) + struct.pack("<20sH", b"EOI", len(instrument_zones))
    shdr = b"".join(
        struct.pack("<20sIIIIIBbHH", b"s", *ends, sample_rate, key, correction, 0, 1)
        for *ends, key, correction in headers
    )
    pdta = chunk(b"phdr", phdr) + pbag + pgen + chunk(b"inst", inst) + ibag + igen + chunk(b"shdr", shdr + bytes(46))
    body = b"sfbk" + chunk(b"LIST", b"INFO" + chunk(b"ifil", struct.pack("<HH", 2, 1)))
    body += chunk(b"LIST", b"sdta" + chunk(b"smpl", np.asarray(samples, "<i2").tobytes()))
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body) + 12 + len(pdta)) + body + chunk(b"LIST", b"pdta" + pdta))
    return str(path)


def test_read_soundfont_global_zones_ranges_and_offsets(tmp_path):
    samples = np.arange(1000)
    path = write_font(
        tmp_path / "a.sf2",
        samples,
        22050,
        [(100, 500, 200, 400, 60, -7), (500, 900, 600, 800, 72, 0)],
        [
            generators((48, 30), (34, -4000)),  # global: attenuation, attack
            generators((43, (0, 59)), (54, 1), (2, 5), (3, -5), (58, 50), (53, 0)),
            generators((43, (60, 127)), (44, (64, 127)), (48, 10), (53, 1)),
        ],
        [generators((48, 7)), generators((43, (40, 80)), (51, 12), (41, 0))],
    )
    font = read_soundfont(path)
    assert font.names == {(0, 5): "Test"}
    low, high = font.presets[0, 5]
    assert (low.pitches, high.pitches) == ((40, 59), (60, 80))
    assert (low.velocities, high.velocities) == ((0, 127), (64, 127))
    np.testing.assert_array_equal(low.sound * 32768, samples[100:500])
    np.testing.assert_array_equal(high.sound * 32768, samples[500:900])
    assert (low.loop, high.loop) == ((105, 295), None)
    assert low.root == 50 + 0.07
    assert high.root == 72
    assert (low.rate, high.rate) == (22050, 22050)
    assert (low.parameters["attenuation"], high.parameters["attenuation"]) == (
        37,
        17,
    )  # a zone's own, plus the preset's
    assert (low.parameters["attack"], low.parameters["decay"], low.parameters["coarse_tune"]) == (-4000, -12000, 12)
    assert font.zones(5, 50, 1) == [low]
    assert font.zones(5, 70, 63) == []
    assert font.zones(5, 70, 64) == [high]
    assert font.zones(4, 70, 64) == font.zones(5, 30, 64) == []


def test_read_soundfont_general_midi_font():
    font = read_soundfont()
    assert {(0, program) for program in range(128)} <= set(font.presets)
    assert (128, 0) in font.presets
    assert font.names[0, 73].startswith("Flute")
    sounds = {(zone.sound.__array_interface__["data"], len(zone.sound)) for p in font.presets.values() for zone in p}
    assert len(sounds) > 400
    assert all(np.abs(zone.sound).max() <= 1.0 for zone in font.presets[0, 0])
    assert all(font.zones(program, 60, 100) for program in range(112))
    assert read_soundfont() is font  # cached


def font_of(path, zones):
    """A font whose preset names its only instrument many times, each of many zones."""
    few = [generators((53, 0))] * zones, [generators((41, 0))] * zones
    return write_font(path, np.arange(100), 22050, [(0, 99, 0, 99, 60, 0)], *few)


def test_small_fonts_of_many_zones_are_an_error(tmp_path):
    assert len(read_soundfont(font_of(tmp_path / "a.sf2", 20)).presets[0, 5]) == 400
    path = font_of(tmp_path / "b.sf2", 3000)
    assert os.path.getsize(path) < 60_000
    with pytest.raises(ValueError, match=r"b\.sf2': ValueError\('it has more than 131,072 zones'\)$"):
        read_soundfont(path)


def test_zones_out_of_order_are_an_error(tmp_path):
    """They would be read once for each record that begins before them."""
    path = font_of(tmp_path / "a.sf2", 20)
    content = (tmp_path / "a.sf2").read_bytes()
    at = content.index(b"ibag") + 8
    (tmp_path / "a.sf2").write_bytes(content[:at] + struct.pack("<HH", 9, 0) + content[at + 4 :])
    with pytest.raises(ValueError, match=r"a\.sf2': ValueError\('the zones of ibag are out of order'\)$"):
        read_soundfont(path)


@pytest.mark.parametrize("change", [{"rate": 0}, {"rate": 2**32 - 1, "tune": 120}, {"rate": 22050, "tune": 32767}])
def test_recordings_far_from_the_sample_rate_are_an_error(tmp_path, change):
    tune = generators((53, 0), (51, change.get("tune", 0)))
    header = [(0, 99, 0, 99, 60, 0)]
    path = write_font(tmp_path / "a.sf2", np.arange(100), change["rate"], header, [tune], [generators((41, 0))])
    with pytest.raises(ValueError, match="font must have recordings within 12 octaves of sample_rate=4000 Hz, got one"):
        render_note(read_soundfont(path), 5, 60, 100, sample_rate=4000, held=0.1, seconds=0.2)
