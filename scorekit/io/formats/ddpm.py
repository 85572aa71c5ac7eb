"""diffusers' ``UNet2DModel`` as the U-Net of DDPM: google/ddpm-cifar10-32, google/ddpm-celebahq-256 and others."""

from collections.abc import Container, Mapping
from typing import Any

from scorekit.io.formats._shared import (
    Params,
    attention,
    check_fields,
    count,
    fitted,
    floats,
    residual_block,
    with_null_row,
)
from scorekit.io.tensors import Tensors
from scorekit.networks import DDPMUNet

__all__ = ["attributes", "convert", "recognises"]

_ONLY = {
    "act_fn": ("silu",),
    "attention_head_dim": (None,),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "downsample_padding": (0,),
    "flip_sin_to_cos": (False,),
    "freq_shift": (1,),
    "mid_block_scale_factor": (1,),
    "norm_eps": (1e-6,),
    "resnet_time_scale_shift": ("default",),
    "time_embedding_type": ("positional",),
    "down_block_types": (["AttnDownBlock2D", "DownBlock2D"], ["DownBlock2D"], ["AttnDownBlock2D"]),
    "up_block_types": (["AttnUpBlock2D", "UpBlock2D"], ["UpBlock2D"], ["AttnUpBlock2D"]),
}

_DEFAULTS = {
    "attention_head_dim": 8,
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "norm_eps": 1e-5,
}
"""The defaults of diffusers that are not DDPM's."""


def recognises(names: Container[str]) -> bool:
    """Whether tensors of these names are of this layout; others have transformers in the middle."""
    return "time_embedding.linear_1.weight" in names and "mid_block.attentions.0.group_norm.weight" in names


def attributes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :func:`convert` that ``config.json`` holds: groups of the norms, and the rate of dropout.

    A missing field has diffusers' default, which is not always DDPM's: it is an error where the network does not have
    it.
    """
    blocks = {name: sorted(set(config[name])) for name in ("down_block_types", "up_block_types") if name in config}
    check_fields({**_DEFAULTS, **config, **blocks}, _ONLY)
    return {"groups": config.get("norm_num_groups", 32), "dropout": config.get("dropout", 0.0)}


def convert(tensors: Tensors, *, groups: int = 32, dropout: float = 0.0) -> tuple[DDPMUNet, Params]:
    """The network, called with a timestep in [0, 1000), and its parameters; all other sizes follow from the shapes.

    Classes (``class_embedding``) become labels; the null token, which the layout lacks, adds nothing. The attention has
    its old or its new names.

    Args:
      dropout: rate of dropout in training.

    Source: Ho et al. 2020 (https://arxiv.org/abs/2006.11239).
    """
    levels, blocks = count(tensors, "down_blocks"), count(tensors, "down_blocks.0.resnets")
    channels, data_channels = tensors.shape("conv_in.weight")[:2]
    widths = [tensors.shape(f"down_blocks.{i}.resnets.0.conv1.weight")[0] for i in range(levels)]
    classes = "class_embedding.weight" in tensors
    network = DDPMUNet(
        channels=channels,
        multipliers=tuple(width // channels for width in widths),
        blocks=blocks,
        attention_levels=tuple(i for i in range(levels) if count(tensors, f"down_blocks.{i}.attentions")),
        groups=groups,
        dropout=dropout,
        num_classes=tensors.shape("class_embedding.weight")[0] if classes else None,
        noise_scale=1.0,
    )
    noise = tensors.under("time_embedding")
    embeddings = {"noise_in": noise.under("linear_1").dense(), "noise_out": noise.under("linear_2").dense()}
    if classes:
        embeddings["labels"] = {"embedding": with_null_row(tensors.take("class_embedding.weight"))}
    params: Params = {"conditioning": embeddings}
    params |= {"input": tensors.under("conv_in").conv(), "output": tensors.under("conv_out").conv()}
    params["norm"] = tensors.under("conv_norm_out").norm()
    for i in range(2):
        params |= _stage(tensors.under("mid_block"), i, f"middle_{i}")
    for level in range(levels):
        down, up = tensors.under(f"down_blocks.{level}"), tensors.under(f"up_blocks.{levels - 1 - level}")
        for i in range(blocks):
            params |= _stage(down, i, f"down_{level}_{i}")
        for i in range(blocks + 1):
            params |= _stage(up, i, f"up_{level}_{i}")
        if level < levels - 1:
            params[f"down_{level + 1}"] = down.under("downsamplers.0.conv").conv()
        if level:
            params[f"up_{level}"] = up.under("upsamplers.0.conv").conv()
    side = 2 ** (levels - 1)
    return fitted(tensors, network, {"params": params}, floats(1, side, side, data_channels), floats(1))


def _stage(tensors: Tensors, i: int, name: str) -> Params:
    """A residual block, and the attention that follows it."""
    found = {name: residual_block(tensors.under(f"resnets.{i}"))}
    if f"attentions.{i}.group_norm.weight" in tensors:
        found[f"{name}_attention"] = attention(tensors.under(f"attentions.{i}"))
    return found
