"""diffusers' ``AutoencoderKL``: the autoencoders of Stable Diffusion, SDXL, Stable Diffusion 3 and Flux."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np

from scorekit.arguments import Between
from scorekit.io._naming import check_none, unsupported
from scorekit.io.formats._shared import Params, attention, count, fitted, floats, residual_block
from scorekit.io.tensors import Tensors
from scorekit.networks import AutoencoderKL

__all__ = ["attributes", "convert", "recognises"]

_ONLY = {
    "act_fn": ("silu", "swish"),
    "_class_name": ("AutoencoderKL",),
    "down_block_types": (["DownEncoderBlock2D"],),
    "up_block_types": (["UpDecoderBlock2D"],),
}


def recognises(names: Container[str]) -> bool:
    """Whether tensors of these names are of this layout."""
    return "encoder.down_blocks.0.resnets.0.conv1.weight" in names and "decoder.conv_in.weight" in names


def attributes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :func:`convert` that ``config.json`` holds: scale and shift of the latent, groups.

    Latents of a mean and a deviation for each channel, ``(z - mean) scaling_factor / std``, have a scale and a shift
    for each.
    """
    blocks = {name: sorted(set(config[name])) for name in ("down_block_types", "up_block_types") if name in config}
    problems, widths = unsupported({**config, **blocks}, _ONLY), config.get("block_out_channels", [64])
    if any(width % widths[0] for width in widths):
        problems.append(f"block_out_channels must be multiples of the first, got {widths}")
    if config.get("use_quant_conv", True) != config.get("use_post_quant_conv", True):
        problems.append(f"use_post_quant_conv must be {config.get('use_quant_conv', True)}, as use_quant_conv")
    check_none(problems)
    factor, shift = config.get("scaling_factor", 0.18215), config.get("shift_factor") or 0.0
    Between(1e-6, 1e6).check("scaling_factor", factor)
    Between(-1e6, 1e6).check("shift_factor", shift)
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is not None and std is not None:
        factor, shift = (factor / np.asarray(std, np.float64)).tolist(), list(mean)
    return {"scaling_factor": factor, "shift_factor": shift, "groups": config.get("norm_num_groups", 32)}


def convert(
    tensors: Tensors,
    *,
    scaling_factor: float | Sequence[float],
    shift_factor: float | Sequence[float] = 0.0,
    groups: int = 32,
) -> tuple[AutoencoderKL, Params]:
    """The network and its parameters; all other sizes follow from the shapes. Attention has its old or new names.

    Args:
      tensors: tensors of a checkpoint by their foreign names.
      scaling_factor: factor of the latent, for instance from one of the network's presets.
      shift_factor: shift that is subtracted from the latent before it is scaled.
      groups: groups of the norms.

    Source: Rombach et al. 2022 (https://arxiv.org/abs/2112.10752).
    """
    levels = count(tensors, "encoder.down_blocks")
    blocks = count(tensors, "encoder.down_blocks.0.resnets")
    widths = [tensors.shape(f"encoder.down_blocks.{i}.resnets.0.conv1.weight")[0] for i in range(levels)]
    channels, data_channels = tensors.shape("encoder.conv_in.weight")[:2]
    network = AutoencoderKL(
        data_channels=data_channels,
        latent_channels=tensors.shape("decoder.conv_in.weight")[1],
        channels=channels,
        multipliers=tuple(width // channels for width in widths),
        blocks=blocks,
        groups=groups,
        quant_convs="quant_conv.weight" in tensors,
        middle_attention="encoder.mid_block.attentions.0.group_norm.weight" in tensors,
        scaling_factor=scaling_factor,
        shift_factor=shift_factor,
    )
    names = [f"down_blocks.{i}" for i in range(levels)], [f"up_blocks.{levels - 1 - i}" for i in range(levels)]
    params = {
        "encoder": _half(tensors.under("encoder"), names[0], blocks, "downsamplers", "down", levels - 1),
        "decoder": _half(tensors.under("decoder"), names[1], blocks + 1, "upsamplers", "up", 0),
    }
    if network.quant_convs:
        params["quant"] = tensors.under("quant_conv").dense()
        params["post_quant"] = tensors.under("post_quant_conv").dense()
    return fitted(tensors, network, {"params": params}, floats(1, network.stride, network.stride, data_channels))


def _half(tensors: Tensors, names: list[str], blocks: int, resample: str, ours: str, last: int) -> Params:
    """The encoder or the decoder; ``names`` are the names of the levels, highest resolution first, of which ``last``
    does not resample."""
    found: Params = {"input": tensors.under("conv_in").conv(), "output": tensors.under("conv_out").conv()}
    found["norm"] = tensors.under("conv_norm_out").norm()
    if "mid_block.attentions.0.group_norm.weight" in tensors:
        found["middle_attention"] = attention(tensors.under("mid_block.attentions.0"))
    for i in range(2):
        found[f"middle_{i}"] = residual_block(tensors.under(f"mid_block.resnets.{i}"))
    for level, name in enumerate(names):
        for i in range(blocks):
            found[f"level_{level}_{i}"] = residual_block(tensors.under(f"{name}.resnets.{i}"))
        if level != last:
            number = level + 1 if ours == "down" else level
            found[f"{ours}_{number}"] = tensors.under(f"{name}.{resample}.0.conv").conv()
    return found
