"""The model that scores images: its density along the flow, and a network that is trained, loaded or validated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.cli.command_line import override
from experiments.cli.config import ConfigError
from experiments.ood.data import InDistribution
from experiments.ood.model import along_flow, first_time, open_model
from scorekit import denoisers, densities, schedules


@pytest.mark.slow
def test_density_along_the_flow_is_accurate_in_flat_regions():
    """Half of the values vary less than the noise of the smallest level, as black parts of images do."""
    schedule, d = schedules.cosine(), 64
    t_min = first_time(schedule, 256)
    factor = jnp.diag(jnp.geomspace(0.01, 1.0, d))[:, d // 2 :]
    density = densities.gaussian(jnp.zeros(d), factor=factor, std=1e-4)
    noisy = density.marginal(schedule.alpha(t_min), schedule.sigma(t_min))
    x = noisy.sample(jax.random.key(0), (10,))
    log_density = along_flow(denoisers.exact_denoiser(density, schedule), schedule, t_min, steps=10, probes=1)
    np.testing.assert_allclose(jax.jit(log_density)(jax.random.key(1), x), noisy.log_density(x), atol=0.05 * d)


@pytest.mark.slow
def test_network_is_trained_once_and_then_loaded(make_config, tmp_path):
    config = make_config(**{
        "kind": "network", "train.network.channels": "8", "train.training.steps": "2", "train.training.batch_size": "8",
        "train.training.warmup_steps": "1", "train.training.log_every": "1", "train.training.checkpoint_every": "2",
        "train.sampling.steps": "2", "train.network.multipliers": "(1,)", "train.network.attention_resolutions": "()",
    })  # fmt: skip
    dataset = InDistribution("sklearn_digits", 8, 17)
    x, t = dataset.to_model(dataset.test["x"][:4]), 0.5
    predict = jax.jit(lambda denoiser, x: denoiser(x, t))
    first = predict(open_model(config, dataset, tmp_path).denoiser, x)
    assert first.x0.shape == (4, 8, 8, 1)
    assert (tmp_path / "model" / "checkpoints").is_dir()
    again = predict(open_model(config, dataset, tmp_path).denoiser, x)
    np.testing.assert_array_equal(first.eps, again.eps)
    # the same folder as a run of experiments.train
    override(config, "run", str(tmp_path / "model"))
    loaded = open_model(config, dataset, tmp_path / "elsewhere")
    np.testing.assert_allclose(predict(loaded.denoiser, x).eps, first.eps, atol=1e-5)
    assert "step 2" in loaded.name


def test_unknown_kind_of_model_is_an_error(config):
    override(config, "kind", "gausian")
    with pytest.raises(ConfigError, match=r"must be one of network, gaussian, mixture \(did you mean gaussian\?\)"):
        open_model(config, None, None)
