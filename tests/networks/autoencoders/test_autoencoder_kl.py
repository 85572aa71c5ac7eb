"""The autoencoder of latent diffusion: its interface, its posterior, and what its sizes must satisfy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from scorekit.networks import AutoencoderKL
from scorekit.networks.autoencoder_kl import Posterior

KEY = jax.random.key(0, impl="rbg")
RNG = np.random.default_rng(0)
SIZES = {"channels": 4, "multipliers": (1, 1), "blocks": 1, "groups": 2}
NETWORK = AutoencoderKL(**SIZES, latent_channels=3, scaling_factor=(0.5, 2.0, 1.0), shift_factor=0.1)
X = RNG.normal(size=(2, 4, 8, 3)).astype(np.float32)


def perturbed(params):
    return jax.tree.map(lambda p: np.asarray(p + 0.2 * RNG.normal(size=p.shape), np.float32), jax.device_get(params))


@pytest.mark.slow
def test_latents_are_scaled_means_or_samples_that_are_decoded():
    params = perturbed(jax.jit(NETWORK.init)(KEY, X))
    eps = RNG.normal(size=(2, 2, 4, 3)).astype(np.float32)

    @jax.jit
    def run(params, x, eps):
        """Posterior, latents by mean and by sample, the reconstruction, and that by the unscaled decoder."""
        apply = lambda method, *args: NETWORK.apply(params, *args, method=method)
        z, unscaled = apply("encode", x), NETWORK.clone(scaling_factor=1.0, shift_factor=0.0)
        posterior = apply("posterior", x)
        decoded = unscaled.apply(params, posterior.mean, method="decode")
        return posterior, z, apply("encode", x, eps), apply("decode", z), decoded, NETWORK.apply(params, x)

    posterior, z, sample, y, decoded, output = jax.device_get(run(params, X, eps))
    scale = np.float32([0.5, 2.0, 1.0])
    assert z.shape == (2, *NETWORK.latent_shape(X.shape[1:])) == (2, 2, 4, 3)
    np.testing.assert_allclose(z, (posterior.mean - 0.1) * scale, rtol=1e-5, atol=1e-6)
    std = np.exp(posterior.log_variance / 2)
    np.testing.assert_allclose(sample - z, std * eps * scale, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(decoded, y, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(output, y)
    assert y.shape == X.shape
    assert {a.dtype for a in (z, y, posterior.mean)} == {np.dtype(np.float32)}


@pytest.mark.slow
def test_every_parameter_has_a_gradient():
    params, eps = perturbed(jax.jit(NETWORK.init)(KEY, X)), RNG.normal(size=(2, 2, 4, 3)).astype(np.float32)

    def loss(params):
        posterior = NETWORK.apply(params, X, method="posterior")
        z = NETWORK.scale(posterior.sample(eps))
        return jnp.mean((NETWORK.apply(params, z, method="decode") - X) ** 2) + 1e-2 * posterior.kl().mean()

    assert all(np.any(g) for g in jax.tree.leaves(jax.device_get(jax.jit(jax.grad(loss))(params))))


def test_divergence_is_that_of_two_gaussians():
    mean, log_variance = 0.7, np.log(0.09)
    posterior, prior = stats.norm(mean, 0.3), stats.norm()
    exact, _ = integrate.quad(lambda u: posterior.pdf(u) * (posterior.logpdf(u) - prior.logpdf(u)), -4, 5)
    found = Posterior(jnp.full((2, 4, 1), mean), jnp.full((2, 4, 1), log_variance)).kl()
    np.testing.assert_allclose(found, np.full(2, exact), rtol=1e-5)
    eps = jnp.full((1, 1, 1), 2.0)
    np.testing.assert_allclose(Posterior(jnp.ones((1, 1, 1)), jnp.full((1, 1, 1), log_variance)).sample(eps), 1.6)
