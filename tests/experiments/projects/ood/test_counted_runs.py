"""The program that counts all sequences, on small models, and the runs that it does not take."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
import small_configs
from programs import changed, fails, save_random, succeeds

from experiments import tasks
from experiments.projects.ood import counted
from experiments.tasks.sequences.model import conditionals
from experiments.tasks.sequences.task import open_run
from scorekit import autoregressive as ar


@pytest.mark.slow
def test_a_short_run_is_counted(tmp_path):
    config = changed(small_configs.sequence(), "data.image_size=2", "symbols.levels=2")
    workdir = save_random(tmp_path / "short", config, 0.3)
    flags = [f"--workdir={workdir}", "--scales=0,2", "--temperatures=0.5,1"]
    text = succeeds("projects.ood.counted", *flags)
    assert float(re.findall(r"^0 +(\S+)", text, re.MULTILINE)[0]) < 1e-4  # the total variation at γ = 0
    run = open_run(tasks.saved(workdir), workdir, scales=(1.0,))
    counts = counted.count(run)
    for label in (3, 10):
        model = conditionals(run.model, run.params, jnp.int32(label), 16)
        probabilities = counts.cond[label] if label < 10 else counts.uncond
        np.testing.assert_allclose(probabilities, ar.log_prob_table(model, run.model.length), atol=1e-4)


def test_runs_without_few_exact_probabilities_are_named(tmp_path):
    long = save_random(tmp_path / "long", small_configs.sequence())
    words = "--workdir: must have at most 131,072 sequences, this run has"
    assert words in fails("projects.ood.counted", f"--workdir={long}", at_once=False)
    masked = changed(small_configs.sequence(), "model=masked", "network.name=dit", "network.patch=1")
    workdir = save_random(tmp_path / "masked", masked)
    err = fails("projects.ood.counted", f"--workdir={workdir}", at_once=False)
    assert "must be an autoregressive run, this one is a diffusion" in err
