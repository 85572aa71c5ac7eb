"""Runs out and in: an exported run gives the samples of the run, and a run starts from what was exported."""

import json
import re
import shlex
import shutil
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import changed, error_of, run

from experiments import data
from experiments.cli import command_line
from experiments.tasks.diffusion import runs, task
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.build import build_model
from experiments.tasks.diffusion.fine_tuning import initial_params
from experiments.tasks.diffusion.runs import as_loaded
from scorekit import io


@pytest.fixture(scope="module")
def exported(ring_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    workdir, out = folder / "run", folder / "ring"
    shutil.copytree(ring_run, workdir)
    (workdir / "evaluation.json").write_text(json.dumps({"samples/energy": 0.5}))
    code, _, error = run("export", f"--workdir={workdir}", f"--out={out}", "--ema=none")
    assert (code, error) == (0, "")
    return out


def start(config):
    config = task.resolve(config, data.build(config))
    return initial_params(config, build_model(config, data.build(config)), jax.random.key(config.seed))


SAMPLING = {
    "guided": ["sampling.guidance_scale=3", "sampling.grid.t_max=0.9", "sampling.denoise=true"],
    "conditional": ["guidance=conditional"],
}


@pytest.mark.slow
@pytest.mark.parametrize("overrides", SAMPLING.values(), ids=SAMPLING)
def test_the_example_of_the_card_draws_what_the_report_drew(ring_run, tmp_path, monkeypatch, overrides):
    overrides = ["sampling.ema=none", "sampling.steps=4", "seed=3", *overrides]
    config = changed(diffusion.saved(ring_run), *overrides)
    opened = runs.open_run(config, ring_run)
    labels = opened.dataset.preview().labels
    expected = opened.generate(opened.params, config.seed, labels, config.sampling.guidance_scale)
    given = [f"--config.{override}" for override in overrides]
    assert run("export", f"--workdir={ring_run}", f"--out={tmp_path}/ring", *given)[0] == 0
    monkeypatch.chdir(tmp_path)
    variables = {}
    exec(re.search(r"```python\n(.*?)```", Path("ring/README.md").read_text(), re.DOTALL)[1], variables)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(variables["x"], expected[: len(variables["x"])], rtol=1e-4, atol=1e-5)


def test_a_run_starts_from_what_was_exported_and_a_card_says_what_it_is(ring_run, exported):
    card = (exported / "README.md").read_text()
    for row in ("step | 1", "average | none", "samples/energy | 0.5", "guidance | classifier_free, γ = 1.5"):
        assert f"| {row} |" in card
    config = changed(diffusion.saved(ring_run), f"init_from={exported}")
    dataset = data.build(config)
    config = task.resolve(config, dataset)
    one = task.build(config, dataset).trained
    chex.assert_trees_all_equal(one.init(jax.random.key(0)), io.load(exported).params)


def test_parameters_that_are_not_finite_and_flow_maps_are_not_exported(ring_run):
    opened = runs.open_run(diffusion.saved(ring_run), ring_run)
    diverged = opened._replace(params=jax.tree.map(lambda leaf: leaf * np.nan, opened.params))
    assert re.search(
        "step 1 of the run cannot be exported: params must be finite.* --step", error_of(as_loaded, diverged)
    )
    config = changed(diffusion.saved(ring_run), "loss.flow_map.name=lagrangian")
    jumping = opened._replace(model=build_model(config, opened.dataset))
    assert "config.loss.flow_map: a flow map cannot be exported" in error_of(as_loaded, jumping)


def test_a_flow_map_starts_as_the_denoiser_that_was_exported(ring_run, exported):
    config = changed(diffusion.saved(ring_run), f"init_from={exported}", "loss.flow_map.name=consistency_tuning")
    model, loaded = build_model(config, data.build(config)), io.load(exported)
    params, labels = initial_params(config, model, jax.random.key(0)), jnp.array([0, 3])
    x, t = jnp.ones((2, 2)), jnp.array([0.4, 0.9])
    expected = loaded.denoiser(labels=labels)(x, t).x0
    np.testing.assert_allclose(model.flow_map(params, labels)(x, t, 0 * t).x0, expected, rtol=1e-5, atol=1e-6)
    assert "scalars" in params["params"]["conditioning"]


def test_values_other_than_those_of_the_weights_are_one_error_with_overrides_that_mend_it(ring_run, exported):
    texts = [
        "network.features=16",
        "network.blocks=2",
        "loss.target.name=eps",
        "preconditioning.noise.name=vp",
        "preconditioning.sigma_data=0.5",
    ]
    config = changed(diffusion.saved(ring_run), f"init_from={exported}", *texts)
    head, found = error_of(task.resolve, config, data.build(config)).split(" must have its values: ")
    assert head == f"config.init_from={exported}: the config"
    _, wanted = command_line.split_overrides(shlex.split(found))
    assert dict(wanted) == {
        "network.features": "8",
        "network.blocks": "1",
        "loss.target.name": "v",
        "preconditioning.noise.name": "log_snr",
        "preconditioning.sigma_data": "None",
    }
    for field, text in wanted:
        command_line.override(config, field, text)
    start(config)
