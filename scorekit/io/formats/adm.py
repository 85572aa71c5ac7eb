"""Checkpoints of guided-diffusion, and of consistency models with its names, for
:class:`scorekit.networks.ResidualUNet`.

``time_embed.{0,2}``, ``label_emb``, ``input_blocks.i.j``, ``middle_block.j``, ``output_blocks.i.j`` and ``out.{0,2}``;
in a block j = 0 is a residual block or a convolution, then come attention and what doubles the resolution, if any.
"""

import itertools
import math
from collections.abc import Container
from typing import Any

import numpy as np

from scorekit.io.formats._shared import fitted_unet, with_null_row
from scorekit.io.tensors import Tensors
from scorekit.networks import ResidualUNet

__all__ = ["convert", "recognises"]


def recognises(names: Container[str]) -> bool:
    """Whether tensors have the names of this layout."""
    return all(name in names for name in ("time_embed.0.weight", "input_blocks.0.0.weight", "out.2.weight"))


def convert(
    tensors: Tensors,
    *,
    heads: int = 4,
    head_channels: int | None = 64,
    new_attention_order: bool = False,
    map_shape: tuple[int, ...] | None = None,
    keep_variance: bool = False,
) -> tuple[ResidualUNet, dict[str, Any]]:
    """A network and its parameters from tensors of guided-diffusion.

    Sizes are read from the shapes of the tensors; settings that do not affect the shapes are arguments. The published
    networks have ``head_channels=64``, but for ImageNet 128 x 128 and the upsampler from 64 x 64:
    ``head_channels=None`` with 4 heads. Only the network of ImageNet 64 x 64 has the new order of attention.

    The network is called with the timestep in [0, 1000). Published labels have no null token: the row of label
    ``num_classes`` is zeros, and so is the null token of a map, which stands for a map of zeros.

    Args:
      tensors: tensors of a checkpoint by their foreign names.
      heads: number of attention heads, where ``head_channels`` is None.
      head_channels: channels of an attention head, or None.
      new_attention_order: queries, keys and values are separated before the heads, not after.
      map_shape: shape (H, W, C) of the low-resolution image of an upsampler, whose channels are the last C of the
        network's input.
      keep_variance: whether the output keeps a predicted variance; by default the network is a denoiser as it is.

    Source: the names of https://github.com/openai/guided-diffusion.
    """
    sizes = _sizes(tensors) | {"heads": heads, "head_channels": head_channels, "map_shape": map_shape}
    kernel = tensors.under("input_blocks.0.0").conv()
    channels = kernel["kernel"].shape[-2] - (map_shape[-1] if map_shape else 0)
    out = tensors.shape("out.2.weight")[0]
    if out not in (channels, 2 * channels):
        raise ValueError(
            f"map_shape must leave {out} or {out / 2:g} of the {kernel['kernel'].shape[-2]} input channels to x, "
            f"got {map_shape}"
        )
    sizes["learned_variance"] = keep_variance and out != channels
    network = ResidualUNet(**sizes)
    take = _Blocks(tensors, network, new_attention_order)
    params = {
        "conditioning": {"noise_in": tensors.under("time_embed.0").dense()}
        | {"noise_out": tensors.under("time_embed.2").dense()},
        "input": {"kernel": kernel["kernel"][..., :channels, :], "bias": kernel["bias"]},
        **take.encoder(),
        **take.stage("middle_block", "middle_0", True),
        "middle_1_block": take.residual(tensors.under("middle_block.2")),
        **take.decoder(),
        "norm": tensors.under("out.0").norm(),
        "output": tensors.under("out.2").conv(),
    }
    if network.num_classes is not None:
        params["conditioning"]["labels"] = {"embedding": with_null_row(tensors.take("label_emb.weight"))}
    if map_shape is not None:
        zeros = np.zeros_like(kernel["bias"])
        params["map"] = {"kernel": kernel["kernel"][..., channels:, :], "bias": zeros}
        params["map_or_null"] = {"null": zeros}
    if not network.learned_variance:
        params["output"] = {name: array[..., :channels] for name, array in params["output"].items()}
    return fitted_unet(tensors, network, params, channels)


class _Blocks:
    """The blocks of a network by our names, taken from tensors."""

    def __init__(self, tensors: Tensors, network: ResidualUNet, new_attention_order: bool):
        self.tensors, self.network, self.new_order = tensors, network, new_attention_order
        self.levels = range(len(network.multipliers))

    def encoder(self) -> dict[str, Any]:
        params, index = {}, itertools.count(1)
        for level in self.levels:
            if level:
                params[f"down{level}_halve"] = self.resampling(f"input_blocks.{next(index)}.0", "op")
            for i in range(self.network.blocks):
                attends = level in self.network.attention_levels
                params |= self.stage(f"input_blocks.{next(index)}", f"down{level}_{i}", attends)
        return params

    def decoder(self) -> dict[str, Any]:
        params, index = {}, itertools.count()
        for level in reversed(self.levels):
            attends = level in self.network.attention_levels
            for i in range(self.network.blocks + 1):
                foreign = f"output_blocks.{next(index)}"
                params |= self.stage(foreign, f"up{level}_{i}", attends)
                if level and i == self.network.blocks:
                    params[f"up{level}_double"] = self.resampling(f"{foreign}.{1 + attends}", "conv")
        return params

    def stage(self, foreign: str, name: str, attends: bool) -> dict[str, Any]:
        params = {f"{name}_block": self.residual(self.tensors.under(f"{foreign}.0"))}
        return params | ({f"{name}_attention": self.attention(self.tensors.under(f"{foreign}.1"))} if attends else {})

    def resampling(self, foreign: str, convolution: str) -> dict[str, Any]:
        block = self.tensors.under(foreign)
        return self.residual(block) if self.network.residual_resampling else block.under(convolution).conv()

    def residual(self, block: Tensors) -> dict[str, Any]:
        params = {"norm_1": block.under("in_layers.0").norm(), "conv_1": block.under("in_layers.2").conv()}
        params |= {"film": block.under("emb_layers.1").dense(), "norm_2": block.under("out_layers.0").norm()}
        params["conv_2"] = block.under("out_layers.3").conv()
        if "skip_connection.weight" in block:
            params["shortcut"] = block.under("skip_connection").dense()
        return params

    def attention(self, block: Tensors) -> dict[str, Any]:
        def permute(rows: np.ndarray) -> np.ndarray:
            """Reorders the output from (heads, 3, d) to (3, heads, d)."""
            size = self.network.head_channels or len(rows) // (3 * self.network.heads)
            if self.new_order:
                return rows
            if len(rows) % (3 * size):
                raise ValueError(f"heads or head_channels must divide the {len(rows) // 3} channels of attention")
            return rows.reshape(-1, 3, size, *rows.shape[1:]).swapaxes(0, 1).reshape(rows.shape)

        params = {"norm": block.under("norm").norm(), "qkv": block.under("qkv").dense(permute)}
        return params | {"proj": block.under("proj_out").dense()}


def _sizes(tensors: Tensors) -> dict[str, Any]:
    residual = sorted({int(name.split(".")[1]) for name in tensors if _doubles(name, "in_layers.0.weight")})
    plain = sorted({int(name.split(".")[1]) for name in tensors if _doubles(name, "conv.weight")})
    ends = residual or plain
    last = max((int(name.split(".")[1]) for name in tensors if name.startswith("input_blocks.")), default=0)
    blocks = ends[0] if ends else last
    firsts = [1 + level * (blocks + 1) for level in range(len(ends) + 1)]
    widths = [tensors.shape(f"input_blocks.{i}.0.out_layers.3.bias")[0] for i in firsts]
    channels = math.gcd(*widths)
    film = tensors.shape("input_blocks.1.0.emb_layers.1.bias")[0]
    return {
        "channels": channels,
        "multipliers": tuple(width // channels for width in widths),
        "blocks": blocks,
        "attention_levels": tuple(n for n, i in enumerate(firsts) if f"input_blocks.{i}.1.qkv.weight" in tensors),
        "num_classes": tensors.shape("label_emb.weight")[0] if "label_emb.weight" in tensors else None,
        "noise_scale": 1.0,
        "noise_channels": tensors.shape("time_embed.0.weight")[1],
        "residual_resampling": not plain,
        "film": "scale_shift" if film == 2 * widths[0] else "shift",
        "group_channels": 1,
    }


def _doubles(name: str, suffix: str) -> bool:
    """Whether a tensor belongs to what doubles the resolution: the second or third part of a block of the decoder."""
    return name.startswith("output_blocks.") and name.split(".", 3)[2:] in (["1", suffix], ["2", suffix])
