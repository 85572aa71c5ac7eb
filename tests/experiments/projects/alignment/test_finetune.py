"""``experiments.projects.alignment.finetune`` on a run with random parameters: a run to sample from, and errors."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from programs import fails, succeeds

PROGRAM = "projects.alignment.finetune"


def test_a_run_is_fine_tuned_and_sampled(digits_run, tmp_path):
    quick = [f"--start={digits_run}", f"--workdir={tmp_path / 'new'}", "--rounds=2", "--steps=2", "--num=160"]
    out = succeeds(PROGRAM, *quick, "--reward=compressibility", "--method=nft", "--config.sampling.steps=2")
    assert "round 1: reward -" in out
    assert (tmp_path / "new" / "report.html").read_text().count("<img") == 3
    assert "γ = 1, conditional" in succeeds("sample", f"--workdir={tmp_path / 'new'}", "--num=10")


@pytest.mark.parametrize("reason", ["compressibility: has no grad", "jax.numpy:sum: must be 32", "class:12: must be 0"])
def test_a_reward_that_cannot_be_used_is_one_sentence(digits_run, tmp_path, reason):
    quick = [f"--start={digits_run}", f"--workdir={tmp_path}", "--num=32", "--config.sampling.steps=2"]
    assert f"--reward={reason}" in fails(PROGRAM, *quick, f"--reward={reason.rpartition(': ')[0]}", at_once=False)


def test_convolutions_as_products_are_convolutions(load_program):
    x, pads = jax.random.normal(jax.random.key(0), (2, 5, 6, 3)), ((1, 0), (0, 2))
    layer = nn.Sequential([nn.Conv(4, (3, 2), padding="SAME"), nn.Conv(4, (3, 2), (2, 1), pads)])
    slopes = lambda: jax.jacobian(layer.apply, (0, 1))(layer.init(jax.random.key(1), x), x)
    with nn.intercept_methods(load_program(f"experiments.{PROGRAM}").with_products):
        result = slopes()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), result, slopes())
