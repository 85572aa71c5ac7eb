"""From rolls to sound and back."""

import json

import jax
import numpy as np
import pytest
from parameters import random_like
from programs import changed, fails, save_run, save_untrained, succeeds
from sound_sets import RATE, phrase_set

from experiments.data.builders import sets
from experiments.projects.audio.configs import phrases
from experiments.projects.audio.configs import transcriber as transcriber_file
from experiments.projects.audio.transcription import transcriber, transcription
from scorekit.data.phrases import piano_roll, random_phrase, render_phrase
from scorekit.data.soundfont import read_soundfont


@pytest.mark.slow
def test_phrases_go_to_sound_and_back(monkeypatch, tmp_path):
    """By a performer that has not been trained, and a transcriber with random parameters."""
    scores, font = [random_phrase(seed, 1.024) for seed in range(2)], read_soundfont()
    sounds = [render_phrase(font, 0, notes, sample_rate=RATE, seconds=1.024) for notes in scores]
    rolls = np.stack([piano_roll(notes, 65) for notes in scores])
    rendered = phrase_set(np.stack(sounds) * 32767, rolls, [0, 73])
    monkeypatch.setattr(sets, "load_phrases", lambda *_: rendered)
    config = changed(phrases, "data.crop=1024", "network.channels=4", "network.multipliers=1,", "sampling.steps=2")
    config.network.factors = ()
    save_untrained(tmp_path / "performer", config)
    other = changed(transcriber_file, "transcriber.channels=4", "transcriber.blocks=1", "transcriber.windows=0.128,")
    built = transcriber.build_transcriber(other, RATE)
    params = random_like(jax.eval_shape(lambda: transcriber.init_params(built, jax.random.key(0))), 0.3)
    save_run(tmp_path / "transcriber", other, params)
    (tmp_path / "transcriber" / transcription.FILE).write_text(
        json.dumps({"sample_rate": RATE, "onset_threshold": 0.4})
    )
    given = ["projects.audio.music.circle", *(f"--{name}={tmp_path}/{name}" for name in ("performer", "transcriber"))]
    assert "means over 2 phrases" in succeeds(*given, "--shown=1", f"--out={tmp_path}/out")
    table = json.loads((tmp_path / "out" / "circle.json").read_text())
    assert list(table) == ["rendered", "performed"]
    assert (tmp_path / "out" / "report.html").read_text().count("<audio") == 4
    flag = f"--transcriber={tmp_path}/performer"
    assert f"{flag}: this run is a diffusion model" in fails(*given, flag, at_once=False)
    assert "--performer=none: there is no run here" in fails(*given, "--performer=none", at_once=False)
