"""Diffusion transformers: with the names of the paper's checkpoints, or of diffusers' ``DiTTransformer2DModel``."""

from collections.abc import Container, Mapping
from typing import Any

import jax
import numpy as np

from scorekit.arguments import PositiveInt, checked
from scorekit.io.formats._shared import count, fitted, floats
from scorekit.io.tensors import Tensors, check_params
from scorekit.networks.dit import PRESETS, DiT, positions
from scorekit.typing import PyTree

__all__ = ["attributes", "convert", "recognises"]

_OFFICIAL, _DIFFUSERS = "x_embedder.proj.weight", "pos_embed.proj.weight"
_HEADS = {(sizes["width"], sizes["depth"]): sizes["heads"] for sizes in PRESETS.values()}


def recognises(names: Container[str]) -> bool:
    """Whether these are the names of a diffusion transformer in one of the two layouts."""
    return (_OFFICIAL in names and "y_embedder.embedding_table.weight" in names) or (
        _DIFFUSERS in names and "transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight" in names
    )


def attributes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :func:`convert` that the ``config.json`` of diffusers holds."""
    return {"heads": config["num_attention_heads"]} if "num_attention_heads" in config else {}


@checked
def convert(tensors: Tensors, *, heads: PositiveInt | None = None, keep_variance: bool = False) -> tuple[DiT, PyTree]:
    """A diffusion transformer and its parameters, from weights in either layout; called with a timestep in [0, 1000).

    Args:
      tensors: tensors of the paper's implementation, whose stored positions are compared with ours, or of diffusers,
        which stores the embedders of timestep and class once for every block: the copies must be equal.
      heads: number of attention heads, not in the tensors; by default as in the preset of this width
        and depth.
      keep_variance: whether the output keeps a predicted variance; by default the network is a denoiser as it is.

    Source: Peebles & Xie 2023 (https://arxiv.org/abs/2212.09748).
    """
    taken, blocks = (_official if _OFFICIAL in tensors else _diffusers)(tensors)
    window = taken.pop("window")
    if window["kernel"].ndim != 4:
        raise ValueError(
            f"{tensors.source} must have a convolution of 4 axes for the patches, got {window['kernel'].ndim}"
        )
    patch, _, channels, width = window["kernel"].shape
    heads = _HEADS.get((width, len(blocks))) if heads is None else heads
    if heads is None:
        raise ValueError(f"heads must be given for a network of width {width} and depth {len(blocks)}, got None")
    params: dict[str, Any] = {
        **taken,
        "patches": {"kernel": window["kernel"].reshape(-1, width), "bias": window["bias"]},
        "blocks": _stacked(blocks, tensors.source),
    }
    learned_variance = params["output"]["bias"].size == 2 * patch * patch * channels
    if learned_variance and not keep_variance:
        params["output"] = jax.tree.map(lambda leaf: _first_half(leaf, 2 * channels), params["output"])
    network = DiT(
        patch=patch,
        depth=len(blocks),
        width=width,
        heads=heads,
        mlp_ratio=blocks[0]["fc1"]["kernel"].shape[1] / width,
        num_classes=len(params["conditioning"]["labels"]["embedding"]) - 1,
        noise_scale=1.0,
        learned_variance=learned_variance and keep_variance,
    )
    return fitted(tensors, network, {"params": params}, floats(1, patch, patch, channels), 0.0)


def _first_half(leaf: np.ndarray, channels: int) -> np.ndarray:
    """The first half of the channels of every pixel of a patch, along the last axis."""
    pixels = leaf.reshape(*leaf.shape[:-1], -1, channels)[..., : channels // 2]
    return pixels.reshape(*leaf.shape[:-1], -1)


def _official(tensors: Tensors) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Everything but the blocks, with the convolution of the patches as ``window``; and the blocks."""
    at = tensors.under
    if "pos_embed" in tensors:
        _check_positions(tensors.take("pos_embed"), tensors)
    taken = {
        "window": at("x_embedder.proj").conv(),
        "conditioning": {
            "noise_in": at("t_embedder.mlp.0").dense(),
            "noise_out": at("t_embedder.mlp.2").dense(),
            "labels": {"embedding": tensors.take("y_embedder.embedding_table.weight")},
        },
        "output_modulation": at("final_layer.adaLN_modulation.1").dense(),
        "output": at("final_layer.linear").dense(),
    }
    layers = {name: f"attn.{name}" for name in ("qkv", "proj")} | {name: f"mlp.{name}" for name in ("fc1", "fc2")}
    layers["modulation"] = "adaLN_modulation.1"
    inside = [at(f"blocks.{i}") for i in range(count(tensors, "blocks"))]
    return taken, [{ours: block.under(name).dense() for ours, name in layers.items()} for block in inside]


def _check_positions(stored: np.ndarray, tensors: Tensors) -> None:
    _, tokens, width = stored.shape
    side = round(tokens**0.5)
    error = np.abs(stored[0] - positions((side, side), width)).max() if side * side == tokens else np.inf
    if not error < 1e-4:
        raise ValueError(f"{tensors.source} has other positions in 'pos_embed' than the sines and cosines of a square")


def _diffusers(tensors: Tensors) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    at = tensors.under
    inside = [at(f"transformer_blocks.{i}") for i in range(count(tensors, "transformer_blocks"))]
    embedders = [_embedders(block.under("norm1.emb")) for block in inside]
    for i, other in enumerate(embedders):
        if not all(map(np.array_equal, jax.tree.leaves(embedders[0]), jax.tree.leaves(other))):
            raise ValueError(
                f"{tensors.source} has in transformer_blocks.{i}.norm1.emb other embedders of timestep and class than "
                f"in block 0; the network has one for all blocks"
            )
    taken = {
        "window": at("pos_embed.proj").conv(),
        "conditioning": embedders[0],
        "output_modulation": at("proj_out_1").dense(),
        "output": at("proj_out_2").dense(),
    }
    return taken, [_diffusers_block(block) for block in inside]


def _embedders(tensors: Tensors) -> dict[str, Any]:
    return {
        "noise_in": tensors.under("timestep_embedder.linear_1").dense(),
        "noise_out": tensors.under("timestep_embedder.linear_2").dense(),
        "labels": {"embedding": tensors.take("class_embedder.embedding_table.weight")},
    }


def _diffusers_block(block: Tensors) -> dict[str, Any]:
    parts = [block.under(f"attn1.to_{name}").dense() for name in "qkv"]
    return {
        "qkv": jax.tree.map(lambda *leaves: np.concatenate(leaves, -1), *parts),
        "proj": block.under("attn1.to_out.0").dense(),
        "fc1": block.under("ff.net.0.proj").dense(),
        "fc2": block.under("ff.net.2").dense(),
        "modulation": block.under("norm1.linear").dense(),
    }


def _stacked(blocks: list[dict[str, Any]], source: str) -> dict[str, Any]:
    for i, block in enumerate(blocks):
        try:
            check_params(block, blocks[0])
        except ValueError as error:
            raise ValueError(f"{source}, block {i}, compared with block 0: {error}") from None
    return jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)
