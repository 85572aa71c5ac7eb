"""EDM2: the names of the published magnitude-preserving U-Nets."""

import re
from collections.abc import Container
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import PositiveInt, checked
from scorekit.io.formats._shared import fitted, floats
from scorekit.io.tensors import Tensors, check_params
from scorekit.networks import EDM2, LogVariance
from scorekit.typing import PyTree

__all__ = ["convert", "convert_log_variance", "recognises"]


def recognises(names: Container[str]) -> bool:
    """Whether these are the names of an EDM2 network."""
    return "unet.emb_fourier.freqs" in names and "unet.out_gain" in names


@checked
def convert(tensors: Tensors, *, head_channels: PositiveInt = 64) -> tuple[EDM2, PyTree]:
    """An EDM2 U-Net, called with ``log(sigma) / 4``, and its parameters, from its published weights.

    The null label, which the published networks do not have, is an embedding of zero. The log-variance is for
    :func:`convert_log_variance`, and is not missed here.

    Args:
      tensors: tensors of the network with its preconditioning.
      head_channels: channels of an attention head, which no tensor tells.

    Source: Karras et al. 2024 (https://arxiv.org/abs/2312.02696).
    """
    unet = tensors.under("unet")
    named = {int(m[1]): (m[0], m[2]) for name in unet if (m := re.match(r"enc\.(\d+)x\d+_(conv|down)\.", name))}
    if not named:
        raise ValueError(f"{tensors.source} has no tensor of the encoder, 'unet.enc.<height>x<width>_conv.weight'")
    heights = sorted(named, reverse=True)
    prefixes = [named[height][0].removesuffix(named[height][1] + ".") for height in heights]
    counts = [len({name.split(".")[1] for name in unet if name.startswith(f"{p}block")}) for p in prefixes]
    params: dict[str, Any] = {
        "input": unet.under(f"{prefixes[0]}conv").conv(),
        "gain": unet.take("out_gain"),
        "output": unet.under("out_conv").conv(),
        "conditioning": _conditioning(unet),
    }
    for level, prefix in enumerate(prefixes):
        decoder = prefix.replace("enc.", "dec.")
        names = {f"{prefix}block{i}": f"down{level}_{i}" for i in range(counts[level])}
        names |= {f"{decoder}block{i}": f"up{level}_{i}" for i in range(counts[level] + 1)}
        if level:
            names[f"{prefix}down"] = f"down{level}_halve"
            names[f"{prefixes[level - 1].replace('enc.', 'dec.')}up"] = f"up{level}_double"
        if level == len(prefixes) - 1:
            names |= {f"{decoder}in{i}": f"middle_{i}" for i in range(2)}
        for theirs, ours in names.items():
            params[ours] = _block(unet.under(theirs), head_channels)
    channels = params["input"]["kernel"].shape[-1]
    widths = [params[f"down{level}_0"]["conv_2"]["kernel"].shape[-1] for level in range(len(heights))]
    labels = params["conditioning"].get("labels")
    network = EDM2(
        channels=channels,
        multipliers=tuple(width // channels for width in widths),
        blocks=counts[0],
        attention_resolutions=tuple(h for i, h in enumerate(heights) if "qkv" in params[f"down{i}_0"]),
        head_channels=head_channels,
        num_classes=None if labels is None else len(labels),
        noise_scale=1.0,
    )
    constants = {"conditioning": {"fourier": _constants(unet.under("emb_fourier"))}}
    variables = {"params": params, "constants": constants}
    for name in [name for name in tensors if name.startswith(("logvar_fourier.", "logvar_linear."))]:
        tensors.take(name)
    x = floats(1, heights[0], heights[0], params["output"]["kernel"].shape[-1])
    return fitted(tensors, network, variables, x, 0.0)


def convert_log_variance(tensors: Tensors) -> tuple[LogVariance, PyTree]:
    """The log-variance that was trained with an EDM2 network, called with ``log(sigma) / 4``, and its parameters.

    Args:
      tensors: tensors of the network with its preconditioning; only the log-variance is taken.

    >>> convert_log_variance(Tensors({}))
    Traceback (most recent call last):
    ValueError: the checkpoint has no tensor 'logvar_fourier.freqs'
    """
    constants = _constants(tensors.under("logvar_fourier"))
    dense = tensors.under("logvar_linear").dense()
    variables = {"params": {"dense": dense}, "constants": {"fourier": constants}}
    head = LogVariance(features=constants["frequencies"].size, noise_scale=1.0)
    check_params(variables, jax.eval_shape(head.init, jax.random.key(0), jnp.zeros(1)))
    return head, variables


def _constants(fourier: Tensors) -> dict[str, np.ndarray]:
    return {"frequencies": fourier.take("freqs"), "phases": fourier.take("phases")}


def _conditioning(unet: Tensors) -> dict[str, Any]:
    params: dict[str, Any] = {"noise": unet.under("emb_noise").dense()}
    if "emb_label.weight" in unet:
        table = unet.under("emb_label").dense()["kernel"]
        params |= {"labels": table, "null_label": np.zeros((table.shape[1], 1), np.float32)}
    return params


def _block(block: Tensors, head_channels: int) -> dict[str, Any]:
    params = {
        "conv_1": block.under("conv_res0").conv(),
        "conv_2": block.under("conv_res1").conv(),
        "film": block.under("emb_linear").dense(),
        "gain": block.take("emb_gain"),
    }
    if "conv_skip.weight" in block:
        params["shortcut"] = block.under("conv_skip").conv()
    if "attn_qkv.weight" in block:
        kernel = block.under("attn_qkv").conv()["kernel"]
        if kernel.shape[-1] % (3 * head_channels):
            raise ValueError(f"head_channels must divide {kernel.shape[-1]} / 3 channels, got {head_channels}")
        parts = kernel.reshape(*kernel.shape[:-1], -1, head_channels, 3)  # heads, channels of a head, (q, k, v)
        params["qkv"] = {"kernel": np.moveaxis(parts, -1, -3).reshape(kernel.shape)}
        params["proj"] = block.under("attn_proj").conv()
    return params
