"""The transcriber: its spectrograms, augmentation, targets and loss, sounds of any kind, and its programs."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import random_like
from programs import changed, fails, given, save_run, succeeds
from sound_sets import RATE, phrase_set

from experiments.data.builders import sets
from experiments.projects.audio.configs import transcriber as config_file
from experiments.projects.audio.transcription import transcriber, transcription
from experiments.projects.audio.transcription.transcriber import BINS, SHIFTS, Keys, pitch_spectrogram
from scorekit import audio
from scorekit.audio import Sound
from scorekit.data.midi import read_score
from scorekit.data.phrases import piano_roll, random_phrase

HOP = 64


FIELDS = "transcriber.channels=4 transcriber.blocks=1 transcriber.windows=0.128,"
SMALL = changed(config_file, *FIELDS.split(), "evaluation.onset_threshold=0.3")


@pytest.fixture(scope="module")
def built():
    return transcriber.build_transcriber(SMALL, RATE)


def random_params(built):
    """With these every onset has a probability near 1/2."""
    return random_like(jax.eval_shape(lambda: transcriber.init_params(built, jax.random.key(0))), 0.3)


@pytest.fixture(scope="module")
def found(built):
    return transcription.trained(built, random_params(built), 0.3)


def tone(pitch, seconds, rate=RATE):
    return np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("pitch", [48, 61, 84])
def test_a_sine_is_in_the_bin_of_its_key_whatever_the_window(pitch):
    spectrogram = pitch_spectrogram(RATE, HOP, (0.512, 0.128))
    x = np.asarray(spectrogram.encode(0.5 * tone(pitch, 1.0)[None]))
    middle = BINS * (pitch - 36) + BINS // 2 - SHIFTS[0]  # of the three bins of the key
    assert x.shape == (1, 64, BINS * 49 + SHIFTS[-1] - SHIFTS[0], 2)
    assert x[0, 32, :, 0].argmax() == middle
    assert abs(x[0, 32, :, 1].argmax() - middle) <= 1
    below = (np.log(0.5) + 6) / 2 - x[0, 32, middle]
    assert np.all((below > -0.01) & (below < 1))  # wide filters average its peak
    quieter = spectrogram.encode(0.05 * tone(pitch, 1.0)[None])[0, 32, middle] - x[0, 32, middle]
    np.testing.assert_allclose(quieter, spectrogram.step(jnp.float32(-20.0)), atol=0.02)


def batch(seeds=(0, 1)):
    notes = [random_phrase(seed, 1.024) for seed in seeds]
    roll = np.stack([piano_roll(each, 65) for each in notes])
    sound = np.stack([sum(tone(n.pitch, 1.024) * 0.1 for n in each[:3]) for each in notes])
    return {"x": np.asarray(audio.float_to_pcm(sound)), "roll": roll}


@pytest.mark.slow
def test_augmentation_changes_the_sound_and_delays_the_roll_with_it(built):
    def prepared(**options):
        least = {"gain": 0.0, "noise": 60.0, "filter": 0.0, "delay": 0.0}
        return jax.jit(transcriber.make_prepare(built, **{**least, **options}))(jax.random.key(0), batch())

    plain, none = built.spectrogram.encode(audio.pcm_to_float(jnp.asarray(batch()["x"]))), prepared()
    assert jnp.mean(jnp.abs(none["x"] - plain)) < 0.1  # noise 60 dB below the signal
    np.testing.assert_allclose(none["roll"], batch()["roll"][:, :, 36:85] / 127, atol=1e-6)
    change = lambda **options: np.asarray(prepared(**options)["x"] - none["x"])
    quiet = change(gain=20.0)[np.asarray(none["x"] > 1.0)]
    assert -1.2 < quiet.min() < quiet.max() < 0
    assert change(noise=-60.0).mean() > 0.02
    filtered = change(filter=6.0)
    np.testing.assert_allclose(filtered - filtered[:, :1], 0.0, atol=1e-5)  # the same in every frame
    assert filtered.std() > 0.1
    late = prepared(delay=0.25)
    for i in range(2):
        steps = int(np.flatnonzero(np.asarray(late["roll"][i]).any(axis=1))[0])
        assert 0 <= steps <= 16
        np.testing.assert_array_equal(late["roll"][i, steps:], none["roll"][i, : 65 - steps])
        assert jnp.mean(jnp.abs(late["x"][i, steps + 5 : 55] - none["x"][i, 5 : 55 - steps])) < 0.05


def test_onsets_are_where_keys_go_down_or_are_struck_again():
    roll = jnp.array([[[0.5, 0], [0.5, 0], [0.6, 0], [0.6, 0], [0, 0], [0, 0.5]]])
    assert np.argwhere(transcriber.onsets(roll)[0]).tolist() == [[0, 0], [2, 0], [5, 1]]


def test_the_loss_is_least_at_the_targets(built):
    roll = batch()["roll"][:, :, 36:85].astype(np.float32) / 127
    start = np.asarray(transcriber.onsets(jnp.asarray(roll)))
    beside = np.pad(start, [(0, 0), (1, 1), (0, 0)])
    near = np.maximum(start, 0.5 * (beside[:, :-2] | beside[:, 2:]))
    logit = lambda p: jnp.asarray(np.log(np.clip(p, 1e-3, 1 - 1e-3) / (1 - np.clip(p, 1e-3, 1 - 1e-3))))

    def value(**changes):
        keys = Keys(logit(near), logit(roll > 0), jnp.asarray(roll))._replace(**changes)
        module = types.SimpleNamespace(apply=lambda params, x: keys)
        return float(transcriber.make_loss(built._replace(module=module))(None, {"x": None, "roll": roll})[0].sum())

    worse = [{"onset": logit(each)} for each in (start, np.where(near == 0.5, 0.3, near), 0.5 * near)]
    worse += [{"frame": logit(np.roll(roll > 0, 2, axis=1))}, {"velocity": jnp.asarray(roll) + 0.2}]
    assert min(value(**changes) for changes in worse) > 1.001 * value()


@pytest.mark.slow
@pytest.mark.parametrize(("blocks", "context"), [(1, 24), (12, 78)])
def test_a_long_sound_is_transcribed_as_a_whole(blocks, context):
    """In pieces with overlap, and silence around it: the seams change nothing, however deep the network."""
    built = transcriber.build_transcriber(changed(SMALL, f"transcriber.blocks={blocks}"), RATE)
    found = transcription.trained(built, random_params(built), 0.3)
    assert found.context == context
    x = np.random.default_rng(0).normal(size=300 * HOP).astype(np.float32)
    pieces = transcription._in_pieces(found, x)
    whole = found.predict(np.pad(x, context * HOP)[None])
    for part, full in zip(pieces, whole, strict=True):
        assert part.shape == (301, 49)
        np.testing.assert_allclose(part, full[0, context:-context], atol=2e-5)


@pytest.mark.slow
def test_sounds_of_any_kind(found):
    x = (0.3 * tone(60, 1.0, 8000) * (np.arange(8000) > 3000)).astype(np.float32)
    transcribe = lambda x, rate=8000: transcription.transcribe(found, Sound(np.asarray(x, np.float32), rate))
    notes, remark = transcribe(x)
    assert notes
    assert remark == ""
    assert transcribe(0.5 * np.stack([x, x]))[0] == notes != transcribe(x, 4000)[0]  # stereo, quieter
    assert max(note.end for note in notes) <= 1.0 + 2 / 62.5
    silent, remark = transcribe(np.full(8000, 1e-5))
    assert silent == []
    assert "silence" in remark
    transcribe(np.ones(128))
    with pytest.raises(ValueError, match="sound must last at least 16 ms, a frame, got 100 samples at 8000 Hz"):
        transcribe(np.ones(100))
    with pytest.raises(ValueError, match="sound must be finite, got 1 samples"):
        transcribe(np.append(x, np.nan))


def test_the_threshold_is_the_best_one_on_the_phrases_that_are_given(found):
    """Probabilities of onsets are 0.42 at notes and 0.32 elsewhere."""
    phrases = batch()
    roll = phrases["roll"][:, :, 36:85]
    noise = np.where(np.random.default_rng(0).random(roll.shape) < 0.01, 0.32, 0.0)
    values = np.where(transcriber.onsets(jnp.asarray(roll)), 0.42, noise)
    fixed = found._replace(predict=lambda _: Keys(values, roll > 0, values), onset_threshold=None)
    assert transcription.choose_threshold(fixed, phrases).onset_threshold == 0.35


@pytest.mark.slow
def test_a_sound_file_becomes_midi_an_image_and_a_page(tmp_path, built):
    save_run(tmp_path / "run", SMALL, random_params(built))
    (tmp_path / "run" / transcription.FILE).write_text(json.dumps({"sample_rate": RATE}))
    program = ["projects.audio.music.transcribe", f"--workdir={tmp_path}/run"]
    audio.write(tmp_path / "song.wav", 0.3 * np.stack([tone(60, 1.5, 16000), tone(67, 1.5, 16000)]), 16000)
    out = succeeds(*program, f"--sound={tmp_path}/song.wav", f"--out={tmp_path}/out/a.mid", "--program=73")
    score = read_score(tmp_path / "out" / "a.mid")
    assert f"{len(score.notes)} notes in 1.500 s" in out
    assert set(score.programs) == {73}
    assert score.seconds == pytest.approx(1.5, abs=0.04)
    assert "audio/wav" in (tmp_path / "out" / "a.html").read_text()
    (tmp_path / "song.mid").write_text("my music")
    (tmp_path / "text.wav").write_text("no sound")
    for name, message in (("song", "song.mid exists; replace it with"), ("text", "path must be a sound file")):
        assert message in fails(*program, f"--sound={tmp_path}/{name}.wav", at_once=False)
    assert (tmp_path / "song.mid").read_text() == "my music"


@pytest.mark.slow
def test_training_measures_and_reports(tmp_path, monkeypatch):
    one = batch((0, 1, 2, 3))
    monkeypatch.setattr(sets, "load_phrases", lambda *_: phrase_set(one["x"], one["roll"]))
    fields = f"{FIELDS} training.batch_size=8 training.warmup_steps=1 training.steps=2 evaluation.shown=2"
    succeeds("train", *given("projects/audio/configs/transcriber", fields), f"--workdir={tmp_path}")
    table = json.loads((tmp_path / "evaluation.json").read_text())
    assert list(table) == ["held-out phrases", "with noise 20 dB below"]
    assert (tmp_path / "report.html").read_text().count("<audio") == 4
    assert json.loads((tmp_path / transcription.FILE).read_text())["onset_threshold"] in transcription.THRESHOLDS
