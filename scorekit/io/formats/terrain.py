"""The ONNX file of the package ``adaptive-terrain-diffusion``: a small ADM that is a consistency model of heights.

The file holds the tensors of a consistency model by guided-diffusion's names, but for the scales and shifts of group
norms, which an exporter has renamed: those are found in its graph. The network is conditioned on a difficulty, by a
perceptron instead of a table of classes.
"""

import os
from collections.abc import Callable, Container
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.linen import silu

from scorekit.io.formats import adm
from scorekit.io.formats._shared import fitted_unet
from scorekit.io.tensors import Tensors
from scorekit.networks import ResidualUNet
from scorekit.trees import expand
from scorekit.typing import Array, ArrayLike

__all__ = ["convert", "end_of_path", "read", "recognises"]

_HEAD_CHANNELS = 32
_SIGMA_MIN, _SIGMA_DATA = 0.002, 0.5
_NORMS = {"in_layers.2": "in_layers.0", "out_layers.3": "out_layers.0", "qkv": "norm", "out.2": "out.0"}
"""The norm before a convolution, by guided-diffusion's names."""


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of an ONNX file by guided-diffusion's names, in PyTorch's layouts; needs the package ``onnx``.

    Args:
      path: the file, in whose graph the parameters of every norm must be found.

    >>> tensors = read("terrain.onnx")  # doctest: +SKIP
    """
    import onnx  # pyright: ignore[reportMissingImports]
    from onnx import numpy_helper  # pyright: ignore[reportMissingImports]

    graph = onnx.load(os.fspath(path)).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    found = {name.removeprefix("network."): array for name, array in tensors.items() if name.startswith("network.")}
    users = {name: node for node in graph.node for name in node.input}
    norm = None
    for node in graph.node:
        if node.op_type == "InstanceNormalization":
            scaled = users[users[node.output[0]].output[0]]  # after a reshape
            norm = scaled, users[scaled.output[0]]
        elif node.op_type == "Conv" and norm is not None:
            convolution = node.input[1].removeprefix("network.").removesuffix(".weight")
            block, last = next(((convolution.removesuffix(k), v) for k, v in _NORMS.items() if convolution.endswith(k)))
            for part, affine, operation in zip(("weight", "bias"), norm, ("Mul", "Add"), strict=True):
                if affine.op_type != operation or affine.input[1] not in tensors:
                    raise ValueError(f"path must hold a norm with a scale and a shift before {convolution}, got {path}")
                found[f"{block}{last}.{part}"] = tensors[affine.input[1]].reshape(-1)
            norm = None
    return found


def recognises(names: Container[str]) -> bool:
    """Whether tensors have the names that :func:`read` gives."""
    return adm.recognises(names) and "label_emb.2.weight" in names


def convert(tensors: Tensors) -> tuple[ResidualUNet, dict[str, Any], Callable[[ArrayLike], Array]]:
    """The network, its parameters, and the function from difficulties to its conditioning vector.

    The last layer of the perceptron of the difficulty is the one that the network has for vectors; the function is the
    layer before it. Without a vector the network is not conditioned, which it was not trained for.

    Args:
      tensors: tensors of a checkpoint by their foreign names.

    Returns:
      ``(network, params, embed)``; ``embed`` maps difficulties ``(B,)`` in [0, 1] to vectors.

    Source: Dhariwal & Nichol 2021 (https://arxiv.org/abs/2105.05233), whose network it is.
    """
    first, last = tensors.under("label_emb.0").dense(), tensors.under("label_emb.2").dense()
    rest = {name: tensors.take(name) for name in tensors if not name.startswith("label_emb.")}
    network, params = adm.convert(Tensors(rest, tensors.source), head_channels=_HEAD_CHANNELS, new_attention_order=True)
    network = network.copy(vector_size=last["kernel"].shape[0])
    inner = params["params"]
    inner["conditioning"] |= {"vector": last, "vector_or_null": {"null": np.zeros_like(last["bias"])}}
    embed = lambda difficulty: silu(jnp.asarray(difficulty, jnp.float32)[:, None] @ first["kernel"] + first["bias"])
    return *fitted_unet(tensors, network, inner, inner["output"]["bias"].size), embed


def end_of_path(network: ResidualUNet, params: dict[str, Any], x: Array, sigma: ArrayLike, vector: Array) -> Array:
    """The consistency function, from a noise level to the smallest.

    ``s x + (sigma - 0.002) d / sqrt(sigma^2 + d^2) F(x / sqrt(sigma^2 + d^2), 250 log(sigma), vector)`` with d = 0.5
    the standard deviation of data and ``s = d^2 / ((sigma - 0.002)^2 + d^2)``, clipped to [-1, 1].

    Args:
      network: F.
      params: its parameters.
      x: data and noise ``x0 + sigma eps``, ``(B, H, W, 1)``; heights in [-1, 1].
      sigma: noise level, scalar or ``(B,)``, in [0.002, 80].
      vector: ``(B, features)``, from the difficulties.

    >>> from types import SimpleNamespace
    >>> network, x = SimpleNamespace(apply=lambda params, x, noise, vector: x), jnp.full((1, 2, 2, 1), 0.5)
    >>> end_of_path(network, {}, x, 0.002, jnp.zeros((1, 2)))[0, 0, 0]
    Array([0.5], dtype=float32)

    Source: Song et al. 2023, "Consistency models" (https://arxiv.org/abs/2303.01469).
    """
    sigma = jnp.asarray(sigma, jnp.float32)
    above, total = sigma - _SIGMA_MIN, jnp.sqrt(sigma**2 + _SIGMA_DATA**2)
    skip, scale = _SIGMA_DATA**2 / (above**2 + _SIGMA_DATA**2), above * _SIGMA_DATA / total
    output: Any = network.apply(params, x / expand(total, x), 250 * jnp.log(sigma), vector=vector)
    return jnp.clip(expand(skip, x) * x + expand(scale, x) * output, -1, 1)
