"""diffusers' ``UNet2DModel`` as the U-Net of DDPM: google/ddpm-cifar10-32, google/ddpm-celebahq-256 and others."""

from collections.abc import Container, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.io.formats._diffusers import Params, attention, check_fields, count, residual_block
from scorekit.io.tensors import Tensors, check_params
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
    """Whether tensors of these names are of this layout.

    >>> recognises(["time_embedding.linear_1.weight", "mid_block.attentions.0.group_norm.weight"])
    True
    """
    ours = (
        "time_embedding.linear_1.weight",
        "mid_block.attentions.0.group_norm.weight",
    )  # others have transformers there
    return all(name in names for name in ours)


def attributes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :func:`convert` that ``config.json`` holds: groups of the norms, and the rate of dropout.

    Raises:
      ValueError: for a value that :class:`~scorekit.networks.DDPMUNet` does not have; a missing field has diffusers'
        default, which is not always DDPM's.

    >>> attributes({"attention_head_dim": 8})
    Traceback (most recent call last):
    ValueError: config.json: attention_head_dim must be None, got 8
    """
    blocks = {name: sorted(set(config[name])) for name in ("down_block_types", "up_block_types") if name in config}
    check_fields({**_DEFAULTS, **config, **blocks}, _ONLY)
    return {"groups": config.get("norm_num_groups", 32), "dropout": config.get("dropout", 0.0)}


def convert(tensors: Tensors, *, groups: int = 32, dropout: float = 0.0) -> tuple[DDPMUNet, Params]:
    """The network and its parameters; all other sizes follow from the shapes.

    Classes (``class_embedding``) become labels; the null token, which the layout lacks, adds nothing.

    Args:
      tensors: tensors by diffusers' names, of the attention the old or the new ones.
      groups: groups of the norms.
      dropout: rate of dropout in training.

    Returns:
      The network, called with a timestep in [0, 1000), and its parameters.

    >>> convert(Tensors({}))
    Traceback (most recent call last):
    ValueError: the checkpoint has no tensor 'conv_in.weight'

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
    params = _embeddings(tensors)
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
    tensors.check_all_taken()
    x = jax.ShapeDtypeStruct((1, 2 ** (levels - 1), 2 ** (levels - 1), data_channels), jnp.float32)
    check_params({"params": params}, jax.eval_shape(network.init, jax.random.key(0), x, jnp.zeros(1)))
    return network, {"params": params}


def _embeddings(tensors: Tensors) -> Params:
    found: Params = {
        f"noise_{ours}": tensors.under(f"time_embedding.linear_{i}").dense() for i, ours in ((1, "in"), (2, "out"))
    }
    if "class_embedding.weight" in tensors:
        table = tensors.take("class_embedding.weight")
        found["labels"] = {"embedding": np.concatenate([table, np.zeros_like(table[:1])])}
    return {"conditioning": found}


def _stage(tensors: Tensors, i: int, name: str) -> Params:
    """A residual block, and the attention that follows it."""
    found = {name: residual_block(tensors.under(f"resnets.{i}"))}
    if f"attentions.{i}.group_norm.weight" in tensors:
        found[f"{name}_attention"] = attention(tensors.under(f"attentions.{i}"))
    return found
