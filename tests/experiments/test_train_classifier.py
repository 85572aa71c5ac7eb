"""A classifier from a shell, and sampling with what it trained."""

import json

import numpy as np
import pytest
from programs import run

TINY = [
    "--config=experiments/configs/images/digits_classifier.py",
    "--config.classifier.channels=8",
    "--config.classifier.multipliers=1,",
    "--config.training.batch_size=8",
    "--config.training.warmup_steps=2",
    "--config.training.checkpoint_every=2",
    "--config.evaluation.levels=3",
    "--config.evaluation.draws=1",
]


@pytest.mark.slow
def test_a_classifier_is_trained_with_one_of_clean_data_and_guides_a_model(digits_run, tmp_path):
    train = ("train", *TINY, f"--workdir={tmp_path}/classifier")
    code, out, err = run(*train, "--config.training.steps=4")
    assert code == 0, err
    assert "accuracy, noisy  accuracy, clean" in out
    found = json.loads((tmp_path / "classifier" / "evaluation.json").read_text())
    assert set(found) == {"noisy", "clean"}
    assert len(found["noisy"]["accuracy"]) == 4
    assert (tmp_path / "classifier" / "accuracy.png").stat().st_size > 0
    code, out, err = run(*train, "--config.training.steps=6")
    assert code == 0, err
    assert out.count("resuming  from step 4") == 2
    drawn = []
    for folder in ("classifier", "classifier/plain"):
        code, out, err = run(
            "sample", f"--workdir={digits_run}", f"--out={tmp_path}/sample", "--overwrite", "--num=4",
            "--config.guidance=classifier,dynamic_threshold",
            f"--config.rules.classifier.workdir={tmp_path}/{folder}", "--config.sampling.guidance_scale=300",
        )  # fmt: skip
        assert code == 0, err
        assert "classifier + dynamic_threshold" in out
        with np.load(tmp_path / "sample.npz") as archive:
            drawn.append(archive["x"])
    assert not np.array_equal(*drawn)
