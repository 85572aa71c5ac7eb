"""Checkpoints of EDM's ``DhariwalUNet``, and of its re-release in physicsnemo, for
:class:`scorekit.networks.ResidualUNet`.

``map_layer{0,1}``, ``map_label``, ``enc.{R}x{R}_{conv,down,block{i}}``, ``dec.{R}x{R}_{in0,in1,up,block{i}}``, with R
the height at a level, ``out_norm`` and ``out_conv``; below ``model.`` where the preconditioning is part of the network.
"""

import math
import re
from collections.abc import Container
from typing import Any

import numpy as np

from scorekit.io.formats._shared import fitted_unet, with_null_row
from scorekit.io.tensors import Tensors
from scorekit.networks import ResidualUNet

__all__ = ["convert", "recognises"]

_HEAD_CHANNELS = 64  # channels of an attention head, in all networks of this layout


def recognises(names: Container[str]) -> bool:
    """Whether tensors have the names of this layout, which differs from EDM's other network in the last layers."""
    last = ("map_layer0.weight", "out_norm.weight", "out_conv.weight")
    return any(all(prefix + name in names for name in last) for prefix in ("", "model."))


def convert(tensors: Tensors) -> tuple[ResidualUNet, dict[str, Any]]:
    """A network and its parameters from tensors of ``DhariwalUNet``; all sizes are read from names and shapes.

    The network is called with ``log(sigma) / 4``, and ``x / sqrt(sigma^2 + sigma_data^2)`` as its input: the arguments
    of :class:`scorekit.predictions.EDMTarget`. Published labels have no null token: the row of label ``num_classes`` is
    zeros. The embedding of augmentations, which are zero in sampling, is left out. Frequencies of the noise embedding
    and resampling filters must be ours.

    Args:
      tensors: tensors of a checkpoint by their foreign names.

    Source: Karras et al. 2022 (https://arxiv.org/abs/2206.00364); the names of physicsnemo's re-release.
    """
    found = tensors.under("model") if "model.map_layer0.weight" in tensors else tensors
    sides, network = _sizes(found)
    params: dict[str, Any] = {
        "conditioning": {"noise_in": found.under("map_layer0").dense(), "noise_out": found.under("map_layer1").dense()},
        "input": found.under(f"enc.{sides[0]}_conv").conv(),
        "norm": found.under("out_norm").norm(),
        "output": found.under("out_conv").conv(),
    }
    if network.num_classes is not None:
        params["conditioning"]["labels"] = {"embedding": with_null_row(found.take("map_label.weight").T)}
    if "map_augment.weight" in found:
        found.take("map_augment.weight")
    if "map_noise.freqs" in found:
        features = found.shape("map_layer0.weight")[1]
        _check_constant(found, "map_noise.freqs", 10_000.0 ** (-np.arange(0, features, 2) / features))
    blocks = {f"dec.{sides[-1]}_in{i}": f"middle_{i}_block" for i in range(2)}
    for level, side in enumerate(sides):
        blocks |= {f"enc.{side}_block{i}": f"down{level}_{i}_block" for i in range(network.blocks)}
        blocks |= {f"dec.{side}_block{i}": f"up{level}_{i}_block" for i in range(network.blocks + 1)}
        if level:
            blocks |= {f"enc.{side}_down": f"down{level}_halve", f"dec.{sides[level - 1]}_up": f"up{level}_double"}
    for foreign, name in blocks.items():
        block = found.under(foreign)
        params[name] = _residual(block)
        attention = _attention(block)
        if attention is not None:
            params[name.replace("_block", "_attention")] = attention
    return fitted_unet(tensors, network, params, params["input"]["kernel"].shape[-2])


def _sizes(found: Tensors) -> tuple[list[str], ResidualUNet]:
    """The heights of the levels as in the names, largest first, and the network."""
    names = {re.match(r"enc\.(\d+x\d+)_block0\.norm0\.weight$", name) for name in found}
    sides = sorted((name[1] for name in names if name), key=lambda side: -int(side.split("x")[0]))
    if not sides:
        raise ValueError(f"{found.source} has no tensor 'enc.*_block0.norm0.weight'")
    firsts = [found.under(f"enc.{side}_block0") for side in sides]
    widths = [first.shape("conv1.bias")[0] for first in firsts]
    channels = math.gcd(*widths)
    network = ResidualUNet(
        channels=channels,
        multipliers=tuple(width // channels for width in widths),
        blocks=sum(name.startswith(f"enc.{sides[0]}_block") and name.endswith("norm0.weight") for name in found),
        attention_levels=tuple(
            level for level, first in enumerate(firsts) if "qkv.weight" in first or "attn.qkv.weight" in first
        ),
        head_channels=_HEAD_CHANNELS,
        num_classes=found.shape("map_label.weight")[1] if "map_label.weight" in found else None,
        noise_scale=1.0,
        noise_channels=found.shape("map_layer0.weight")[1],
    )
    return sides, network


def _residual(block: Tensors) -> dict[str, Any]:
    params = {"norm_1": block.under("norm0").norm(), "conv_1": block.under("conv0").conv()}
    params |= {"norm_2": block.under("norm1").norm(), "conv_2": block.under("conv1").conv()}
    params["film"] = block.under("affine").dense()
    if "skip.weight" in block:
        params["shortcut"] = block.under("skip").dense()
    for name in ("conv0.resample_filter", "skip.resample_filter"):
        if name in block:
            _check_constant(block, name, np.full((1, 1, 2, 2), 0.25))
    return params


def _check_constant(found: Tensors, name: str, expected: np.ndarray) -> None:
    value = found.take(name)
    if value.shape != expected.shape or not np.allclose(value, expected, rtol=1e-3):
        raise ValueError(f"{found.prefix}{name} must be {expected.tolist()}, got {value.tolist()}")


def _attention(block: Tensors) -> dict[str, Any] | None:
    """The parameters of the attention after a block, if any; physicsnemo's names are one level deeper than EDM's."""
    deeper = "attn.qkv.weight" in block
    if not deeper and "qkv.weight" not in block:
        return None
    inner = block.under("attn") if deeper else block
    norm = inner.under("norm" if deeper else "norm2").norm()
    return {"norm": norm, "qkv": inner.under("qkv").dense(_heads_last), "proj": inner.under("proj").dense()}


def _heads_last(rows: np.ndarray) -> np.ndarray:
    """Reorders the output of a projection from (heads, d, 3) to (3, heads, d)."""
    return np.moveaxis(rows.reshape(-1, _HEAD_CHANNELS, 3, *rows.shape[1:]), 2, 0).reshape(rows.shape)
