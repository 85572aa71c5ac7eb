"""Recordings as clips: the samples of the file, random crops, what is held out, and what is wrong with a file."""

import itertools
import json
import os
import tarfile
import warnings

import numpy as np
import pytest

from scorekit import audio
from scorekit.data import recordings, stream

pytest.importorskip("soundfile")
RATES = {"0.wav": 8000, "1.flac": 11025, "2.ogg": 44100, "3.wav": 3999}


def write(path, x, rate=8000):
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, x, rate, subtype="FLOAT" if np.asarray(x).dtype == np.float32 else None)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Stereo noise of 1.2 s at several rates, in two classes."""
    root, rng = tmp_path_factory.mktemp("own") / "sounds", np.random.default_rng(0)
    for name, kind in itertools.product(RATES, ("a", "b")):
        write(root / kind / name, 0.2 * rng.standard_normal((RATES[name] * 6 // 5, 2)), RATES[name])
    return root


def ramp(path, start, count):
    """A file whose samples are their own numbers."""
    write(path, np.arange(start, start + count, dtype=np.int16))


@pytest.mark.parametrize("channels", [1, 2])
def test_clips_are_sections_of_the_file_at_the_rate_asked_for(noise, channels):
    source = recordings(noise, length=4096, sample_rate=8000, channels=channels)
    assert (len(source), source.classes, source.resampled, source.padded) == (16, ("a", "b"), 6, 0)
    for row, (kind, name) in enumerate(itertools.product("ab", RATES)):
        full = audio.read(noise / kind / name, sample_rate=8000, mono=channels == 1).x
        for clip in range(2):
            found = source[2 * row + clip]
            assert int(found["label"]) == "ab".index(kind)
            expected = np.clip(full[..., 4096 * clip : 4096 * (clip + 1)], -1, 1)
            np.testing.assert_allclose(found["x"] / 2**15, expected, atol=2**-15)


def test_tar_files_have_the_clips_and_classes_of_their_folders(noise, tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as file:
        file.add(noise, "./any")
    one, other = (recordings(path, length=4096, sample_rate=4000) for path in (noise, tmp_path))
    assert one.classes == other.classes
    for i in range(len(one)):
        np.testing.assert_array_equal(one[i]["x"], other[i]["x"])
        assert one[i]["label"] == other[i]["label"]


def test_random_clips_continue_anywhere_and_cover_the_file(tmp_path):
    ramp(tmp_path / "1.wav", 0, 1000)
    ramp(tmp_path / "2.wav", 2000, 100)  # one clip of it fits exactly
    source = recordings(tmp_path, length=100)
    with stream(source, seed=3, batch_size=22, workers=2) as batches:
        found = [next(batches)["x"] for _ in range(20)]
    starts = np.concatenate(found)[:, 0]
    assert all((np.diff(x, axis=1) == 1).all() for x in found)
    long = starts[starts < 2000]
    assert len(long) == 400  # ten of eleven clips of every epoch
    assert 0 <= long.min() < 20
    assert 880 < long.max() <= 900
    assert set(starts[starts >= 2000]) == {2000}
    for count in (1, 2):
        parts = []
        for p in range(count):
            with stream(source, seed=3, batch_size=22, start=154, process_index=p, process_count=count) as batches:
                parts.append(next(batches)["x"])
        np.testing.assert_array_equal(np.concatenate(parts), found[7])


def test_no_sample_is_in_both_parts(tmp_path):
    for i in range(20):
        ramp(tmp_path / "many" / f"{i:02}.wav", 1000 * i, 205)
    ramp(tmp_path / "one" / "1.wav", 21_000, 2050)
    parts = recordings(tmp_path, length=100).held_out()
    drawn = [[part.draw(i, np.random.default_rng(s)) for i in range(len(part)) for s in range(9)] for part in parts]
    seen = [set(np.concatenate([clip["x"] for clip in clips]).tolist()) for clips in drawn]
    assert not seen[0] & seen[1]
    assert [len({x // 1000 for x in found if x < 21_000}) for found in seen] == [18, 2]
    before, after = ([x for x in part if x >= 21_000] for part in seen)
    assert max(before) < 22_800 <= min(after)
    assert [len(part) for part in parts] == [18 * 2 + 18, 2 * 2 + 2]
    (tmp_path / "one" / "1.wav").unlink()
    ramp(tmp_path / "one" / "1.wav", 0, 150)
    with pytest.raises(ValueError, match=r"every class must have two files, or one of two clips or more; .*1\.wav is"):
        recordings(tmp_path, length=100).held_out()


def test_a_table_has_classes_and_captions(tmp_path):
    for i in range(3):
        ramp(tmp_path / "x" / f"{i}.wav", 100 * i, 30 + 10 * i)
    lines = [{"file_name": f"x/{i}.wav", "label": "ba"[i % 2], "text": f"sound {i}"} for i in range(3)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = recordings(tmp_path, length=40)
    assert (source.classes, source.padded) == (("a", "b"), 1)
    assert [int(source[i]["label"]) for i in range(3)] == [1, 0, 1]
    assert [source[i]["caption"] for i in range(3)] == source.captions() == ["sound 0", "sound 1", "sound 2"]
    np.testing.assert_array_equal(source[0]["x"], [*range(30), *[0] * 10])  # a short file, and silence
    np.testing.assert_array_equal(source.draw(0, np.random.default_rng(0))["x"], source[0]["x"])


def damaged(path):
    """A FLAC file of noise without its second half."""
    write(path, np.random.default_rng(0).integers(-9999, 9999, 60_000).astype(np.int16))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BROKEN = {
    "text.wav": (lambda path: path.write_text("no sound"), r"text\.wav cannot be read: Format not recognised"),
    "empty.wav": (lambda path: ramp(path, 0, 0), r"empty\.wav cannot be read: it must hold sound, and at"),
    "pipe.wav": (os.mkfifo, r"pipe\.wav cannot be read: .*must be a regular file, it is a pipe"),
    "out.wav": (lambda path: path.symlink_to("/dev/zero"), r"out\.wav cannot be read: .*it is a device"),
    "slow.wav": (lambda path: write(path, np.zeros(99), 8), r"slow\.wav cannot be read: its sample rate must be an in"),
    "half.flac": (damaged, r"half\.flac cannot be read: "),
    "nan.wav": (lambda path: write(path, np.full(99, np.nan, np.float32)), r"nan\.wav cannot .*it holds NaN or inf"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path, name):
    make, words = BROKEN[name]
    make(tmp_path / name)
    with pytest.raises(ValueError, match=words):
        next(stream(recordings(tmp_path, length=50_000, sample_rate=8000), seed=0, batch_size=1, workers=0))
    ramp(tmp_path / "good.wav", 1, 60)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        source = recordings(tmp_path, length=50_000, sample_rate=8000, on_error="skip")
        with stream(source, seed=0, batch_size=2, workers=0, on_error="skip") as batches:
            found = next(batches)["x"]
    assert ["could not be read" in str(warning.message) for warning in warned] == [True]
    np.testing.assert_array_equal(found[:, :60], [np.arange(1, 61)] * 2)


def test_floats_far_beyond_full_scale_are_an_error(tmp_path):
    for name, peak in (("loud", 1.5), ("codes", 32767.0)):
        audio.write(tmp_path / f"{name}.wav", np.linspace(-peak, peak, 100), 8000, subtype="FLOAT")
    source = recordings(tmp_path, length=50)
    with pytest.raises(ValueError, match=r"codes.wav cannot be read: .* full scale \[-1, 1\], it has 3.28e\+04"):
        source[0]
    assert source[2]["x"].min() == -32768
