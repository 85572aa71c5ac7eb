"""Models with a noise level for each frame: the batch and loss of training; causal networks see no later frame."""

import jax
import numpy as np
import pytest
from parameters import random_params
from programs import changed, tones

from experiments.configs import base
from experiments.tasks.diffusion.build import build_model
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from experiments.tasks.diffusion.metrics.run_metrics import loss_by_noise_level
from scorekit.audio import representations

FRAMES = 8
WAVENET = ("network.channels=4", "network.layers=2", "network.cycle=2")
NETWORKS = {
    "wavenet": WAVENET,
    "causal_wavenet": WAVENET,
    "causal_transformer": ("network.depth=1", "network.width=8", "network.heads=2"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_frame_has_a_time_and_a_causal_network_sees_no_later_frame(name):
    config = changed(base, "loss.objective=frame_levels", f"network.name={name}", *NETWORKS[name])
    dataset = tones(representations.log_magnitudes(512, by_frames=True))
    model = build_model(config, dataset)
    params = random_params(model)
    batch = jax.jit(make_prepare(model, dataset))(jax.random.key(0), dataset.batch(0, 0, 4))
    assert batch["t"].shape == batch["weight"].shape == (4, FRAMES)
    assert len(np.unique(batch["t"])) == 4 * FRAMES
    value, aux = jax.jit(make_loss(model))(params, batch)
    assert value.shape == (4,)
    assert np.isfinite(value).all()
    assert aux["error"].shape == (4, FRAMES)
    assert loss_by_noise_level(model, dataset, params, dataset.test).count.sum() == 8 * FRAMES
    x, t = np.random.default_rng(0).normal(size=(1, FRAMES, 128)).astype(np.float32), np.full((1, FRAMES), 0.5)
    predict = jax.jit(lambda x, t: model.denoiser(params, np.zeros(1, np.int32))(x, t).x0)
    later = np.arange(FRAMES) > 3
    apart = np.abs(predict(np.where(later[None, :, None], -x, x), np.where(later, 0.2, t)) - predict(x, t))
    assert apart[:, 4:].max() > 1e-3
    assert (apart[:, :4].max() < 1e-5) == name.startswith("causal")
