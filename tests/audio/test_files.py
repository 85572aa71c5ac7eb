"""Sound files round-trip sample by sample; resampling keeps tones without aliasing or delay."""

import os

import numpy as np
import pytest

from scorekit.audio import float_to_pcm, pcm_to_float, read, resample, write

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("suffix", "subtype", "bits"), [("wav", "PCM_16", 16), ("flac", "PCM_24", 24)])
@pytest.mark.parametrize("shape", [(500,), (2, 300)])
def test_integer_formats_round_trip(tmp_path, suffix, subtype, bits, shape):
    x = np.asarray(pcm_to_float(float_to_pcm(RNG.uniform(-1, 1, shape), bits), bits))
    write(tmp_path / f"a.{suffix}", x, 8000, subtype=subtype)
    sound = read(tmp_path / f"a.{suffix}")
    assert sound.sample_rate == 8000
    np.testing.assert_array_equal(sound.x, x)


def test_float_format_and_clipping(tmp_path):
    x = np.float32([0.1, -1.5, 1.5])
    write(tmp_path / "a.wav", x, 8000, subtype="FLOAT")
    np.testing.assert_array_equal(read(tmp_path / "a.wav").x, x)
    write(tmp_path / "a.wav", x, 8000)
    np.testing.assert_array_equal(read(tmp_path / "a.wav").x * 32768, [round(3276.8), -32768, 32767])


def test_read_mixes_and_resamples(tmp_path):
    write(tmp_path / "a.wav", [[0.5] * 800, [0.25] * 800], 8000)
    sound = read(tmp_path / "a.wav", mono=True, sample_rate=4000)
    assert sound.x.shape == (400,)
    np.testing.assert_allclose(sound.x[100:300], 0.375, atol=1e-4)


def test_resample_keeps_tones_without_aliasing_or_delay():
    t = np.arange(16000) / 16000
    low, high = (np.sin(2 * np.pi * f * t) for f in (441.0, 3000.0))
    ours = resample(np.stack([low, high]), 16000, 4000)
    assert ours.shape == (2, 4000)
    np.testing.assert_allclose(ours[0, 100:-100], low[::4][100:-100], atol=1e-3)
    assert np.abs(ours[1, 100:-100]).max() < 1e-3  # above half the new rate: gone, not folded back


def test_resample_leaves_at_least_one_sample():
    np.testing.assert_array_equal(resample(np.array([[1.0, 0.5], [0.0, 0.0]]), 44100, 8000), [[0.75], [0.0]])


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "PCM_16"), ("wav", "FLOAT"), ("aiff", "PCM_16")])
@pytest.mark.parametrize("cut", [4, 9000])
def test_a_file_that_was_cut_off_is_an_error(tmp_path, suffix, subtype, cut):
    path = tmp_path / f"a.{suffix}"
    write(path, np.zeros(8000), 8000, subtype=subtype)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ValueError, match=rf"a.{suffix}': it ends after [\d,]+ of the [\d,]+ bytes that its header"):
        read(path)


def test_pipes_and_headers_of_many_hours_are_errors(tmp_path):
    pipe, path = tmp_path / "a.wav", tmp_path / "a.flac"
    os.mkfifo(pipe)
    write(path, np.zeros(8000), 8000)
    content = bytearray(path.read_bytes())
    content[21], content[22:26] = content[21] | 15, b"\xff" * 4  # the number of samples, of 36 bits
    path.write_bytes(content)
    for each, words in ((path, "its 2.39e\\+03 hours unpacks from"), (pipe, "it is a pipe")):
        with pytest.raises(ValueError, match=rf"path must be a sound file .*{each.name}.*{words}"):
            read(each)
