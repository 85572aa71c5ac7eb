"""A classifier from a shell, and sampling with what it trained."""

import json

import numpy as np
import pytest
from programs import given, overridden, succeeds

TINY = """
    classifier.channels=8 classifier.multipliers=1, training.batch_size=8 training.warmup_steps=2
    training.checkpoint_every=2 evaluation.levels=3 evaluation.draws=1
"""


@pytest.mark.slow
def test_a_classifier_is_trained_with_one_of_clean_data_and_guides_a_model(digits_run, tmp_path):
    train = ("train", *given("images/digits_classifier", TINY), f"--workdir={tmp_path}/classifier")
    out = succeeds(*train, "--config.training.steps=4")
    assert "accuracy, noisy  accuracy, clean" in out
    found = json.loads((tmp_path / "classifier" / "evaluation.json").read_text())
    assert set(found) == {"noisy", "clean"}
    assert len(found["noisy"]["accuracy"]) == 4
    assert (tmp_path / "classifier" / "accuracy.png").stat().st_size > 0
    assert succeeds(*train, "--config.training.steps=6").count("resuming  from step 4") == 2
    drawn = []
    for folder in ("classifier", "classifier/plain"):
        rule = f"guidance=classifier,dynamic_threshold rules.classifier.workdir={tmp_path}/{folder}"
        flags = [f"--out={tmp_path}/sample", "--overwrite", "--num=4"]
        fields = overridden(f"{rule} sampling.guidance_scale=300")
        out = succeeds("sample", f"--workdir={digits_run}", *flags, *fields)
        assert "classifier + dynamic_threshold" in out
        with np.load(tmp_path / "sample.npz") as archive:
            drawn.append(archive["x"])
    assert not np.array_equal(*drawn)
