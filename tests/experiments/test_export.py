"""Runs out and in: an exported run gives the samples of the run, and a run starts from what was exported."""

import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import changed, error_of, fails, run
from safetensors.numpy import load_file, save_file

from experiments import data
from experiments.configs import base
from experiments.models import checks, runs, sampling
from experiments.models.model import build_model, flow_map, initial_params
from experiments.models.runs import as_loaded
from experiments.tasks import diffusion
from scorekit import io, process, samplers
from scorekit.io.preconditioning import LogSNRInput, ddpm, vp


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
    return initial_params(config, build_model(config, data.load(config)))


@pytest.mark.slow
def test_samples_of_the_exported_folder_are_those_of_the_run(ring_run, exported):
    config = changed(base.saved(ring_run), "sampling.ema=none", "sampling.guidance_scale=1", "sampling.steps=4")
    opened, labels = runs.open_run(config, ring_run), np.array([0, 1, 2, 1], np.int32)
    expected = opened.generate(opened.params, 3, labels, 1.0)
    loaded = io.load(exported)
    solver, ts = sampling.build_sampler(config, loaded.schedule)
    for_prior, _ = jax.random.split(jax.random.fold_in(jax.random.key(3), 0))
    like = jax.ShapeDtypeStruct((4, *loaded.shape), np.float32)
    x = process.sample_prior(for_prior, loaded.schedule, like, ts[0])
    sample = jax.jit(lambda d, x, ts: samplers.sample(None, d, loaded.schedule, solver, x, ts))
    found = opened.dataset.from_model(sample(loaded.denoiser(labels=labels), x, ts))
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_run_that_has_diverged_is_not_exported(ring_run):
    opened = runs.open_run(base.saved(ring_run), ring_run)
    params = jax.tree.map(lambda leaf: leaf * np.nan, opened.params)
    message = error_of(as_loaded, opened._replace(params=params))
    assert re.search("step 1 of the run cannot be exported: params must be finite.* --step", message)


def test_the_card_says_what_was_trained(exported):
    card = (exported / "README.md").read_text()
    for row in ("step | 1", "average | none", "samples/energy | 0.5", "guidance | classifier_free, γ = 1.5"):
        assert f"| {row} |" in card


def test_export_validates_its_flags(ring_run, tmp_path):
    (tmp_path / "file").write_text("")
    for flags, message in (
        ([], "--out=… must be given"),
        ([f"--out={tmp_path}/x", "--ema=0.5"], "config.sampling.ema=0.5: must be one of"),
        ([f"--out={tmp_path}/file"], f"--out={tmp_path}/file: must be a folder"),
    ):
        assert message in fails("export", f"--workdir={ring_run}", *flags, at_once=False)


def test_a_run_starts_from_what_was_exported(ring_run, exported, tmp_path):
    config = changed(base.saved(ring_run), f"init_from={exported}")
    checks.check_trainable(config)
    dataset = data.load(config)
    found = diffusion.fit(config, dataset, build_model(config, dataset), tmp_path)
    jax.tree.map(np.testing.assert_array_equal, found.params, io.load(exported).params)


def test_a_flow_map_starts_as_the_denoiser_that_was_exported(ring_run, exported):
    config = changed(base.saved(ring_run), f"init_from={exported}", "loss.flow_map.name=consistency_tuning")
    model, loaded = build_model(config, data.load(config)), io.load(exported)
    params, labels = initial_params(config, model), jnp.array([0, 3])
    x, t = jnp.ones((2, 2)), jnp.array([0.4, 0.9])
    expected = loaded.denoiser(labels=labels)(x, t).x0
    np.testing.assert_allclose(flow_map(model, params, labels)(x, t, 0 * t).x0, expected, rtol=1e-5, atol=1e-6)
    assert "scalars" in params["params"]["conditioning"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network.features=16", "its network has features = 8, that of the config 16"),
        ("network.blocks=2", "its network has blocks = 1, that of the config 2"),
        ("loss.target.name=eps", "its network predicts V, that of the config Eps"),
        ("preconditioning.sigma_data=0.5", "its network scales its input by sigma_data = None, that of the config 0.5"),
        ("preconditioning.noise.name=vp", "scale=0.25, offset=0, that of the config preconditioning.noise.name=vp"),
    ],
)
def test_weights_of_another_network_or_meaning_are_named(ring_run, exported, text, message):
    found = error_of(start, changed(base.saved(ring_run), f"init_from={exported}", text))
    assert found.startswith(f"config.init_from={exported}: ")
    assert message in found


def test_wrong_shapes_and_missing_files_are_named(ring_run, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "bad")
    weights = tmp_path / "bad" / "model.safetensors"
    save_file({**load_file(weights), "output.bias": np.zeros(5, np.float32)}, weights)
    config = base.saved(ring_run)
    words = "['output']['bias'] must have shape (2,), got (5,)"
    assert words in error_of(start, changed(config, f"init_from={tmp_path / 'bad'}"))
    words = "config.init_from=nowhere: must be a folder or file that exists"
    assert words in error_of(checks.check_trainable, changed(config, "init_from=nowhere"))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["preconditioning.noise.scale=-0.125"], LogSNRInput(scale=-0.125)),
        (
            ["preconditioning.noise.name=timestep", "preconditioning.noise.betas=scaled_linear"],
            ddpm("scaled_linear").noise_input,
        ),
        (["preconditioning.noise.name=vp"], vp().noise_input),
    ],
)
def test_the_preconditioning_is_that_of_the_config(ring_run, overrides, expected):
    config = changed(base.saved(ring_run), *overrides, "preconditioning.sigma_data=0.5")
    model = build_model(config, data.load(config))
    jax.tree.map(np.testing.assert_allclose, model.noise_input, expected)
    assert model.preconditioning.sigma_data == 0.5
