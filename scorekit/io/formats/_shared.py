"""Parts that several layouts share."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.io.tensors import Tensors, check_params
from scorekit.networks import ResidualUNet
from scorekit.typing import PyTree


def floats(*shape: int) -> jax.ShapeDtypeStruct:
    """An input of a network."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def fitted(tensors: Tensors, network: Any, variables: PyTree, *inputs: Any) -> tuple[Any, PyTree]:
    """The network and its variables, if all tensors are taken and these fit the network at such inputs."""
    tensors.check_all_taken()
    check_params(variables, jax.eval_shape(network.init, jax.random.key(0), *inputs))
    return network, variables


def fitted_unet(
    tensors: Tensors, network: ResidualUNet, params: dict[str, Any], channels: int
) -> tuple[ResidualUNet, dict[str, Any]]:
    """The network and ``{"params": params}``, as :func:`fitted`, for data of so many channels."""
    side = 2 ** (len(network.multipliers) - 1)
    x = floats(1, *(side,) * (params["input"]["kernel"].ndim - 2), channels)
    return fitted(tensors, network, {"params": params}, x, floats(1))


def with_null_row(table: np.ndarray) -> np.ndarray:
    """The embeddings ``(K, features)`` of the labels, and one of zeros for the null label K."""
    return np.concatenate([table, np.zeros_like(table[:1])])


Params = dict[str, Any]


def residual_block(tensors: Tensors) -> Params:
    """``norm1, conv1, norm2, conv2``, and ``time_emb_proj`` and ``conv_shortcut`` where the block has them."""
    found: Params = {f"norm_{i}": tensors.under(f"norm{i}").norm() for i in (1, 2)}
    found.update({f"conv_{i}": tensors.under(f"conv{i}").conv() for i in (1, 2)})
    if "time_emb_proj.weight" in tensors:
        found["film"] = tensors.under("time_emb_proj").dense()
    if "conv_shortcut.weight" in tensors:
        found["shortcut"] = tensors.under("conv_shortcut").dense()
    return found


OLD_ATTENTION = ("query", "key", "value", "proj_attn")
NEW_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""Names of the projections before and since diffusers 0.17."""


def attention(tensors: Tensors) -> Params:
    """``group_norm``, where there is one, and the projections, by their old or new names."""
    names = OLD_ATTENTION if "query.weight" in tensors else NEW_ATTENTION
    norm = {"norm": tensors.under("group_norm").norm()} if "group_norm.weight" in tensors else {}
    *three, proj = (tensors.under(name).dense() for name in names)
    qkv = {part: np.concatenate([layer[part] for layer in three], -1) for part in ("kernel", "bias")}
    return norm | {"qkv": qkv, "proj": proj}


def count(tensors: Tensors, prefix: str) -> int:
    """How many modules ``prefix.0``, ``prefix.1``, ... there are."""
    found = (re.match(rf"{re.escape(prefix)}\.(\d+)\.", name) for name in tensors)
    return 1 + max((int(match[1]) for match in found if match), default=-1)
