"""The transcriber: its spectrograms, augmentation, targets and loss, sounds of any kind, and its programs."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import random_like
from programs import fails, save_run, succeeds
from sound_sets import RATE, phrase_set

from experiments.data.builders import sets
from experiments.projects.audio.configs import transcriber as config_file
from experiments.projects.audio.transcription import transcriber, transcription
from experiments.projects.audio.transcription.transcriber import (
    BINS,
    Keys,
    OnsetsAndFrames,
    harmonic_shifts,
    pitch_spectrogram,
)
from scorekit import audio
from scorekit.audio import Sound
from scorekit.data.midi import read_score
from scorekit.data.phrases import piano_roll, random_phrase

HOP = 64


def small_config():
    config = config_file.get_config()
    config.transcriber.update(channels=4, blocks=1, windows=(0.128,))
    config.evaluation.onset_threshold = 0.3
    return config


@pytest.fixture(scope="module")
def built():
    return transcriber.build_transcriber(small_config(), RATE)


@pytest.fixture(scope="module")
def params(built):
    """Random ones, with which every onset has a probability near 1/2."""
    shapes = jax.eval_shape(lambda: transcriber.init_params(built, jax.random.key(0)))
    return random_like(shapes, 0.3)


@pytest.fixture(scope="module")
def found(built, params):
    return transcription.trained(built, params, 0.3)


def tone(pitch, seconds, rate=RATE):
    return np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("pitch", [48, 61, 84])
def test_a_sine_is_in_the_bin_of_its_key_whatever_the_window(pitch):
    spectrogram = pitch_spectrogram(RATE, HOP, (0.512, 0.128))
    x = np.asarray(spectrogram.encode(0.5 * tone(pitch, 1.0)[None]))
    middle = BINS * (pitch - 36) + BINS // 2 - harmonic_shifts()[0]  # of the three bins of the key
    assert x.shape == (1, 64, BINS * 49 + harmonic_shifts()[-1] - harmonic_shifts()[0], 2)
    assert x[0, 32, :, 0].argmax() == middle
    assert abs(x[0, 32, :, 1].argmax() - middle) <= 1
    full = (np.log(0.5) + 6) / 2
    assert np.all((full - 1.0 < x[0, 32, middle]) & (x[0, 32, middle] < full + 0.01))  # wide filters average its peak
    np.testing.assert_allclose(
        spectrogram.encode(0.05 * tone(pitch, 1.0)[None])[0, 32, middle] - x[0, 32, middle],
        spectrogram.step(jnp.float32(-20.0)),
        atol=0.02,
    )


def batch(seeds=(0, 1)):
    notes = [random_phrase(seed, 1.024) for seed in seeds]
    roll = np.stack([piano_roll(each, 65) for each in notes])
    sound = np.stack([sum(tone(n.pitch, 1.024) * 0.1 for n in each[:3]) for each in notes])
    return {"x": np.asarray(audio.float_to_pcm(sound)), "roll": roll}


def prepared(built, **augmentation):
    options = transcriber.Augmentation(**{"gain": 0.0, "noise": 60.0, "filter": 0.0, "delay": 0.0, **augmentation})
    return jax.jit(transcriber.make_prepare(built, options))(jax.random.key(0), batch())


@pytest.mark.slow
def test_augmentation_changes_the_sound_and_delays_the_roll_with_it(built):
    plain = built.spectrogram.encode(audio.pcm_to_float(jnp.asarray(batch()["x"])))
    none = prepared(built)
    assert jnp.mean(jnp.abs(none["x"] - plain)) < 0.1  # noise 60 dB below the signal
    np.testing.assert_allclose(none["roll"], batch()["roll"][:, :, 36:85] / 127, atol=1e-6)
    quiet = prepared(built, gain=20.0)["x"] - none["x"]
    loud = np.asarray(none["x"] > 1.0)
    assert -1.2 < np.asarray(quiet)[loud].min() < np.asarray(quiet)[loud].max() < 0
    noisy, filtered = (
        np.asarray(prepared(built, **each)["x"] - none["x"]) for each in ({"noise": -60.0}, {"filter": 6.0})
    )
    assert noisy.mean() > 0.02
    np.testing.assert_allclose(filtered - filtered[:, :1], 0.0, atol=1e-5)  # the same in every frame
    assert filtered.std() > 0.1
    late = prepared(built, delay=0.25)
    for i in range(2):
        starts = np.flatnonzero(np.asarray(late["roll"][i]).any(axis=1))
        steps = int(starts[0])
        assert 0 <= steps <= 16
        np.testing.assert_array_equal(late["roll"][i, steps:], none["roll"][i, : 65 - steps])
        moved = late["x"][i, steps + 5 : 55] - none["x"][i, 5 : 55 - steps]
        assert jnp.mean(jnp.abs(moved)) < 0.05


def test_onsets_are_where_keys_go_down_or_are_struck_again():
    roll = np.zeros((1, 6, 2), np.float32)
    roll[0, :2, 0], roll[0, 2:4, 0], roll[0, 5, 1] = 0.5, 0.6, 0.5
    assert np.argwhere(np.asarray(transcriber.onsets(jnp.asarray(roll)))[0]).tolist() == [[0, 0], [2, 0], [5, 1]]


def test_the_loss_is_least_at_the_targets(built, monkeypatch):
    roll = batch()["roll"][:, :, 36:85].astype(np.float32) / 127
    start = np.asarray(transcriber.onsets(jnp.asarray(roll)))
    near = np.zeros(start.shape)
    near[:, 1:] = 0.5 * start[:, :-1]
    near[:, :-1] = np.maximum(near[:, :-1], 0.5 * start[:, 1:])
    near = np.maximum(near, start)
    logit = lambda p: jnp.asarray(np.log(np.clip(p, 1e-3, 1 - 1e-3) / (1 - np.clip(p, 1e-3, 1 - 1e-3))))

    def value(keys):
        module = type("Module", (), {"apply": staticmethod(lambda params, x: keys)})
        fake = built._replace(module=module)  # type: ignore[arg-type]
        return float(transcriber.make_loss(fake)(None, {"x": None, "roll": jnp.asarray(roll)})[0].sum())

    best = transcriber.Keys(logit(near), logit(roll > 0), jnp.asarray(roll))
    least = value(best)
    for worse in (
        best._replace(onset=logit(start)),
        best._replace(onset=logit(np.where(near == 0.5, 0.3, near))),
        best._replace(onset=logit(0.5 * near)),
        best._replace(frame=logit(np.roll(roll > 0, 2, axis=1))),
        best._replace(velocity=jnp.asarray(roll) + 0.2),
    ):
        assert value(worse) > 1.001 * least


@pytest.mark.slow
@pytest.mark.parametrize(("blocks", "context"), [(1, 24), (12, 78)])
def test_a_long_sound_is_transcribed_as_a_whole(blocks, context):
    """In pieces with overlap, and silence around it: the seams change nothing, however deep the network."""
    config = small_config()
    config.transcriber.blocks = blocks
    built = transcriber.build_transcriber(config, RATE)
    shapes = jax.eval_shape(lambda: transcriber.init_params(built, jax.random.key(0)))
    found = transcription.trained(built, random_like(shapes, 0.3), 0.3)
    assert found.context == context
    rng = np.random.default_rng(0)
    x = rng.normal(size=300 * HOP).astype(np.float32)
    pieces = transcription._in_pieces(found, x)
    whole = found.predict(np.pad(x, context * HOP)[None])
    for part, full in zip(pieces, whole, strict=True):
        assert part.shape == (301, 49)
        np.testing.assert_allclose(part, full[0, context:-context], atol=2e-5)


def test_a_prediction_depends_on_as_many_frames_as_reach_says():
    module = OnsetsAndFrames(pitches=1, channels=16, blocks=4)
    size, at = BINS + harmonic_shifts()[-1] - harmonic_shifts()[0], 60
    x = np.random.default_rng(0).normal(size=(3, 2 * at, size, 1)).astype(np.float32)
    x[1:] = x[0]
    x[1, at], x[2, at + 1] = 0.0, 0.0  # the first and the second of a pair
    params = random_like(jax.eval_shape(module.init, jax.random.key(0), jnp.asarray(x)), 0.5)
    frame = np.asarray(jax.jit(module.apply)(params, x).frame[..., 0])
    reach = [np.abs(np.flatnonzero(frame[i] != frame[0]) - (at + i - 1)).max() for i in (1, 2)]
    assert max(reach) == module.reach == 33


@pytest.mark.slow
def test_sounds_of_any_kind(found):
    x = (0.3 * tone(60, 1.0, 8000) * (np.arange(8000) > 3000)).astype(np.float32)
    notes, remark = transcription.transcribe(found, Sound(x, 8000))
    assert remark == ""
    assert notes
    assert transcription.transcribe(found, Sound(0.5 * np.stack([x, x]), 8000))[0] == notes  # stereo, quieter
    assert notes != transcription.transcribe(found, Sound(x, 4000))[0]
    assert max(note.end for note in notes) <= 1.0 + 2 / 62.5
    silent, sentence = transcription.transcribe(found, Sound(np.full(8000, 1e-5, np.float32), 8000))
    assert silent == []
    assert "silence" in sentence
    assert isinstance(transcription.transcribe(found, Sound(np.ones(128, np.float32), 8000))[0], list)
    with pytest.raises(ValueError, match="sound must last at least 16 ms, a frame, got 100 samples at 8000 Hz"):
        transcription.transcribe(found, Sound(np.ones(100, np.float32), 8000))
    with pytest.raises(ValueError, match="sound must be finite, got 1 samples"):
        transcription.transcribe(found, Sound(np.append(x, np.nan).astype(np.float32), 8000))


def test_the_threshold_is_the_best_one_on_the_phrases_that_are_given(found):
    """Probabilities of onsets are 0.42 at notes and 0.32 elsewhere."""
    given = batch()
    onset = np.asarray(transcriber.onsets(jnp.asarray(given["roll"][:, :, 36:85])))
    noise = np.random.default_rng(0).random(onset.shape) < 0.01
    values = np.where(onset, 0.42, np.where(noise, 0.32, 0.0))
    keys = Keys(values, given["roll"][:, :, 36:85] > 0, values)
    fixed = found._replace(predict=lambda _: keys, onset_threshold=None)
    assert transcription.choose_threshold(fixed, given).onset_threshold == 0.35


@pytest.mark.slow
def test_a_sound_file_becomes_midi_a_picture_and_a_page(tmp_path, params):
    save_run(tmp_path / "run", small_config(), params)
    (tmp_path / "run" / transcription.FILE).write_text(json.dumps({"sample_rate": RATE}))
    given = ["projects.audio.music.transcribe", f"--workdir={tmp_path}/run"]
    stereo = 0.3 * np.stack([tone(60, 1.5, 16000), tone(67, 1.5, 16000)])
    audio.write(tmp_path / "song.wav", stereo, 16000)
    out = succeeds(*given, f"--sound={tmp_path}/song.wav", f"--out={tmp_path}/out/a.mid", "--program=73")
    score = read_score(tmp_path / "out" / "a.mid")
    assert f"{len(score.notes)} notes in 1.500 s" in out
    assert set(score.programs) == {73}
    assert score.seconds == pytest.approx(1.5, abs=0.04)
    assert (tmp_path / "out" / "a.png").stat().st_size > 0
    assert "audio/wav" in (tmp_path / "out" / "a.html").read_text()
    audio.write(tmp_path / "rest.wav", np.zeros(8000), 8000)
    out = succeeds(*given, f"--sound={tmp_path}/rest.wav")
    assert "0 notes in 1.000 s" in out
    assert "silence" in out
    (tmp_path / "song.mid").write_text("my music")
    (tmp_path / "text.wav").write_text("no sound")
    for flags, message in (
        ([f"--sound={tmp_path}/song.wav"], "song.mid exists; replace it with --overwrite"),
        ([f"--sound={tmp_path}/text.wav"], "path must be a sound file"),
    ):
        assert message in fails(*given, *flags, at_once=False)


@pytest.mark.slow
def test_training_measures_and_reports(tmp_path, monkeypatch):
    one = batch((0, 1, 2, 3))
    monkeypatch.setattr(sets, "load_phrases", lambda *_: phrase_set(one["x"], one["roll"]))
    given = [
        "train",
        "--config=experiments/projects/audio/configs/transcriber.py",
        f"--workdir={tmp_path}",
        "--config.transcriber.channels=4",
        "--config.transcriber.blocks=1",
        "--config.transcriber.windows=0.128,",
        "--config.training.batch_size=8",
        "--config.training.warmup_steps=1",
        "--config.evaluation.shown=2",
    ]
    out = succeeds(*given, "--config.training.steps=2")
    assert "with noise 20 dB below" in out
    table = json.loads((tmp_path / "evaluation.json").read_text())
    assert list(table) == ["held-out phrases", "with noise 20 dB below"]
    assert 0 <= table["held-out phrases"]["onset F1"]["mean"] <= 1
    report = (tmp_path / "report.html").read_text()
    assert report.count("<audio") == 4
    assert json.loads((tmp_path / transcription.FILE).read_text())["onset_threshold"] in transcription.THRESHOLDS
