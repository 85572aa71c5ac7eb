"""The weights of the FID's Inception network under the names of pytorch-fid and torch-fidelity.

Both packages publish one file (``pt_inception-2015-12-05-6726825d.pth``, ``weights-inception-2015-12-05-6726825d.pth``;
Apache-2.0, from the TensorFlow release): ``<layer>.conv.weight`` and ``<layer>.bn.weight``, ``bias``, ``running_mean``,
``running_var`` of 94 convolutions, and ``fc``.

>>> load("missing.pth")
Traceback (most recent call last):
ValueError: path must be a .safetensors or .pth file of Inception weights, got missing.pth
>>> Loaded(network=InceptionV3(), params={}, checksum=checksum(Path(os.devnull))).checksum[:8]
'e3b0c442'
"""

import os
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorekit.io._hub import sha256
from scorekit.io._naming import naming
from scorekit.io.reading import read_weights
from scorekit.io.tensors import Tensors, check_params
from scorekit.metrics.inception import InceptionV3
from scorekit.typing import PyTree

__all__ = ["Loaded", "checksum", "convert", "load", "recognises"]

_EPSILON = 1e-3  # added to the variances of the batch normalisation


class Loaded(NamedTuple):
    """A network with the weights of a file.

    Attributes:
      network: the module, such as an :class:`~scorekit.metrics.InceptionV3`.
      params: its parameters.
      checksum: SHA-256 of the file, in hexadecimal digits.
    """

    network: nn.Module
    params: PyTree
    checksum: str


def load(path: str | os.PathLike[str]) -> Loaded:
    """The network with the parameters of a file, and the checksum that a published figure should name.

    Args:
      path: a file that :func:`scorekit.io.reading.read_weights` reads, ``.safetensors`` or ``.pth`` of PyTorch.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"path must be a .safetensors or .pth file of Inception weights, got {path}")
    with naming(path):
        network, params = convert(Tensors(read_weights(path).named, str(path)))
    return Loaded(network, params, checksum(path))


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in 64 hexadecimal digits.

    Args:
      path: the file.
    """
    return sha256(path)


def recognises(names: Container[str]) -> bool:
    """Whether tensors of these names are of this layout."""
    return all(name in names for name in ("Conv2d_1a_3x3.conv.weight", "Mixed_7c.branch3x3_2a.conv.weight"))


def convert(tensors: Tensors) -> tuple[InceptionV3, PyTree]:
    """The network and ``params`` for ``network.apply({"params": params}, x)["2048"]``.

    The batch normalisation is folded into the convolutions: ``kernel = weight s`` and ``bias = b - mean s`` with
    ``s = scale / sqrt(variance + 1e-3)``, in float64.

    Args:
      tensors: tensors of a checkpoint by their foreign names.

    Source: Szegedy et al. 2016 (https://arxiv.org/abs/1512.00567).
    """
    network = InceptionV3()
    like = jax.ShapeDtypeStruct((1, 75, 75, 3), jnp.float32)
    expected = jax.eval_shape(network.init, jax.random.key(0), like)["params"]
    params = {name: _convert(tensors.under(name), layers) for name, layers in expected.items() if name != "fc"}
    params["fc"] = tensors.under("fc").dense()
    tensors.check_all_taken()
    check_params(params, expected)
    return network, params


def _convert(tensors: Tensors, layers: PyTree) -> PyTree:
    """The parameters of one convolution, or of the named convolutions of a block."""
    if "kernel" not in layers:
        return {name: _convert(tensors.under(name), inner) for name, inner in layers.items()}
    kernel, norm = tensors.under("conv").conv()["kernel"].astype(np.float64), tensors.under("bn")
    if "num_batches_tracked" in norm:
        norm.take("num_batches_tracked")
    scale, bias, mean, variance = (
        norm.take(name).astype(np.float64) for name in ("weight", "bias", "running_mean", "running_var")
    )
    factor = scale / np.sqrt(variance + _EPSILON)
    return {"kernel": (kernel * factor).astype(np.float32), "bias": (bias - mean * factor).astype(np.float32)}
