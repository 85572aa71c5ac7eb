"""Networks of two times: further scalars leave trained networks what they were, and have forward-mode derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.networks import MLP, DiT, UNet, with_new_parameters

RNG = np.random.default_rng(0)
IMAGES, VECTORS = (RNG.normal(size=shape).astype(np.float32) for shape in ((2, 4, 4, 1), (2, 3)))
NOISE, SCALARS = np.array([0.3, 0.9], np.float32), np.array([[0.2, 1.0], [0.7, 2.0]], np.float32)
NETWORKS = {
    "mlp": (MLP(features=16, blocks=1), VECTORS),
    "unet": (UNet(channels=8, multipliers=(1,), attention_resolutions=(4,), heads=2), IMAGES),
    "dit": (DiT(depth=1, width=16, heads=2, noise_scale=4.0), IMAGES),
    "dit, fused": (DiT(depth=1, width=16, heads=2, noise_scale=4.0, attention="fused", remat=True), IMAGES),
}


def random_parameters(network, x):
    shapes = jax.eval_shape(network.init, jax.random.key(0), x, NOISE, scalars=SCALARS)
    return jax.tree.map(lambda leaf: (0.3 * RNG.normal(size=leaf.shape)).astype(np.float32), shapes)


def derivative(network, params, x):
    """Along a direction of the state, the noise level and the scalars, and the same by central differences."""
    direction = tuple(RNG.normal(size=v.shape).astype(np.float32) for v in (x, NOISE, SCALARS))
    f = lambda x, noise, scalars: network.apply(params, x, noise, scalars=scalars)
    at = lambda h: f(*(v + h * d for v, d in zip((x, NOISE, SCALARS), direction, strict=True)))
    return jax.jit(lambda: (jax.jvp(f, (x, NOISE, SCALARS), direction)[1], (at(3e-3) - at(-3e-3)) / 6e-3))()


@pytest.mark.parametrize("name", ["mlp", *(pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS if n != "mlp")])
def test_forward_derivative_is_that_of_finite_differences(name):
    network, x = NETWORKS[name]
    found, expected = derivative(network, random_parameters(network, x), x)
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(found, expected, atol=2e-2 * np.abs(expected).max())


@pytest.mark.slow
def test_forward_derivative_in_bfloat16_is_near_that_in_float32():
    network, x = NETWORKS["unet"]
    params = random_parameters(network, x)
    state = RNG.bit_generator.state
    exact = derivative(network, params, x)[0]
    RNG.bit_generator.state = state
    rounded = derivative(network.clone(dtype=jnp.bfloat16), params, x)[0]
    assert rounded.dtype == jnp.float32
    np.testing.assert_allclose(rounded, exact, atol=0.1 * np.abs(exact).max())


@pytest.mark.parametrize("name", ["mlp", *(pytest.param(n, marks=pytest.mark.slow) for n in ("dit", "unet"))])
def test_new_scalars_and_a_divergence_head_leave_a_trained_network_what_it_was(name):
    network, x = NETWORKS[name]
    both = network.clone(divergence=True)
    fresh = jax.jit(both.init)(jax.random.key(0), x, NOISE, scalars=SCALARS)
    old = {**random_parameters(network, x)["params"]}
    old["conditioning"] = {k: v for k, v in old["conditioning"].items() if k != "scalars"}
    run = jax.jit(lambda params, scalars: both.apply(params, x, NOISE, scalars=scalars))
    params, before = with_new_parameters({"params": old}, fresh), network.apply({"params": old}, x, NOISE)
    for scalars in (SCALARS, None):
        output, head = jnp.split(run(params, scalars), 2, axis=-1)
        np.testing.assert_allclose(output, before, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(head, 0.0)
    params["params"]["divergence"]["bias"] += 1.0
    params["params"]["conditioning"]["scalars"]["out"]["bias"] += 1.0
    changed, head = jnp.split(run(params, SCALARS), 2, axis=-1)
    np.testing.assert_array_equal(head, 1.0)
    assert np.abs(changed - output).max() > 1e-3
