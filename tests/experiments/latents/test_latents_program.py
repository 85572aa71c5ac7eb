"""Autoencoders by config, latents as a data set, and codes that samples are snapped to; hardly trained."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.cli.config import ConfigError, save_resolved
from experiments.configs import base_latent
from experiments.configs.images import smoke
from experiments.data.dataset import load_dataset
from experiments.evaluation.run_metrics import run_metrics as evaluation
from experiments.models import autoencoder as latent_model
from experiments.models import model
from experiments.models.latents import STANDARD, Latents, margin, open_latents
from scorekit import training
from scorekit.networks import fixed_noise_kl

ROOT = Path(__file__).parents[2]
PARTS = "train[:60]", "test[:40]"


def latent_config(codes=None, **loss):
    config = base_latent.get_config()
    config.data.train_split, config.data.test_split = PARTS
    config.autoencoder.update(channels=8, latent_channels=3, codes=codes)
    config.evaluation.ema = "none"
    config.loss.update(loss)
    return config


def model_config(folder=None):
    config = smoke.get_config()
    config.data.train_split, config.data.test_split = PARTS
    config.data.latents = None if folder is None else str(folder)
    config.sampling.ema = "none"
    return config


@pytest.fixture(scope="module")
def digits():
    return load_dataset(latent_config())


@pytest.fixture(scope="module", params=[None, 16], ids=["continuous", "discrete"])
def run(request, digits, tmp_path_factory):
    """The folder of an autoencoder that is not trained, as its program leaves it."""
    folder, config = tmp_path_factory.mktemp("run"), latent_config(request.param)
    built = latent_model.build_latent(config, digits)
    params = latent_model.init_params(built, digits, 0)
    with training.Checkpoints(folder / "checkpoints") as checkpoints:
        state = training.init_state(jax.random.key(0), params, training.make_optimizer(1e-3, 0, 1, 1.0, 1.0, 0.0))
        checkpoints.save(1, state)
        checkpoints.wait()
    found = latent_model.standard(latent_model.make_encode(built, digits, params), digits)
    (folder / STANDARD).write_text(json.dumps(found))
    save_resolved(config, folder / "config.json")
    return folder, built, params


@pytest.fixture(scope="module")
def latents(run, digits):
    found = load_dataset(model_config(run[0]))
    assert isinstance(found, Latents)
    return found


def test_latents_are_standardised_and_of_the_data(latents, run, digits):
    _, built, params = run
    assert latents.shape == latents.train["x"].shape[1:] == (4, 4, 3)
    np.testing.assert_allclose(latents.train["x"].mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(latents.train["x"].std((0, 1, 2)), 1, atol=1e-4)
    np.testing.assert_array_equal(latents.train["label"], digits.train["label"])
    np.testing.assert_array_equal(latents.real(latents.test), digits.real(digits.test))
    z = latent_model.make_encode(built, digits, params)(digits.test["x"][:5])
    back = built.module.apply(params, z, method="decode")
    np.testing.assert_allclose(
        latents.from_model(latents.to_model(latents.test["x"][:5])), digits.from_model(back), atol=1e-3
    )


def test_batches_are_of_latents_and_a_pure_function_of_the_step(latents):
    one, again, other = (latents.batch(0, step, 7) for step in (3, 3, 4))
    assert set(one) == {"x", "label"}
    np.testing.assert_array_equal(one["x"], again["x"])
    assert not np.array_equal(one["x"], other["x"])
    row = np.flatnonzero((latents.train["x"] == one["x"][0]).all((1, 2, 3)))[0]
    assert latents.train["label"][row] == one["label"][0]


def test_samples_are_snapped_to_codes_before_they_are_decoded(latents):
    x = jnp.asarray(latents.test["x"][:4])
    noisy = x + 1e-3 * jax.random.normal(jax.random.key(0), x.shape)
    if latents.codes is None:
        np.testing.assert_allclose(latents.snap(noisy), noisy, atol=1e-5)
        return
    np.testing.assert_allclose(latents.snap(noisy), x, atol=1e-5)
    np.testing.assert_array_equal(latents.from_model(noisy), latents.from_model(x))
    assert margin(latents, x) == pytest.approx({"distance": 0.0, "unambiguous": 1.0}, abs=1e-5)
    codes = latents.codes
    between = jnp.linalg.norm(codes[:, None] - codes[None], axis=-1) + jnp.diag(jnp.full(len(codes), jnp.inf))
    i, j = np.unravel_index(between.argmin(), between.shape)  # nearest neighbours of each other
    found = margin(latents, codes[i] + 0.49 * (codes[j] - codes[i]))
    assert found == pytest.approx({"distance": 0.49, "unambiguous": 1.0}, rel=1e-3)
    found = margin(latents, codes[i] - 0.8 * (codes[j] - codes[i]))
    assert found["unambiguous"] == 0.0


@pytest.mark.slow
def test_a_model_of_latents_is_evaluated_on_pictures(latents):
    config = model_config()
    config.evaluation.guidance_scales = (1.0,)
    built = model.build_model(config, latents)
    generate = model.make_sampler(config, built, latents)
    params = model.init_params(built, jax.random.key(0))
    samples = generate(params, 0, np.arange(3), 1.0)
    assert samples.shape == (3, 8, 8, 1)
    found = evaluation.evaluate(config, built, latents, params, generate).numbers
    assert found["real test data/class accuracy"] > 0.5
    discrete = latents.codes is not None
    assert ("snapping/unambiguous" in found) == discrete
    if discrete:
        rising = [found[f"snapping/accuracy at log-SNR {level}"] for level in (-4, 0, 6)]
        assert 0 <= rising[0] < 1
        assert rising[0] < rising[2] <= 1


def test_loss_and_measures_say_the_same(run, digits):
    _, built, params = run
    batch = {"x": digits.test["x"]}
    prepared = latent_model.make_prepare(built, digits)(jax.random.key(0), batch)
    quiet = built._replace(loss=latent_config(noise=1e-4, kl=0.0, commitment=0.0, revival=0.0).loss)
    value, parts = latent_model.make_loss(quiet)(params, prepared)
    found = latent_model.measure(built, digits, params, batch, batch_size=17)
    assert found["RMSE"] == pytest.approx(float(jnp.sqrt(parts["squared error"].mean())), rel=1e-3)
    if built.module.codes is None:
        np.testing.assert_allclose(value, parts["squared error"], rtol=1e-6)
        z = built.module.apply(params, prepared["x"], method="encode")
        paid = built._replace(loss=latent_config(noise=1e-4, kl=0.5).loss)
        more = latent_model.make_loss(paid)(params, prepared)[0] - value
        np.testing.assert_allclose(more, 0.5 * fixed_noise_kl(z, 1e-4), rtol=1e-4)
        assert set(found) == {"RMSE", "error, share of power", "latent mean", "latent standard deviation"}
    else:
        z = built.module.apply(params, prepared["x"], method="encode")
        snapped = built.module.apply(params, z, method="snap")
        np.testing.assert_allclose(value - parts["squared error"], ((z - snapped) ** 2).mean((1, 2, 3)), rtol=1e-4)
        assert 1 < found["perplexity of the codes"] <= found["codes in use"] <= 16


def test_the_size_of_a_latent(run, digits):
    found = latent_model.compression(run[1], digits)
    assert found["compression factor"] == 64 / 48
    if run[1].module.codes is not None:
        assert found["bits of its codes"] == 16 * 4
        assert found["compression factor in bits"] == pytest.approx(64 * np.log2(17) / 64)


def test_silence_has_no_spectral_loss_and_no_bad_gradient():
    x = jnp.stack([jnp.zeros(800), jnp.sin(jnp.arange(800.0))])
    loss = jax.jit(lambda y: latent_model._spectral(y, x, 4000))
    np.testing.assert_array_equal(loss(x), 0)
    assert jnp.all(loss(0.5 * x)[1] > 0.5)
    gradient = jax.jit(jax.grad(lambda y: loss(y).sum()))(x + 0.1)
    assert jnp.all(jnp.isfinite(gradient))
    assert not jnp.any(gradient[0])
    assert jnp.any(gradient[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss.noise": 0.0}, r"config.loss.noise=0.0: must be above 0"),
        ({"loss.kl": -1.0}, r"config.loss.kl=-1.0: must be at least 0"),
        ({"autoencoder.codes": 1}, r"config.autoencoder.codes=1: must be at least 2"),
        ({"data.name": "ring"}, r"config.data.name=ring: must be a data set of images or sounds"),
        ({"evaluation.ema": "0.5"}, r"config.evaluation.ema=0.5: must be one of 0.999, none"),
    ],
)
def test_bad_configs_are_refused(change, message):
    config = latent_config()
    for field, value in change.items():
        section, name = field.split(".")
        config[section][name] = value
    with pytest.raises(ConfigError, match=message):
        latent_model.check(config)


def test_runs_that_do_not_fit_are_refused(run, digits, tmp_path):
    with pytest.raises(ConfigError, match=r"config.data.latents=.*: there is no finished run here \(no config.json\)"):
        open_latents(model_config(tmp_path), digits)
    other = model_config(run[0])
    other.data.name = "mnist"
    with pytest.raises(ConfigError, match=r"was trained with config.data.name=sklearn_digits, this config has mnist"):
        open_latents(other, digits)
    stride = latent_config()
    stride.autoencoder.multipliers = (1, 1, 1, 1, 1)
    with pytest.raises(ConfigError, match=r"config.autoencoder: x must have sides divisible by the stride 16"):
        latent_model.build_latent(stride, digits)


@pytest.mark.slow
def test_the_programs_train_sample_and_evaluate(tmp_path):
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}

    def command(program, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", f"experiments.{program}", *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    one, two = f"--workdir={tmp_path}/one", f"--workdir={tmp_path}/two"
    small = ["--config.autoencoder.channels=8", "--config.autoencoder.codes=16", "--config.training.batch_size=8",
             "--config.training.warmup_steps=2", "--config.training.checkpoint_every=2",
             "--config.evaluation.ema=none"]  # fmt: skip
    train = ["train_latent", "--config=experiments/configs/latents/digits_latent.py", one, *small]
    code, out, err = command(*train, "--config.training.steps=4")
    assert code == 0, err
    assert "perplexity of the codes" in out
    assert (tmp_path / "one" / "reconstructions" / "reconstructions.png").stat().st_size > 0
    code, out, err = command(*train, "--config.training.steps=6")
    assert code == 0, err
    assert "resuming  from step 4" in out
    latents = f"--config.data.latents={tmp_path}/one"
    code, out, err = command("train", "--config=experiments/configs/images/smoke.py", two, latents)
    assert code == 0, err
    assert "unambiguous" in out
    code, out, err = command("sample", two, "--num=4")
    assert code == 0, err
    with np.load(tmp_path / "two" / "samples" / "sample.npz") as archive:
        assert archive["x"].shape == (4, 8, 8, 1)
    code, out, err = command("evaluate", two)
    assert code == 0, err
    code, _, err = command("edit", two)
    assert code == 2
    assert "this is a model of latents" in err
