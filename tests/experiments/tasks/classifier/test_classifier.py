"""Classifiers of noisy data: opening a run for guidance, and what the network is conditioned on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from programs import error_of

from experiments.cli.config import ConfigError, check_config, load_resolved, save_resolved
from experiments.configs.images import digits_classifier, smoke
from experiments.tasks.classifier import model as classifier
from experiments.tasks.diffusion import task as diffusion


def test_a_classifier_for_guidance_has_the_data_and_schedule_of_the_model(tmp_path):
    own = digits_classifier.get_config()
    at = lambda: classifier.open_logits(smoke.get_config(), ConfigDict({"workdir": str(tmp_path), "step": None}))
    with pytest.raises(ConfigError, match=r"rules.classifier.workdir=.*: there is no run here"):
        at()
    save_resolved(smoke.get_config(), tmp_path / "config.json")
    assert "this run is no classifier" in error_of(at)
    own.schedule.name = "linear_vp"
    save_resolved(own, tmp_path / "config.json")
    assert "was trained with config.schedule=linear_vp, the model with cosine" in error_of(at)
    own.schedule.name = "cosine"
    save_resolved(own, tmp_path / "config.json")
    assert "no checkpoint in" in error_of(at)
    assert "this run is a classifier" in error_of(diffusion.saved, str(tmp_path))
    check_config(load_resolved(tmp_path / "config.json"), own)


def test_a_classifier_crosses_jit_and_a_clean_one_is_not_conditioned_on_noise():
    config = digits_classifier.get_config()

    class Conditioning:
        """Its logits are what it is conditioned on."""

        def apply(self, params, x, noise):
            return params * x + jnp.broadcast_to(noise, x.shape[:1])[:, None]

    built = classifier.build_classifier(config, 10)._replace(module=Conditioning())
    run = jax.jit(lambda logits, t: logits(jnp.zeros((2, 1)), t))
    at = lambda b, t: np.asarray(run(classifier.logits(b, jnp.float32(2.0)), t))[:, 0]
    levels = 0.25 * np.asarray(built.schedule.log_snr(jnp.array([0.3, 0.9])))
    np.testing.assert_allclose(at(built, jnp.array([0.3, 0.9])), levels, rtol=1e-5)
    np.testing.assert_array_equal(at(built, jnp.array([0.0, 1.0])), [3.0, -3.0])
    np.testing.assert_array_equal(at(built._replace(clean=True), jnp.array([0.3, 1.0])), [3.0, 3.0])
