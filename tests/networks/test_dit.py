"""The diffusion transformer against the formulas of its paper in numpy, and the switches that save memory."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks.small_networks import operations

from scorekit.networks import DiT, UNet
from scorekit.networks.dit import positions

CLASSES, BATCH = 3, 4
NETWORK = DiT(depth=3, width=16, heads=2, num_classes=CLASSES)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(BATCH, 4, 6, 2)).astype(np.float32)
NOISE, LABELS = np.array([-3.0, -0.5, 0.1, 4.0], np.float32), np.array([0, 2, 3, 1])


def random_parameters(network, x=X):
    """Away from the zeros of the initialisation, and of the scale of one over the square root of the fan-in."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), x, 0.0)
    scale = lambda leaf: (leaf.shape[-2] if leaf.ndim > 1 else 16) ** -0.5
    return jax.tree.map(lambda leaf: (scale(leaf) * RNG.normal(size=leaf.shape)).astype(leaf.dtype), shapes)


PARAMS = random_parameters(NETWORK)


@pytest.fixture(scope="module")
def output():
    return np.asarray(jax.jit(NETWORK.apply)(PARAMS, X, NOISE, LABELS))


# ---- the paper, in numpy and float64 -----------------------------------------------------------------------------


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)


def dense(p, x):
    return x @ np.asarray(p["kernel"], np.float64) + p["bias"]


def block_in_numpy(p, h, c, heads):
    """One adaLN-Zero block on one example: tokens ``(T, D)``, condition ``(D,)``."""
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = np.split(dense(p["modulation"], silu(c)), 6)
    qkv = dense(p["qkv"], layer_norm(h) * (1 + scale_1) + shift_1)
    q, k, v = np.split(qkv, 3, axis=-1)
    size, mixed = h.shape[-1] // heads, []
    for i in range(heads):
        at = slice(i * size, (i + 1) * size)
        weights = np.exp(q[:, at] @ k[:, at].T / math.sqrt(size))
        mixed.append(weights / weights.sum(-1, keepdims=True) @ v[:, at])
    h = h + gate_1 * dense(p["proj"], np.concatenate(mixed, -1))
    y = dense(p["fc2"], gelu_tanh(dense(p["fc1"], layer_norm(h) * (1 + scale_2) + shift_2)))
    return h + gate_2 * y


def position(p, features):
    """Sines and cosines of one coordinate."""
    w = [1 / 10000 ** (k / (features // 2)) for k in range(features // 2)]
    return [math.sin(p * wk) for wk in w] + [math.cos(p * wk) for wk in w]


def network_in_numpy(params, x, noise, label, network):
    """The network on one image ``(H, W, C)``."""
    p, patch, width = params["params"], network.patch, network.width
    t = noise * network.noise_scale
    angles = [t * math.exp(-math.log(10000) * k / 128) for k in range(128)]
    c = dense(p["conditioning"]["noise_in"], np.array([*map(math.cos, angles), *map(math.sin, angles)]))
    c = dense(p["conditioning"]["noise_out"], silu(c)) + p["conditioning"]["labels"]["embedding"][label]
    corners = [(i, j) for i in range(0, x.shape[0], patch) for j in range(0, x.shape[1], patch)]
    patches = np.stack([x[i : i + patch, j : j + patch].reshape(-1) for i, j in corners])
    at = [position(j // patch, width // 2) + position(i // patch, width // 2) for i, j in corners]
    h = dense(p["patches"], patches) + np.array(at)
    for i in range(network.depth):
        h = block_in_numpy(jax.tree.map(lambda leaf, i=i: leaf[i], p["blocks"]), h, c, network.heads)
    shift, scale = np.split(dense(p["output_modulation"], silu(c)), 2)
    found, out = dense(p["output"], layer_norm(h) * (1 + scale) + shift), np.zeros(x.shape)
    for token, (i, j) in zip(found, corners, strict=True):
        out[i : i + patch, j : j + patch] = token.reshape(patch, patch, -1)
    return out


def test_the_network_is_that_of_the_paper(output):
    expected = [network_in_numpy(PARAMS, *example, NETWORK) for example in zip(X, NOISE, LABELS, strict=True)]
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-4 * np.std(expected))


def test_positions_of_a_signal_are_those_of_one_coordinate():
    np.testing.assert_allclose(positions((5,), 12), [position(p, 12) for p in range(5)], rtol=1e-6)


# ---- the scan, rematerialisation, sharding -------------------------------------------------------------------------


@pytest.mark.parametrize("remat", [False, True])
def test_the_program_does_not_grow_with_the_depth(remat):
    def found(depth):
        network = dataclasses.replace(NETWORK, depth=depth, remat=remat)
        params = jax.eval_shape(network.init, jax.random.key(0), X, 0.0)
        loss = lambda params: jnp.sum(network.apply(params, X, NOISE, LABELS))
        return operations(jax.make_jaxpr(jax.grad(loss))(params).jaxpr)

    assert found(2) == found(9)
    assert found(2).total() > 100
    assert ("rematerialised" in found(2)) == remat


def temporary(network, x):
    """Bytes of the gradient. On CPU, XLA drops the barriers that separate the two computations of an activation."""
    loss = lambda params: jnp.sum(network.apply(params, x, 0.0) ** 2)
    params = jax.eval_shape(network.init, jax.random.key(0), x, 0.0)
    compiled = jax.jit(jax.grad(loss)).lower(params).compile({"xla_disable_hlo_passes": "cse_barrier_expander"})
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_rematerialisation_saves_memory():
    x = np.ones((8, 16, 16, 2), np.float32)
    for network in (DiT(depth=6, width=16), UNet(channels=8, blocks=2, multipliers=(1,))):
        assert temporary(dataclasses.replace(network, remat=True), x) < 0.7 * temporary(network, x)
