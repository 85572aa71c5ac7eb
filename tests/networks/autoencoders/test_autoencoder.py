"""The convolutional autoencoder: shapes, locality, quantisation, and the divergence that scales its latent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from scorekit.networks import Autoencoder, fixed_noise_kl, nearest_code

KEY = jax.random.key(0, impl="rbg")
RNG = np.random.default_rng(0)
SIGNALS = Autoencoder(
    data_channels=2, latent_channels=3, channels=4, multipliers=(1, 2), factors=(3,), patch=2, codes=9
)
IMAGES = Autoencoder(latent_channels=5, channels=4, multipliers=(1, 2), blocks=2)
CASES = {"signals": (SIGNALS, (4, 36, 2), (4, 6, 3)), "images": (IMAGES, (3, 8, 12, 1), (3, 4, 6, 5))}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    network, shape, latent = CASES[request.param]
    x = RNG.normal(size=shape).astype(np.float32)
    params = jax.device_get(jax.jit(network.init)(KEY, x))

    @jax.jit
    def apply(x):
        """The latent, its decoding, and the output for ``x``."""
        z = network.apply(params, x, method="encode")
        return z, network.apply(params, z, method="decode"), network.apply(params, x)

    return network, params, lambda x: jax.device_get(apply(x)), x, latent


@pytest.mark.slow
def test_encode_and_decode_shapes(case):
    network, _, apply, x, latent = case
    z, y, output = apply(x)
    assert z.shape == latent == (len(x), *network.latent_shape(x.shape[1:]))
    assert y.shape == x.shape
    assert z.dtype == y.dtype == jnp.float32
    np.testing.assert_allclose(output, y, rtol=1e-5, atol=1e-6)
    assert np.std(z) > 1e-2


@pytest.mark.slow
def test_examples_do_not_mix(case):
    _, _, apply, x, _ = case
    other = np.concatenate([x[:1], np.full_like(x[1:], 7.0)])
    np.testing.assert_allclose(apply(other)[2][0], apply(x)[2][0], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_every_parameter_has_a_gradient(case):
    network, params, _, x, _ = case
    weights = {name: value for name, value in params["params"].items() if name != "codebook"}
    weights = jax.tree.map(lambda p: p + 0.1 * RNG.normal(size=p.shape).astype(np.float32), weights)
    loss = lambda w: jnp.mean((network.apply({"params": {**params["params"], **w}}, x) - x) ** 2)
    assert all(np.any(g) for g in jax.tree.leaves(jax.device_get(jax.jit(jax.grad(loss))(weights))))


@pytest.mark.slow
def test_encode_and_decode_are_equivariant_to_shifts():
    network = Autoencoder(latent_channels=3, channels=4, multipliers=(1, 2), factors=(2,), patch=2)
    x = RNG.normal(size=(1, 160, 1)).astype(np.float32)
    params = jax.jit(network.init)(KEY, x)
    encode = jax.jit(lambda x: network.apply(params, x, method="encode"))
    z, later = (np.asarray(encode(x)) for x in (x, np.roll(x, 8, axis=1)))
    np.testing.assert_allclose(later[:, 12:-10], z[:, 10:-12], rtol=1e-4, atol=1e-5)
    decode = jax.jit(lambda z: network.apply(params, z, method="decode"))
    y, later = (np.asarray(decode(z)) for z in (z, np.roll(z, 2, axis=1)))
    np.testing.assert_allclose(later[:, 56:-48], y[:, 48:-56], rtol=1e-4, atol=1e-5)


def test_quantise_gives_the_nearest_codes():
    z, codebook = (RNG.normal(size=(*shape, 3)).astype(np.float32) for shape in ((2, 6), (9,)))
    params = {"params": {"codebook": codebook}}
    quantised = jax.jit(lambda params, z: SIGNALS.apply(params, z, method="quantise"))(params, z)
    np.testing.assert_array_equal(quantised, codebook[jax.jit(nearest_code)(z, codebook)])
    z = np.ones((1, 4, 3))
    assert Autoencoder(latent_channels=3, channels=4).apply({}, z, method="quantise") is z


def test_fixed_noise_kl_is_the_divergence_of_two_gaussians():
    z, noise = 0.7, 0.3
    posterior, prior = stats.norm(z, noise), stats.norm()
    exact, _ = integrate.quad(lambda u: posterior.pdf(u) * (posterior.logpdf(u) - prior.logpdf(u)), -4, 5)
    found = fixed_noise_kl(np.full((2, 3, 4), z, np.float32), noise)
    np.testing.assert_allclose(found, [exact, exact], rtol=1e-5)
