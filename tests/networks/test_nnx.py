"""Every network as a module of Flax NNX, by ``nnx.bridge.ToNNX``, computes what it computes as one of Linen."""

import chex
import jax
import numpy as np
import pytest
from flax import nnx
from valid_calls.networks import NETWORKS, ROWS

import scorekit as sk


def perturbed(state):
    """As initialised networks return zeros: parameters near 0.1."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: np.asarray(0.1 + 0.1 * rng.normal(size=leaf.shape), leaf.dtype), state)


EACH = "UNet EDM2 DiT TextEncoder CausalWaveNet CausalTransformer TieredNetwork FeatureDiscriminator"
"""Of each way to write a network one: blocks, constants, tokens, masks, states, and networks within another."""


@pytest.mark.parametrize("name", ["MLP", *(pytest.param(name, marks=pytest.mark.slow) for name in EACH.split())])
def test_networks_equal_their_linen_selves_in_graph_and_tree_mode(name):
    network, inputs = NETWORKS[f"networks.{name}"], ROWS[f"networks.{name}"].plain().values()
    model = nnx.bridge.lazy_init(nnx.bridge.ToNNX(network, rngs=nnx.Rngs(0)), *inputs)
    params = perturbed(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    nnx.update(model, params)
    others = {k: v for k, v in network.init(jax.random.key(0), *inputs).items() if k != "params"}
    for kind, value in others.items():
        nnx.update(model, value)
        assert kind == "constants"
    expected = jax.tree.leaves(network.apply({"params": params, **others}, *inputs))
    assert any(np.any(leaf) for leaf in expected)
    for graph in (True, False):
        with nnx.set_graph_mode(graph):
            merged = nnx.merge(*nnx.split(model))
            found = jax.tree.leaves(merged(*inputs))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("graph", [True, False])
def test_a_module_is_the_network_of_a_loss_and_of_a_denoiser(graph):
    """Its gradient in nnx.grad is that of the Linen network in jax.grad, and its samples are the same."""
    schedule, x = sk.schedules.Cosine(), np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    network, noise = sk.networks.MLP(features=8, blocks=1), np.zeros(8, np.float32)
    model = nnx.bridge.lazy_init(
        nnx.bridge.ToNNX(network), x, noise, rngs=nnx.Rngs(0)
    )  # none is kept: scan has no count
    params = perturbed(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    nnx.update(model, params)
    loss = lambda network: sk.denoising_loss(jax.random.key(1), network, schedule, x, target="v")[0].mean()
    linen = lambda params: lambda x, t: network.apply({"params": params}, x, t)
    expected = jax.grad(lambda params: loss(linen(params)))(params)
    solver, ts = sk.samplers.recommended(schedule, 3)
    samples = [
        sk.sample(sk.denoiser_from_network(each, schedule, target="v"), schedule, solver, x, ts)
        for each in (model, linen(params))
    ]
    np.testing.assert_allclose(*samples, rtol=1e-6, atol=1e-6)
    with nnx.set_graph_mode(graph):
        found = nnx.grad(loss)(model)  # a State in graph mode, a module in tree mode
        found = nnx.to_pure_dict(found if graph else nnx.state(found, nnx.Param))
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)
