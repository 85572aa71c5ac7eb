"""The WaveNet in PyTorch is the same function as the one in Flax, and trains to the same likelihood."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import random_like

from experiments.configs.sequences import smoke
from experiments.models import sequences
from scorekit.networks import CausalWaveNet

pytestmark = pytest.mark.external
torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    "sizes", [{"layers": 4, "cycle": 2, "num_classes": 3}, {"layers": 2, "cycle": 2, "taps": 3, "dilation_base": 3}]
)
def test_the_network_in_pytorch_agrees_with_the_one_in_flax(sizes):
    import torch_wavenet

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
    import torch_wavenet

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
    import torch_wavenet

    with pytest.raises(ValueError, match=r"(map_size|num_codes) must be"):
        torch_wavenet.like(CausalWaveNet(**sizes), {})
