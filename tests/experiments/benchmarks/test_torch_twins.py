"""The networks in PyTorch, which times are compared with, are the same functions as those in Flax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import random_like

from experiments.configs.sequences import smoke
from experiments.models import sequences
from scorekit.networks import CausalWaveNet, UNet

pytestmark = pytest.mark.external
torch = pytest.importorskip("torch")
import torch_unet  # noqa: E402
import torch_wavenet  # noqa: E402


@pytest.mark.parametrize(
    "network",
    [
        UNet(channels=16, multipliers=(1, 2, 2), blocks=2, attention_resolutions=(4,), heads=2, num_classes=3),
        UNet(channels=12, multipliers=(2, 1), attention_resolutions=(16, 8), conditioning_layers=1),
    ],
)
def test_the_unet_in_pytorch_agrees_with_the_one_in_flax(network):
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(4, 16, 16, 3)).astype(np.float32), np.linspace(-4, 4, 4, dtype=np.float32)
    labels = None if network.num_classes is None else np.array([0, 1, 2, 3], np.int32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x, noise, labels)
    params = random_like(shapes, 0.1)
    module = torch_unet.copy_params(torch_unet.like(network, x.shape[1:]), params["params"])
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert sum(parameter.numel() for parameter in module.parameters()) == count
    ours = np.asarray(jax.jit(network.apply)(params, x, noise, labels))
    given = None if labels is None else torch.from_numpy(labels)
    with torch.no_grad():
        theirs = module(torch.from_numpy(x.transpose(0, 3, 1, 2)), torch.from_numpy(noise), given).numpy()
    error = np.abs(ours - theirs.transpose(0, 2, 3, 1)).max() / np.abs(ours).max()
    assert error < 1e-4, error


def test_sizes_that_the_network_in_pytorch_has_not_are_errors():
    with pytest.raises(ValueError, match="patch must be 1 for the network in PyTorch, got 2"):
        torch_unet.like(UNet(patch=2), (8, 8, 1))


@pytest.mark.parametrize(
    "sizes", [{"layers": 4, "cycle": 2, "num_classes": 3}, {"layers": 2, "cycle": 2, "taps": 3, "dilation_base": 3}]
)
def test_the_wavenet_in_pytorch_agrees_with_the_one_in_flax(sizes):
    network = CausalWaveNet(outputs=5, num_codes=5, channels=8, **sizes)
    x = np.random.default_rng(0).integers(0, 5, size=(3, 20))
    labels = np.array([0, 2, 3]) if network.num_classes else None
    params = random_like(jax.eval_shape(network.init, jax.random.key(0), x), 0.3)
    ours = jax.jit(network.apply)(params, x, labels=labels)
    module = torch_wavenet.like(network, params)
    assert sum(p.numel() for p in module.parameters()) == sum(leaf.size for leaf in jax.tree.leaves(params))
    with torch.no_grad():
        theirs = module(torch.from_numpy(x), None if labels is None else torch.from_numpy(labels)).numpy()
    np.testing.assert_allclose(theirs, ours, atol=1e-4 * float(jnp.abs(ours).max()))


def test_both_train_to_the_same_bits_from_the_same_weights_on_the_same_batches():
    config = smoke.get_config()
    config.network.update(name="causal_wavenet", depth=None, width=None, heads=None, channels=16, layers=4, cycle=4)
    config.training.update(steps=60, batch_size=64, learning_rate=5e-3, weight_decay=0.1, warmup_steps=5)
    dataset = sequences.load_data(config)
    model = sequences.build_model(config, dataset, with_positions=False)
    found = torch_wavenet.compare(config, model, dataset)
    assert abs(found.before[0] - found.before[1]) < 1e-4
    assert found.after[0] < found.before[0] - 0.5
    assert abs(found.after[0] / found.after[1] - 1) < 0.002  # without dropout, to rounding
    config.network.dropout = 0.3
    dropped = torch_wavenet.compare(config, sequences.build_model(config, dataset, with_positions=False), dataset)
    assert abs(dropped.after[0] / dropped.after[1] - 1) < 0.02
    assert abs(dropped.after[1] / found.after[1] - 1) > 0.005  # the dropout of both is on


@pytest.mark.parametrize("sizes", [{"map_size": 2, "num_codes": 4}, {"num_codes": None}])
def test_a_network_that_is_not_one_of_codes_alone_is_an_error(sizes):
    with pytest.raises(ValueError, match=r"(map_size|num_codes) must be"):
        torch_wavenet.like(CausalWaveNet(**sizes), {})
