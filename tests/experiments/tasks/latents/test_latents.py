"""Latents as a data set, and codes that samples are quantised to, by autoencoders that are not trained."""

import json

import chex
import jax
import numpy as np
import pytest
from programs import changed, error_of, save_run

from experiments import data
from experiments.cli.config import save_resolved
from experiments.configs import base
from experiments.configs.images import smoke
from experiments.tasks.latents import metrics
from experiments.tasks.latents import model as autoencoder
from experiments.tasks.latents.latent_data import STATISTICS, Latents, open_latents
from scorekit.networks import fixed_noise_kl

PARTS = "train[:40]", "test[:40]"


def latent_config(codes=None, **loss):
    config = base.get_config("autoencoder")
    config.data.train_split, config.data.test_split = PARTS
    config.autoencoder.update(channels=8, multipliers=(1,), patch=2, latent_channels=3, codes=codes)
    config.evaluation.ema = "none"
    config.loss.update(loss)
    return config


def model_config(folder=None):
    config = smoke.get_config()
    config.data.train_split, config.data.test_split = PARTS
    config.latents = None if folder is None else str(folder)
    config.sampling.ema = "none"
    return config


@pytest.fixture(scope="module")
def digits():
    return data.build(latent_config())


@pytest.fixture(scope="module")
def initial(digits):
    """The initial parameters of the discrete autoencoder; without its codes, they are those of the continuous one."""
    init = lambda: autoencoder.init_params(autoencoder.build_latent(latent_config(16), digits), 0)
    params = init()
    chex.assert_trees_all_equal_shapes(jax.eval_shape(init), params)  # as train asks for them
    return params


@pytest.fixture(scope="module", params=[None, 16], ids=["continuous", "discrete"])
def run(request, digits, initial, tmp_path_factory):
    """The folder of an autoencoder that is not trained, as its program leaves it; what it is built of."""
    folder, config = tmp_path_factory.mktemp("run"), latent_config(request.param)
    built = autoencoder.build_latent(config, digits)
    kept = {name: value for name, value in initial["params"].items() if name != "codebook" or request.param}
    params = {"params": kept}
    save_run(folder, config, params)
    encode = autoencoder.make_encode(built, params)
    (folder / STATISTICS).write_text(json.dumps(autoencoder.statistics(encode, digits)))
    return folder, built, params, encode


@pytest.fixture(scope="module")
def latents(run):
    found = data.load(model_config(run[0]))
    assert isinstance(found, Latents)
    return found


@pytest.mark.slow
def test_latents_are_standardised_and_decoded_to_data(latents, run, digits):
    _, built, params, encode = run
    assert latents.shape == latents.train["x"].shape[1:] == (4, 4, 3)
    np.testing.assert_allclose(latents.train["x"].mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(latents.train["x"].std((0, 1, 2)), 1, atol=1e-4)
    np.testing.assert_array_equal(latents.train["label"], digits.train["label"])
    np.testing.assert_array_equal(latents.real(latents.test), digits.real(digits.test))
    decode = jax.jit(lambda z: digits.from_model(built.module.apply(params, z, method="decode")))
    decoded = jax.jit(lambda x: latents.from_model(latents.to_model(x)))(latents.test["x"])
    np.testing.assert_allclose(decoded, decode(encode(digits.test["x"])), atol=1e-3)


def test_batches_are_latents_and_samples_are_quantised_to_codes(latents):
    batch = latents.batch(0, 3, 7)
    assert set(batch) == {"x", "label"}
    row = np.flatnonzero((latents.train["x"] == batch["x"][0]).all((1, 2, 3)))[0]
    assert latents.train["label"][row] == batch["label"][0]
    noisy = batch["x"] + 1e-3 * np.random.default_rng(0).normal(size=batch["x"].shape).astype(np.float32)
    decode = jax.jit(latents.decode)
    assert np.array_equal(decode(noisy), decode(batch["x"])) == (latents.codes is not None)


def test_opening_latents_needs_a_finished_run_on_the_same_data_in_memory(run, digits, tmp_path, monkeypatch):
    message = error_of(open_latents, model_config(tmp_path), digits)
    assert message.startswith(f"config.latents={tmp_path}: there is no finished run here (no config.json)")
    other = changed(model_config(run[0]), "data.set=mnist")
    words = "was trained with config.data.set=sklearn_digits, this config has mnist"
    assert words in error_of(open_latents, other, digits)
    (tmp_path / STATISTICS).write_text("{}")
    classifier = base.get_config("classifier")
    classifier.data.update(model_config().data)
    save_resolved(classifier, tmp_path / "config.json")
    assert "this run is a classifier" in error_of(open_latents, model_config(tmp_path), digits)
    monkeypatch.setattr(digits, "streaming", True)
    words = "config.data.streaming=None: must be False: latents are kept in memory"
    assert words in error_of(open_latents, model_config(run[0]), digits)


# ---- the autoencoder ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_measure_agrees_with_the_terms_of_the_loss(run, digits):
    _, built, params, _ = run
    prepared = jax.jit(autoencoder.make_prepare(built))(jax.random.key(0), digits.test)
    config = {"noise": 1e-4, "kl": 0.0, "commitment": 0.0, "revival": 0.0}

    @jax.jit
    def losses(params, prepared):
        """The loss, its terms, and the loss with half of the divergence."""
        parts = []
        for kl in (0.0, 0.5):
            loss = autoencoder.make_loss(built._replace(loss=latent_config(**{**config, "kl": kl}).loss))
            parts.append(loss(params, prepared))
        z = built.module.apply(params, prepared["x"], method="encode")
        divergence = fixed_noise_kl(z, 1e-4)
        quantised = built.module.apply(params, z, method="quantise")
        return *parts[0], parts[1][0], divergence, z, quantised

    value, terms, with_kl, divergence, z, quantised = jax.tree.map(np.asarray, losses(params, prepared))
    found = metrics.measure(built, params, digits.test, batch_size=17)
    assert found["RMSE"] == pytest.approx(float(np.sqrt(terms["squared error"].mean())), rel=1e-3)
    if built.module.codes is None:
        np.testing.assert_allclose(value, terms["squared error"], rtol=1e-6)
        np.testing.assert_allclose(with_kl - value, 0.5 * divergence, rtol=1e-4)
        assert set(found) == {"RMSE", "error, share of power", "latent mean", "latent standard deviation"}
        assert metrics.compression(built)["compression factor"] == 64 / 48
    else:
        np.testing.assert_allclose(value - terms["squared error"], ((z - quantised) ** 2).mean((1, 2, 3)), rtol=1e-4)
        assert 1 < found["perplexity of the codes"] <= found["codes in use"] <= 16
        size = metrics.compression(built)
        assert size["bits of its codes"] == 16 * 4
        assert size["compression factor in bits"] == pytest.approx(64 * np.log2(17) / 64)
