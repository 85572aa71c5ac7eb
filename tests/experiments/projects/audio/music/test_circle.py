"""From rolls to sound and back."""

import json

import jax
import numpy as np
import pytest
from parameters import random_like
from programs import fails, save_run, save_untrained, succeeds
from sound_sets import RATE, phrase_set

from experiments.data.builders import sets
from experiments.projects.audio.configs import phrases
from experiments.projects.audio.configs import transcriber as transcriber_file
from experiments.projects.audio.transcription import transcriber, transcription
from scorekit.data.phrases import piano_roll, random_phrase, render_phrase
from scorekit.data.soundfont import read_soundfont


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
def test_phrases_go_to_sound_and_back(runs, tmp_path):
    given = ["projects.audio.music.circle", f"--performer={runs}/performer", f"--transcriber={runs}/transcriber"]
    out = succeeds(*given, "--shown=1", f"--out={tmp_path}/out")
    assert "means over 2 phrases" in out
    table = json.loads((tmp_path / "out" / "circle.json").read_text())
    assert list(table) == ["rendered", "performed"]
    assert all(0 <= part["onset F1"]["mean"] <= 1 for part in table.values())
    assert (tmp_path / "out" / "report.html").read_text().count("<audio") == 4
    for flag, message in (
        (f"--transcriber={runs}/performer", f"--transcriber={runs}/performer: this run is a diffusion model"),
        ("--transcriber=none", "--transcriber=none: there is no run here"),
        ("--performer=", "--performer=… must be given"),
    ):
        assert message in fails(*given, flag, at_once=False)
