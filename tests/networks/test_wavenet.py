"""The WaveNet against loops in numpy, and its receptive field."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.networks import Conditioning, Masked, WaveNet

KEY = jax.random.key(0, impl="rbg")
RNG = np.random.default_rng(0)
BATCH, LENGTH, CLASSES = 2, 48, 3
SIZES = {"num_classes": CLASSES, "vector_size": 2, "map_shape": (5, 3)}
NETWORK = WaveNet(channels=4, layers=3, cycle=2, dilation_base=3, patch=2, **SIZES)
CONDITIONS = {
    "labels": jnp.array([1, CLASSES]),
    "vector": Masked(jnp.asarray(RNG.normal(size=(BATCH, 2)), jnp.float32), jnp.array([True, False])),
    "dense_map": Masked(jnp.asarray(RNG.normal(size=(BATCH, 5, 3)), jnp.float32), jnp.array([True, False])),
}


def perturbed(network, x, scale=0.5, **conditions):
    """Parameters away from the zeros of the initialisation."""
    shapes = jax.eval_shape(network.init, KEY, x, 0.0, **conditions)
    return jax.tree.map(lambda s: jnp.asarray(scale * RNG.normal(size=s.shape), s.dtype), shapes)


@pytest.fixture(scope="module")
def case():
    x = jnp.asarray(RNG.normal(size=(BATCH, LENGTH, 2)), jnp.float32)
    return perturbed(NETWORK, x), jax.jit(NETWORK.apply), x


def conv_by_loops(x, p, dilation=1):
    """One position and one tap at a time, with zero padding."""
    kernel = p["kernel"]
    out = np.tile(p.get("bias", np.zeros(kernel.shape[2])), (len(x), 1))
    for i in range(len(x)):
        for k in range(len(kernel)):
            j = i + (k - len(kernel) // 2) * dilation
            if 0 <= j < len(x):
                out[i] += x[j] @ kernel[k]
    return out


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_wavenet_matches_numpy_loops(case):
    params, apply, x = case
    found = apply(params, x, 0.3, **CONDITIONS)
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"])
    conditioning = Conditioning(16, CLASSES, 2)
    vector = conditioning.apply({"params": p["conditioning"]}, 0.3, CONDITIONS["labels"], BATCH, CONDITIONS["vector"])
    patches = np.asarray(x, np.float64).reshape(BATCH, LENGTH // 2, 4)  # both channels of a sample together
    for b in range(BATCH):
        h = conv_by_loops(patches[b], p["input"])
        # Five frames are at 0, 6, .. 24; the centres of the 24 patches are at 0.5, 1.5, ..
        frames = conv_by_loops(np.asarray(CONDITIONS["dense_map"].value[b], np.float64), p["map"])
        share = lambda i: (i % 6 + 0.5) / 6
        local = [(1 - share(i)) * frames[i // 6] + share(i) * frames[i // 6 + 1] for i in range(24)]
        local = np.stack(local) if b == 0 else np.tile(p["map_or_null"]["null"], (24, 1))
        local, skips = local * sigmoid(local), np.zeros_like(h)
        for i, dilation in enumerate([1, 3, 1]):
            z = conv_by_loops(h, p[f"conv_{i}"], dilation) + conv_by_loops(local, p[f"map_{i}"])
            z += vector[b] @ p[f"noise_{i}"]["kernel"] + p[f"noise_{i}"]["bias"]
            out = conv_by_loops(np.tanh(z[:, :4]) * sigmoid(z[:, 4:]), p[f"close_{i}"])
            h, skips = (h + out[:, :4]) / np.sqrt(2), skips + out[:, 4:]
        top = conv_by_loops(skips / np.sqrt(3), p["skips"])
        expected = conv_by_loops(top * sigmoid(top), p["output"]).reshape(LENGTH, 2)
        np.testing.assert_allclose(found[b], expected, rtol=2e-4, atol=2e-4)


def test_receptive_field_is_the_support_of_the_gradient():
    network = WaveNet(channels=4, layers=5, cycle=3, patch=2)
    assert network.dilations == (1, 2, 4, 1, 2)
    assert network.receptive_field == 2 * (1 + 2 * 10)
    x = jnp.asarray(RNG.normal(size=(1, 64, 1)), jnp.float32)
    params = perturbed(network, x)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(network.apply(params, x, 0.0)[0, 32:34] ** 2)))(x)
    support = np.flatnonzero(np.any(np.asarray(gradient[0]) != 0, axis=-1))
    assert (support.min(), support.max()) == (32 - 20, 33 + 20)
    assert support.max() - support.min() + 1 == network.receptive_field


def test_levels_of_each_patch(case):
    params, apply, x = case
    levels = np.full((BATCH, LENGTH // 2), 0.3, np.float32)
    equal, other = apply(params, x, levels, **CONDITIONS), np.where(np.arange(LENGTH // 2) == 3, -1.0, levels)
    np.testing.assert_allclose(equal, apply(params, x, jnp.full(BATCH, 0.3), **CONDITIONS), atol=1e-5)
    changed = np.abs(apply(params, x, other.astype(np.float32), **CONDITIONS) - equal).max((0, 2)) > 1e-6
    around = NETWORK.receptive_field // 2
    assert changed[6:8].all()
    assert not changed[7 + around :].any()
    with pytest.raises(
        ValueError, match=r"noise must be a scalar or have shape \(2,\), or \(2, 24\), one per position"
    ):
        jax.eval_shape(lambda: NETWORK.apply(params, x, jnp.zeros((2, 3))))


def test_wavenet_is_equivariant_to_shifts_of_signal_and_map():
    network = WaveNet(channels=4, layers=3, cycle=3, patch=2, map_shape=(17, 2))
    x = jnp.asarray(RNG.normal(size=(1, 64, 1)), jnp.float32)
    value = jnp.asarray(RNG.normal(size=(1, 17, 2)), jnp.float32)  # a frame every 4 samples
    params = perturbed(network, x)
    apply = jax.jit(lambda x, value: network.apply(params, x, 0.2, dense_map=value)[0])
    plain, shifted = apply(x, value), apply(jnp.roll(x, 4, axis=1), jnp.roll(value, 1, axis=1))
    margin = network.receptive_field // 2 + 4 + 4  # and the kernel of the map, and its interpolation
    np.testing.assert_allclose(shifted[margin + 4 : -margin], plain[margin : -margin - 4], rtol=1e-4, atol=1e-5)
    assert float(jnp.abs(shifted[: margin // 2] - plain[: margin // 2]).max()) > 1e-3
