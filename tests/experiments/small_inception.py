"""A small network in place of the Inception network, and images for it."""

import flax.linen as nn
import jax
import numpy as np

from experiments.tasks.diffusion.metrics import inception
from scorekit.io.formats.inception import Loaded

SMALL = {"2048": 5, "spatial": 4, "logits_unbiased": 3}
CHECKSUM = "0" * 64
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)


class Projection(nn.Module):
    """A random projection of every ninth pixel."""

    @nn.compact
    def __call__(self, x):
        flat = x[:, ::9, ::9].reshape(x.shape[0], -1)
        return {name: nn.Dense(width, name=name)(flat) for name, width in SMALL.items()}


def install(monkeypatch, folder):
    """The path of weights in ``folder``; the network that is loaded from it is the small one."""
    params = Projection().init(jax.random.key(0), np.zeros((1, 299, 299, 3)))["params"]
    monkeypatch.setattr(inception.inception, "load", lambda path: Loaded(Projection(), params, CHECKSUM))
    monkeypatch.setattr(inception, "SIZES", SMALL)
    path = folder / "weights.safetensors"
    path.write_bytes(b"")
    return path
