"""From rolls to sound and back: songs of MIDI files, the model that performs them, and the program."""

import json

import jax
import numpy as np
import pytest
from parameters import random_like
from programs import fails, save_run, save_untrained, succeeds
from sound_sets import RATE, phrase_set

from experiments import data
from experiments.cli.config import ConfigError
from experiments.configs.music import smoke_rolls
from experiments.configs.music import transcriber as transcriber_file
from experiments.configs.phrases import phrases
from experiments.data.builders import sets
from experiments.projects.audio.music import songs
from experiments.projects.audio.transcription import transcriber, transcription
from experiments.tasks.sequences import model as sequences
from scorekit import audio
from scorekit.data import midi
from scorekit.data.phrases import Note, piano_roll, random_phrase, render_phrase
from scorekit.data.soundfont import read_soundfont


def test_files_of_midi_in_folders_and_alone(tmp_path):
    for name in ("b.mid", "a.MID", "c.midi", "d.txt"):
        (tmp_path / name).write_text("")
    found = songs.midi_files([str(tmp_path), str(tmp_path / "d.txt")])
    assert [path.name for path in found] == ["a.MID", "b.mid", "c.midi", "d.txt"]
    (tmp_path / "e.mid").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match=r"--midi=.*: .*e\.mid: must be in .*, it is /dev/zero$"):
        songs.midi_files([str(tmp_path)])
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match=r"--midi=.*none: must be MIDI files or folders with some, there is no"):
        songs.midi_files([str(tmp_path / "none")])


def test_songs_of_scores_have_their_own_instrument_and_length(tmp_path):
    scores = [[Note(60, 100, 0.0, 0.5)], [Note(62, 80, 1.0, 1.2)]]
    files = [tmp_path / "one.mid", tmp_path / "two.mid"]
    for path, notes, program in zip(files, scores, (73, 1), strict=True):  # the performer knows no program 1
        midi.write_score(path, notes, program)
    assert songs.programs_of(files) == [73, 4]
    one, two = songs.of_scores(files, scores, RATE, [73, 4])
    assert (one.name, one.program, two.program) == ("one", 73, 4)
    assert len(one.roll) == 1 + round(1.0 * 62.5)
    assert len(one.rendered) == RATE * (len(one.roll) - 1) / 62.5
    np.testing.assert_array_equal(two.roll[:, 62].nonzero()[0], np.arange(62, 75))


def test_roughness_finds_broken_seams():
    t = np.arange(8192) / RATE
    smooth = np.sin(2 * np.pi * 440 * t)
    broken = smooth + 0.5 * (np.arange(8192) // 512 % 2)
    song = songs.Song("a", np.zeros((129, 128), np.uint8), 0, smooth)
    rows = {row[0]: row[1:] for row in songs.roughness([song], [broken], 512).rows}
    assert rows["rendered"] == pytest.approx([1, 1], rel=0.3)
    assert rows["performed"][0] > 3 * rows["performed"][1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A performer that has not been trained, and a transcriber with random parameters."""
    folder, patch = tmp_path_factory.mktemp("runs"), pytest.MonkeyPatch()
    scores = [random_phrase(seed, 1.024) for seed in range(2)]
    font = read_soundfont()
    sounds = [render_phrase(font, 0, notes, sample_rate=RATE, seconds=1.024) for notes in scores]
    rolls = np.stack([piano_roll(notes, 65) for notes in scores])
    found = phrase_set(np.stack(sounds) * 32767, rolls, [0, 73])
    patch.setattr(sets, "load_phrases", lambda *_: found)
    config = phrases.get_config()
    config.data.crop = 1024
    config.network.update(channels=4, multipliers=(1,), factors=())
    config.sampling.steps = 2
    save_untrained(folder / "performer", config)
    other = transcriber_file.get_config()
    other.transcriber.update(channels=4, blocks=1, windows=(0.128,))
    built = transcriber.build_transcriber(other, RATE)
    params = random_like(jax.eval_shape(lambda: transcriber.init_params(built, jax.random.key(0))), 0.3)
    save_run(folder / "transcriber", other, params)
    (folder / "transcriber" / transcription.FILE).write_text(json.dumps({"sample_rate": RATE, "onset_threshold": 0.4}))
    yield folder
    patch.undo()


@pytest.mark.slow
def test_songs_go_to_sound_and_back(runs, tmp_path):
    given = ["projects.audio.music.circle", f"--performer={runs}/performer", f"--transcriber={runs}/transcriber"]
    (tmp_path / "songs").mkdir()
    midi.write_midi(tmp_path / "songs" / "a.mid", sets.load_phrases().roll[0])  # type: ignore[call-arg]
    low = [Note(30, 90, 0.0, 0.4), Note(60, 90, 0.2, 0.4)]
    midi.write_score(tmp_path / "songs" / "b.mid", low)
    out = succeeds(*given, f"--midi={tmp_path}/songs", "--octaves", "--shown=1", f"--out={tmp_path}/out")
    assert "1 note of pitch 30 moved to 42" in out
    assert "means over 2 phrases" in out
    table = json.loads((tmp_path / "out" / "circle.json").read_text())
    assert list(table["metrics"]) == ["rendered", "performed"]
    assert all(0 <= part["onset F1"]["mean"] <= 1 for part in table["metrics"].values())
    assert [row["CPU seconds"] > 0 for row in table["cost"]] == [True, True]
    assert (tmp_path / "out" / "report.html").read_text().count("<audio") == 4
    played = midi.read_midi(tmp_path / "out" / "0.mid")[:64]
    np.testing.assert_array_equal(played, sets.load_phrases().roll[0, :64])  # type: ignore[call-arg]
    assert midi.read_score(tmp_path / "out" / "0_performed.mid").seconds >= 1.0
    midi.write_score(tmp_path / "rest.mid", [], seconds=1.0)
    (tmp_path / "bad.mid").write_text("no music")
    for flags, message in (
        ([f"--midi={tmp_path}/songs/b.mid"], "path must have notes from 36 to 84, got 1 of 30"),
        ([f"--midi={tmp_path}/rest.mid"], "must have notes, got none"),
        ([f"--midi={tmp_path}/bad.mid"], "path must be a MIDI file"),
        (["--program=5"], "--program=5: must be one of 0, 4"),
        ([f"--transcriber={runs}/performer"], f"--transcriber={runs}/performer: this run is a diffusion model"),
        ([f"--transcriber={runs}/performer"], "(config.task must be transcriber)"),
        (["--transcriber=none"], "--transcriber=none: there is no run here"),
        (["--performer="], "--performer=… must be given"),
    ):
        err = fails(*given, *flags, at_once=False)
        assert message in err
        assert err.count("\n") == 1


@pytest.mark.slow
def test_a_piece_is_composed_and_performed_by_one_command(runs, tmp_path):
    config = smoke_rolls.get_config()
    config.network.name = "causal_transformer"
    config.model, config.sampling.steps = "autoregressive", None
    dataset = sequences.load_data(config)
    built = sequences.build_model(config, dataset)
    shapes = jax.eval_shape(lambda: sequences.init_params(built, jax.random.key(0)))
    save_run(tmp_path / "rolls", config, random_like(shapes, 0.02))
    given = [
        "projects.audio.music.compose",
        f"--workdir={tmp_path}/rolls",
        "--seconds=4.096",
        f"--perform={runs}/performer",
    ]
    out = tmp_path / "out"
    for num, overwrite in ((2, []), (1, ["--overwrite"])):
        succeeds(*given, f"--num={num}", "--key=Am", "--program=73", f"--out={out}", *overwrite)
        names = [f"{i}{end}" for i in range(num) for end in (".mid", "_performed.wav", "_rendered.wav", "_roll.png")]
        assert sorted(path.name for path in out.glob("*.*") if path.stem[0].isdigit()) == sorted(
            [*names, *(f"{i}_{which}.png" for i in range(num) for which in ("performed", "rendered"))]
        )
    (known,) = json.loads((out / "compositions.json").read_text())
    assert (known["key"], known["program"], known["task"]) == ("A minor", 73, "new")
    performed = audio.files.read(out / "0_performed.wav")
    assert (performed.x.shape[-1], performed.sample_rate) == (round(4.096 * RATE), RATE)
    assert (out / "report.html").read_text().count("<audio") == 2
    assert "--program=5: must be one of 0, 4" in fails(*given, "--program=5", at_once=False)


def test_held_out_phrases_keep_their_roll_instrument_and_sound(runs):
    one, two = songs.held_out(data.build(phrases.get_config()), 2)
    stored = sets.load_phrases()  # type: ignore[call-arg]
    assert (one.name, one.program, two.program) == ("phrase 0", 0, 73)
    np.testing.assert_array_equal(two.roll, stored.roll[1])
    np.testing.assert_array_equal(two.rendered, np.float32(stored.x[1]) / 2**15)
