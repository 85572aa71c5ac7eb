"""Published weights from every kind of place, ready to sample; weights out and back."""

import dataclasses
import hashlib
import json
import pickle
import sys
import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import random_tensors
from safetensors.numpy import load_file, save_file

import scorekit as sk
from scorekit import io
from scorekit.io import _exporting as exporting
from scorekit.io import _hub as hub
from scorekit.io import loading
from scorekit.io.loading import Loaded
from scorekit.io.preconditioning import LogSNRInput, Preconditioning, ddpm, edm, precondition, ve, vp
from scorekit.networks import EDM2, MLP, DiT, UNet
from scorekit.schedules import Cosine, shifted

TENSORS, _, ARRAYS = random_tensors.load("dit")
FIRST = "transformer_blocks.0."
DIFFUSERS = {n: TENSORS[FIRST + n.split(".", 2)[2]] if "embedder" in n else a for n, a in TENSORS.items()}
X = np.moveaxis(ARRAYS["x"], 1, -1)
CONFIG = {"sample_size": 8, "in_channels": 3, "num_attention_heads": 2}
SCHEDULER = {"_class_name": "DDIMScheduler", "beta_schedule": "linear", "num_train_timesteps": 1000}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A folder of a diffusers pipeline."""
    folder = tmp_path_factory.mktemp("pipeline")
    for part, content in {"transformer": CONFIG, "scheduler": SCHEDULER}.items():
        (folder / part).mkdir()
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part / name).write_text(json.dumps(content))
    (folder / "model_index.json").write_text("{}")
    save_file(DIFFUSERS, folder / "transformer" / "diffusion_pytorch_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def loaded(pipeline):
    return io.load(pipeline)


@pytest.mark.slow
def test_a_pipeline_of_diffusers_is_a_denoiser(loaded):
    """eps at an entry of the table is the first half of the foreign network's channels at this timestep."""
    assert (loaded.shape, loaded.module.heads, type(loaded.target).__name__) == ((8, 8, 3), 2, "Eps")
    t = np.array([0.0, 250.5, 999.0], np.float32) / 999
    found = jax.jit(lambda d: d(jnp.asarray(X), t))(loaded.denoiser(labels=ARRAYS["labels"]))
    expected = np.moveaxis(ARRAYS["output"][:, :3], 1, -1)
    assert np.abs(found.eps - expected).max() < 1e-3 * np.abs(expected).max()
    alpha, sigma = (np.asarray(f(t))[:, None, None, None] for f in (loaded.schedule.alpha, loaded.schedule.sigma))
    np.testing.assert_allclose(alpha * found.x0 + sigma * found.eps, X, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_kept_variance_is_left_to_the_network(pipeline, loaded):
    full = io.load(pipeline, keep_variance=True)
    assert full.module.learned_variance
    find = jax.jit(lambda d: d(jnp.asarray(X), 0.5).eps)
    np.testing.assert_allclose(find(full.denoiser()), find(loaded.denoiser()), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_three_lines_to_a_picture(loaded):
    solver, ts = sk.samplers.recommended(loaded.schedule, 4)
    chex.clear_trace_counter()
    draw = lambda d, x: sk.sample(d, loaded.schedule, solver, x, ts)
    run = jax.jit(chex.assert_max_traces(draw, n=1))
    x = run(loaded.denoiser(labels=jnp.array([0, 5])), loaded.prior(jax.random.key(0), 2))
    assert x.shape == (2, 8, 8, 3)
    assert np.isfinite(x).all()
    run(loaded.denoiser(labels=jnp.array([1, 2])), loaded.prior(jax.random.key(1), 2))


def test_nested_files_and_wrappers_are_opened(tmp_path, loaded):
    """``ema`` of a training checkpoint, and one name around all others."""
    path = tmp_path / "0400000.pt"
    content = {"model": {}, "ema": {f"net.{name}": array for name, array in DIFFUSERS.items()}, "opt": {}}
    path.write_bytes(pickle.dumps(content))
    found = io.load(path, heads=2)
    chex.assert_trees_all_equal(found.params, loaded.params)
    assert found.shape is None
    with pytest.raises(ValueError, match="shape must be given to load"):
        found.prior(jax.random.key(0), 1)
    assert io.load(path, heads=2, shape=(8, 8, 3)).prior(jax.random.key(0), 1).shape == (1, 8, 8, 3)


def test_an_autoencoder_in_the_folder_decodes(tmp_path, pipeline, monkeypatch):
    """The layout of an autoencoder is one more line of the table."""

    class Doubling(UNet):
        def decode(self, z):
            return 2 * z

    layout = types.ModuleType("scorekit.io.formats.doubling")
    layout.recognises = lambda names: "twice" in names
    layout.convert = lambda tensors: (Doubling(), {"params": {"twice": tensors.take("twice")}})
    monkeypatch.setitem(sys.modules, layout.__name__, layout)
    monkeypatch.setitem(loading.FORMATS, "doubling", None)
    folder = tmp_path / "pipeline"
    folder.symlink_to(pipeline)
    copy = tmp_path / "copy"
    copy.mkdir()
    for part in ("transformer", "scheduler"):
        (copy / part).symlink_to(pipeline / part)
    (copy / "vae").mkdir()
    save_file({"twice": np.ones(1, np.float32)}, copy / "vae" / "diffusion_pytorch_model.safetensors")
    np.testing.assert_array_equal(io.load(copy).decode(jnp.ones(2)), [2.0, 2.0])
    with pytest.raises(ValueError, match="this one has none"):
        io.load(folder).decode(jnp.ones(2))
    with pytest.raises(ValueError, match="preconditioning must be given"):
        io.load(copy / "vae")


WRAPPERS = {
    "EDMPrecond": (edm(0.25), {"sigma_data": 0.25}),
    "Precond": (edm(), {}),
    "VPPrecond": (vp(0.1, 10.1), {"beta_min": 0.1, "beta_d": 10.0}),
    "VEPrecond": (ve(), {}),
    "iDDPMPrecond": (ddpm("squaredcos_cap_v2"), {}),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_of_edm_tell_the_preconditioning(name):
    expected, facts = WRAPPERS[name]
    found = loading._of_class({"class": name, **facts})
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    chex.assert_trees_all_close(found, expected, rtol=1e-7)


@pytest.mark.parametrize("case", [edm(0.25), ve(), vp(), ddpm(np.linspace(0.01, 0.3, 10), "v")])
def test_a_network_inside_its_preconditioning_is_the_published_formula(case):
    """``D = c_skip x + c_out F(c_in x, c_noise)`` of Karras et al. 2022, table 1, at ``x / alpha``."""
    t, x = 0.6, jnp.linspace(-2.0, 3.0, 5)
    alpha, sigma = float(case.schedule.alpha(t)), float(case.schedule.sigma(t))
    w, s = sigma / alpha, case.sigma_data
    inner = lambda x, c: jnp.sin(x) + 0.01 * c
    coefficients = {
        "EDMTarget": (0.25**2 / (w**2 + 0.25**2), w * 0.25 / np.hypot(w, 0.25)),
        "NegativeEps": (1.0, w),
        "Eps": (1.0, -w),
        "V": (1 / (1 + w * w), -w / np.hypot(1, w)),
    }
    c_skip, c_out = coefficients[type(case.target).__name__]
    c_in = 1.0 if s is None else 1 / np.hypot(w, s)
    noise = case.noise_input(case.schedule.log_snr(t))
    expected = c_skip * x / alpha + c_out * inner(c_in * x / alpha, noise)
    found = sk.denoiser_from_network(precondition(inner, case), case.schedule, case.target)(x, t).x0
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


# ---- what is refused -----------------------------------------------------------------------------------------------


def test_tensors_that_nothing_uses_and_files_that_end_early_are_named(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({**DIFFUSERS, "extra": np.ones(1, np.float32)}, path)
    with pytest.raises(ValueError, match="does not use: extra"):
        io.load(path, heads=2)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"a.safetensors: "):
        io.load(path)


def test_nothing_is_downloaded_unless_asked(tmp_path, pipeline, monkeypatch, capsys):
    calls = []

    def snapshot_download(repository, revision=None, allow_patterns=()):
        calls.append((repository, revision, tuple(allow_patterns)))
        return str(pipeline)

    def hf_hub_download(repository, file, revision=None):
        return str(pipeline / file)

    fake = types.ModuleType("huggingface_hub")
    fake.snapshot_download, fake.hf_hub_download = snapshot_download, hf_hub_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    io.load(pipeline)
    assert calls == []
    found = io.load("hf:facebook/DiT", revision="abc")
    assert calls == [("facebook/DiT", "abc", ("*.json", "*.safetensors"))]
    assert found.shape == (8, 8, 3)
    weights = pipeline / "transformer" / "diffusion_pytorch_model.safetensors"
    assert f"{weights}: sha256 {hashlib.sha256(weights.read_bytes()).hexdigest()}" in capsys.readouterr().out
    file = "hf:facebook/DiT/transformer/diffusion_pytorch_model.safetensors"
    assert io.load(file, heads=2).module == found.module
    with pytest.raises(ValueError, match="name must be hf:organisation/repository"):
        io.load("hf:DiT")
    fake.snapshot_download = lambda *_, **__: str(tmp_path)
    with pytest.raises(ValueError, match="name must be of a repository with weights"):
        hub.fetch("hf:facebook/DiT")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'scorekit\[hub\]'"):
        io.load("hf:facebook/DiT")


# ---- weights out ---------------------------------------------------------------------------------------------------


def small(preconditioning):
    module = MLP(features=8, blocks=1, num_classes=3, dtype=jnp.bfloat16)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.ones((1, 2)), 0.0)
    params = jax.tree.map(lambda leaf: jnp.asarray(random_tensors.draw("", leaf.shape)), shapes)
    return Loaded(module, params, preconditioning, (2,))


CASES = [
    Preconditioning(shifted(Cosine(), 2.0), sk.predictions.V(), LogSNRInput(scale=0.25)),
    ve(),
    ddpm("squaredcos_cap_v2"),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_what_is_exported_is_loaded_unchanged(tmp_path, case):
    before = small(case)
    io.export(tmp_path / "out", before, {"data": "points", "steps": 10})
    after = io.load(tmp_path / "out")
    assert (after.module, after.shape) == (before.module, before.shape)
    assert set(load_file(tmp_path / "out" / "model.safetensors")) >= {"conditioning.labels.embedding"}
    chex.assert_trees_all_equal(after.params, before.params)
    run = jax.jit(lambda d: d(jnp.ones((2, 2)), jnp.array([0.3, 0.9])))
    chex.assert_trees_all_equal(run(before.denoiser(labels=1)), run(after.denoiser(labels=1)))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| data | points |" in card
    assert hub.sha256(tmp_path / "out" / "model.safetensors") in card


def test_scalars_stay_scalars_and_transposed_arrays_are_copied(tmp_path):
    module = EDM2(channels=4, multipliers=(1,), head_channels=4)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.ones((1, 4, 4, 1)), 0.0)
    params = jax.tree.map(lambda leaf: np.array(random_tensors.draw("", leaf.shape), order="F"), shapes)
    after = io.load(io.export(tmp_path / "out", Loaded(module, params, edm(), (4, 4, 1))))
    chex.assert_trees_all_equal(after.params, params)
    assert sum(leaf.shape == () for leaf in jax.tree.leaves(after.params)) > 1
    assert after.params["constants"]


def test_what_cannot_be_written_is_named(tmp_path):
    of = small(ve()._replace(schedule=sk.schedules.schedule_from_functions(lambda t: 1 - t, lambda t: t)))
    with pytest.raises(ValueError, match=r"schedule must be one of .*FromFunctions\("):
        io.export(tmp_path, dataclasses.replace(of, preconditioning=of.preconditioning))
    with pytest.raises(ValueError, match="facts must be JSON"):
        io.export(tmp_path, small(ve()), {"loss": float("nan")})
    assert not exporting.is_export(tmp_path)


def test_a_transformer_that_was_loaded_is_exported(tmp_path, loaded):
    folder = io.export(tmp_path / "dit", loaded)
    again = io.load(folder)
    assert isinstance(again.module, DiT)
    chex.assert_trees_all_equal(again.params, loaded.params)
    chex.assert_trees_all_close(again.preconditioning, loaded.preconditioning, rtol=1e-7)
