"""Audio widgets: the files, the page, and pictures that show the sound in decibels."""

import base64
import re

import numpy as np
import pytest

from experiments.reporting import report
from experiments.reporting.audio_widgets import audio_widgets, decibels
from scorekit import audio

RATE = 4000


def sines(*pairs):
    return np.stack([a * np.sin(2 * np.pi * f / RATE * np.arange(RATE // 4)) for a, f in pairs]).astype(np.float32)


def test_the_page_embeds_the_files_that_were_written(tmp_path):
    sounds = {"held out": sines((0.5, 440), (0.25, 880)), "6 steps, γ = 2": sines((0.1, 440), (0.2, 880))}
    section = audio_widgets(tmp_path / "wav", sounds, RATE, row_labels=["oboe", "cello <1>"], caption="two notes")
    page = report.write_report(tmp_path / "report.html", "notes", {}, [section]).read_text()
    played = re.findall(r'<audio controls preload="none" src="data:audio/wav;base64,([^"]*)"', page)
    names = ["0_held_out", "0_6_steps_γ_2", "1_held_out", "1_6_steps_γ_2"]
    assert [base64.b64decode(p) for p in played] == [(tmp_path / "wav" / f"{n}.wav").read_bytes() for n in names]
    assert page.count('src="data:image/png;base64,') == 4
    assert "cello &lt;1&gt;" in page
    assert "6 steps, γ = 2" in page
    assert "two notes" in page
    back = audio.read(tmp_path / "wav" / "1_held_out.wav")
    assert back.sample_rate == RATE
    np.testing.assert_allclose(back.x, sounds["held out"][1], atol=2**-15)


def test_zero_decibels_is_a_full_sine_and_rows_are_its_frequency():
    level = decibels(sines((0.1, 1000))[0], RATE, 16)
    middle = level[len(level) // 2]
    assert np.argmax(middle) == 1000 * 128 // RATE
    assert middle.max() == pytest.approx(-20, abs=0.1)
    assert decibels(np.zeros(500, np.float32), RATE, 16).max() < -170
