"""Classifiers of noisy data: a run, opening it for guidance, and what the network is conditioned on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from programs import changed, error_of, overridden, save_random, succeeds

from experiments.cli.config import check_config, load_resolved, save_resolved
from experiments.configs.images import digits_classifier, smoke
from experiments.tasks.classifier import model as classifier
from experiments.tasks.diffusion import task as diffusion


def test_a_classifier_for_guidance_has_the_data_and_schedule_of_the_model(tmp_path):
    own = digits_classifier.get_config()
    at = lambda: classifier.open_logits(smoke.get_config(), ConfigDict({"workdir": str(tmp_path), "step": None}))
    assert "there is no run here" in error_of(at)
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


@pytest.mark.slow
def test_classifiers_of_noisy_and_of_clean_data_guide_a_model(digits_run, tmp_path):
    drawn = []
    for clean in (False, True):
        fields = "classifier.channels=8", "classifier.multipliers=1,", f"loss.clean={clean}"
        workdir = save_random(tmp_path / f"clean_{clean}", changed(digits_classifier, *fields), 0.3)
        rule = f"guidance=classifier,dynamic_threshold rules.classifier.workdir={workdir} sampling.guidance_scale=300"
        flags = [f"--out={tmp_path}/sample", "--overwrite", "--num=4"]
        assert "classifier + dynamic_threshold" in succeeds(
            "sample", f"--workdir={digits_run}", *flags, *overridden(rule)
        )
        with np.load(tmp_path / "sample.npz") as archive:
            drawn.append(archive["x"])
    assert not np.array_equal(*drawn)
