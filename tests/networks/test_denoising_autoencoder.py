"""Denoisers are autoencoders: predicting noise is predicting data with a skip connection."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import in_float64

from scorekit import weightings
from scorekit.denoisers import denoiser_from_network
from scorekit.losses import denoising_loss_at
from scorekit.schedules import Cosine, GeometricVE, RectifiedFlow
from scorekit.times import Times

RNG = np.random.default_rng(0)
X0, EPS = RNG.normal(size=(2, 5, 3))
T = np.array([0.1, 0.3, 0.5, 0.7, 0.95])


def network(params, x, t):
    return jnp.tanh(x @ params["a"] + t[:, None]) @ params["b"]


@pytest.mark.parametrize("schedule", [Cosine(), RectifiedFlow(), GeometricVE()], ids=["vp", "flow", "ve"])
@in_float64
def test_noise_prediction_is_data_prediction_with_a_skip_connection(schedule):
    """``x0_hat = (x_t - sigma F(x_t)) / alpha`` has the same denoiser, loss and gradient under every weighting."""
    params = {name: jnp.asarray(RNG.normal(size=(3, 3))) for name in "ab"}

    def both(params):
        noise = lambda x, t: network(params, x, t)

        def autoencoder(x, t):
            alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]
            return x / alpha - (sigma / alpha) * noise(x, t)  # skip connection + network

        def loss(of, target):
            value = lambda weighting: denoising_loss_at(
                of, schedule, X0, EPS, Times(T, jnp.ones(5)), target=target, weighting=weighting
            )[0]
            return jnp.stack([value(weightings.eps), value(weightings.x0)])

        x_t = schedule.alpha(T)[:, None] * X0 + schedule.sigma(T)[:, None] * EPS
        one, two = denoiser_from_network(noise, schedule, "eps"), denoiser_from_network(autoencoder, schedule, "x0")
        return (loss(noise, "eps"), one(x_t, T)), (loss(autoencoder, "x0"), two(x_t, T))

    values = jax.jit(both)(params)
    slopes = jax.jit(jax.jacrev(lambda p: [side[0].sum(axis=1) for side in both(p)]))(params)
    for pair in (values, slopes):
        chex.assert_trees_all_close(*pair, rtol=1e-9, atol=1e-10)
    # and the two plain losses differ by the factor SNR alone: E|eps - eps_hat|^2 = SNR E|x0 - x0_hat|^2
    eps_mse, x0_mse = values[0][0]
    np.testing.assert_allclose(eps_mse, np.exp(schedule.log_snr(T)) * x0_mse, rtol=1e-9)
