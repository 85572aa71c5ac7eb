"""The U-Net in PyTorch, which times are compared with, is the same function."""

import jax
import numpy as np
import pytest
from parameters import random_like

from scorekit.networks import UNet

pytestmark = pytest.mark.external
torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    "network",
    [
        UNet(channels=16, multipliers=(1, 2, 2), blocks=2, attention_resolutions=(4,), heads=2, num_classes=3),
        UNet(channels=12, multipliers=(2, 1), attention_resolutions=(16, 8), conditioning_layers=1),
    ],
)
def test_the_network_in_pytorch_agrees_with_the_one_in_flax(network):
    import torch_unet

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
    import torch_unet

    with pytest.raises(ValueError, match="patch must be 1 for the network in PyTorch, got 2"):
        torch_unet.like(UNet(patch=2), (8, 8, 1))
