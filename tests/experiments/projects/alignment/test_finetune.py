"""``experiments.projects.alignment.finetune`` on a run with random parameters: a run to sample from, and errors."""

import pytest
from programs import fails, succeeds

PROGRAM = "projects.alignment.finetune"


def test_a_run_is_fine_tuned_and_sampled(digits_run, tmp_path):
    quick = [f"--start={digits_run}", f"--workdir={tmp_path / 'new'}", "--rounds=2", "--steps=2", "--num=160"]
    out = succeeds(PROGRAM, *quick, "--reward=compressibility", "--method=nft", "--config.sampling.steps=2")
    assert "round 1: reward -" in out
    assert (tmp_path / "new" / "report.html").read_text().count("<img") == 3
    assert "γ = 1, conditional" in succeeds("sample", f"--workdir={tmp_path / 'new'}", "--num=10")


@pytest.mark.parametrize(
    ("reward", "reason"), [("compressibility", "has no gradient"), ("jax.numpy:sum", "must be 32 real numbers")]
)
def test_a_reward_that_cannot_be_used_is_one_sentence(digits_run, tmp_path, reward, reason):
    quick = [f"--start={digits_run}", f"--workdir={tmp_path}", "--num=32", "--config.sampling.steps=2"]
    assert f"--reward={reward}: {reason}" in fails(PROGRAM, *quick, f"--reward={reward}", at_once=False)
