"""Features are the outputs of layers, and only the layers that they depend on are run."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.networks import UNet, features, layer_names, pool

KEY = jax.random.key(0)


class Twice(nn.Module):
    """A network with a layer that is called twice."""

    @nn.compact
    def __call__(self, x, noise, labels=None):
        inner = nn.Dense(3, name="shared")
        h = jnp.tanh(inner(x) + noise)
        return nn.Dense(2, name="last")(inner(h))


def test_features_are_the_outputs_of_layers():
    module, x = Twice(), jax.random.normal(KEY, (4, 3))
    variables = jax.jit(module.init)(KEY, x, 0.5)
    found = jax.jit(lambda v, x: features(module, v, x, 0.5, layers=["shared", "last"]))(variables, x)
    dense = lambda p, h: h @ p["kernel"] + p["bias"]
    shared, last = (variables["params"][name] for name in ("shared", "last"))
    second = dense(shared, np.tanh(dense(shared, x) + 0.5))  # the last of two calls
    np.testing.assert_allclose(found["shared"], second, rtol=1e-5)
    np.testing.assert_allclose(found["last"], dense(last, second), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["last"], module.apply(variables, x, 0.5), rtol=1e-5, atol=1e-6)


def test_features_of_a_unet_run_only_the_layers_they_need():
    network, x = UNet(channels=8, multipliers=(1, 2), num_classes=3), jnp.ones((2, 4, 4, 1))
    variables = jax.eval_shape(network.init, KEY, x, 0.0)
    names = layer_names(network, variables, jax.ShapeDtypeStruct(x.shape, x.dtype), 0.0)
    assert [n for n in names if n.endswith("_block")] == [
        "down0_0_block",
        "down1_0_block",
        "middle_block",
        "up1_0_block",
        "up0_0_block",
    ]
    assert names[-1] == "output"
    assert "middle_block/conv_1" in names
    look = lambda layers: lambda v, x: features(network, v, x, 0.0, jnp.array([0, 3]), layers=layers)
    shapes = jax.eval_shape(look(["down0_0_block", "middle_block", "middle_block/conv_1"]), variables, x)
    assert {k: v.shape[1:] for k, v in shapes.items()} == {
        "down0_0_block": (4, 4, 8),
        "middle_block": (2, 2, 16),
        "middle_block/conv_1": (2, 2, 16),
    }
    convolutions = lambda layers: jax.jit(look(layers)).lower(variables, x).as_text().count("stablehlo.convolution")
    assert convolutions(["down0_0_block"]) < convolutions(["middle_block"])
    with pytest.raises(ValueError, match=r"layers must be among .*, middle_block, .*, got middle\b"):
        jax.eval_shape(look(["middle"]), variables, x)


def test_pool_averages_cells():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3))
    found = pool(jnp.asarray(x), 2)
    for i in range(2):
        for j in range(2):
            cell = x[:, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3]
            np.testing.assert_allclose(found[:, i, j], cell.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"divisible by cells = 4, got \(2, 4, 6, 3\)"):
        pool(x, 4)
