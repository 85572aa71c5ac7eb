"""``experiments.projects.audio.sound.evaluate_notes``: the files that it writes for a tiny run on tones."""

import json

import pytest
import small_configs
from programs import give, save_untrained
from sound_sets import tones

from experiments.data.builders import sets
from experiments.tasks.diffusion import task as diffusion


@pytest.mark.slow
def test_every_combination_is_evaluated_and_written(load_program, monkeypatch, tmp_path):
    config = small_configs.notes()
    config.data.train_split, config.data.test_split = "train", "test"
    config.network.update(multipliers=(1,), factors=(), attention_resolutions=())
    config.sampling.update(steps=2, batch_size=8, ema="none")
    monkeypatch.setattr(sets, "load_notes", tones)
    workdir = save_untrained(tmp_path / "one", config)
    program = load_program("experiments.projects.audio.sound.evaluate_notes")
    give(workdir=workdir, scales="1,2", steps="1,2", num="24", shown="2")
    program.main(diffusion.saved(str(workdir)))
    table = json.loads((workdir / "notes" / "table.json").read_text())
    drawn = [f"γ = {scale}, {steps} steps" for steps in (1, 2) for scale in (1, 2)]
    assert list(table) == ["real held-out notes", *drawn]
    assert table["real held-out notes"]["pitch"] == table["real held-out notes"]["family"] == 1.0
    assert table["real held-out notes"]["Fréchet distance"] < 0.5 * table[drawn[0]]["Fréchet distance"]
    assert [table[row]["evaluations"] for row in drawn] == [1, 1, 2, 2]
    for row in drawn:
        assert table[row]["real-time factor"] == pytest.approx(table[row]["seconds a note"] / 0.512)
    page = (workdir / "notes" / "report.html").read_text()
    assert page.count("<audio") == 2 * (1 + len(drawn))
    assert "Organ, A2, velocity 90" in page
