"""diffusers' ``UNet2DModel`` and ``UNet2DConditionModel``: google/ddpm-cifar10-32, what its scripts train, and more."""

from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from scorekit.arguments import Between
from scorekit.io._naming import check_none, unsupported
from scorekit.io.formats._shared import Params, attention, count, fitted_unet, residual_block, with_null_row
from scorekit.io.tensors import Tensors
from scorekit.networks import ResidualUNet

__all__ = ["attributes", "convert", "recognises"]

_BOTH = {
    "act_fn": ("silu", "swish"),
    "center_input_sample": (False,),
    "downsample_padding": (1, 0),
    "mid_block_scale_factor": (1,),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "time_embedding_type": ("positional",),
}
_ONLY: dict[str, dict[str, tuple[Any, ...]]] = {
    "UNet2DModel": {
        **_BOTH,
        "class_embed_type": (None,),
        "downsample_type": ("conv", "resnet", None),
        "mid_block_type": ("UNetMidBlock2D",),
        "upsample_type": ("conv", "resnet", None),
    },
    "UNet2DConditionModel": {
        **_BOTH,
        **dict.fromkeys(("addition_embed_type", "encoder_hid_dim", "num_attention_heads"), (None,)),
        **dict.fromkeys(("reverse_transformer_layers_per_block", "time_cond_proj_dim"), (None,)),
        **dict.fromkeys(("time_embedding_act_fn", "timestep_post_act"), (None,)),
        **dict.fromkeys(("class_embeddings_concat", "dual_cross_attention", "only_cross_attention"), (False,)),
        **dict.fromkeys(("conv_in_kernel", "conv_out_kernel"), (3,)),
        "attention_type": ("default",),
        "class_embed_type": (None, "simple_projection"),
        "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    },
}
"""Options of which only some values are supported, by class; a missing one has the first, the default of diffusers."""
_BLOCKS = {
    "UNet2DModel": ("DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"),
    "UNet2DConditionModel": ("DownBlock2D", "CrossAttnDownBlock2D"),
}
_OTHERS = """add_attention addition_embed_type_num_heads addition_time_embed_dim attention_head_dim attn_norm_num_groups
    block_out_channels cross_attention_dim cross_attention_norm down_block_types dropout encoder_hid_dim_type
    flip_sin_to_cos freq_shift in_channels layers_per_block mid_block_only_cross_attention norm_eps norm_num_groups
    num_class_embeds num_train_timesteps out_channels projection_class_embeddings_input_dim resnet_out_scale_factor
    resnet_skip_time_act sample_size time_embedding_dim transformer_layers_per_block up_block_types upcast_attention
    use_linear_projection decay inv_gamma min_decay optimization_step power update_after_step use_ema_warmup"""
"""Options of any value: read below, seen in the tensors, without effect, or facts about the average of a training."""


def recognises(names: Container[str]) -> bool:
    """Whether tensors of these names are of this layout."""
    return "time_embedding.linear_1.weight" in names and "mid_block.resnets.0.time_emb_proj.weight" in names


def attributes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :func:`convert` that ``config.json`` holds; a missing option has diffusers' default.

    One ``ValueError`` has all reasons why a network of this config is not supported.
    """
    kind = config.get("_class_name", "UNet2DModel")
    check_none(unsupported(config, {"_class_name": tuple(_ONLY)}))
    get, conditional = config.get, kind == "UNet2DConditionModel"
    problems = unsupported(config, _ONLY[kind])

    def must(name: str, fits: Any, allowed: str) -> None:
        if not fits:
            problems.append(f"{name} must be {allowed}, got {get(name)!r}")

    for name, value in config.items():
        known = name.startswith("_") or name in _OTHERS.split() or name in _ONLY[kind]
        must(name, known or not value, f"absent: {kind} of diffusers 0.42 has no such option")
    for name in ("layers_per_block", "transformer_layers_per_block", "cross_attention_dim"):
        each = get(name)
        must(name, not isinstance(each, list) or len(set(map(str, each))) == 1, "the same at all levels")
    groups, widths, heads = get("norm_num_groups", 32), get("block_out_channels", [4]), get("attention_head_dim", 8)
    channels, wide = get("in_channels", 4 if conditional else 3), 4 * widths[0]
    must("attn_norm_num_groups", get("attn_norm_num_groups") in (None, groups), f"None or norm_num_groups = {groups}")
    must("block_out_channels", not any(width % widths[0] for width in widths), "multiples of the first")
    must("out_channels", get("out_channels", channels) in (channels, 2 * channels), f"{channels} or {2 * channels}")
    must("time_embedding_dim", get("time_embedding_dim") in (None, wide), f"None or {wide}")
    down, up = ([n.removeprefix("UNetRes") for n in get(f"{part}_block_types", ())] for part in ("down", "up"))
    attends, mirrored = ["Attn" in name for name in down], [name.replace("Up", "Down") for name in reversed(up)]
    must("down_block_types", {*down} <= {*_BLOCKS[kind]}, f"among {', '.join(_BLOCKS[kind])}")
    fits = {*mirrored} <= {*_BLOCKS[kind]} and ["Attn" in name for name in mirrored] == attends
    must("up_block_types", fits, "those of down_block_types in reverse, with attention at the same levels")
    kinds = {_resampling(config, part, name) for part, blocks in (("down", down), ("up", up)) for name in blocks[:-1]}
    must("downsample_type", len(kinds) < 2, "such that all levels resample by convolutions, or all by residual blocks")
    used = [*attends[:-1], True]  # the last by the middle
    each = heads if isinstance(heads, list) else [width if heads is None else heads for width in widths]
    must("down_block_types", len(used) == len(widths), "one for each of block_out_channels")
    must("attention_head_dim", len(each) == len(widths), "a number, or one for each of block_out_channels")
    pairs = [pair for use, *pair in zip(used, widths, each, strict=False) if use]
    must("attention_head_dim", not any(w % n for w, n in pairs), f"divisors of block_out_channels = {widths}")
    numbers, sizes = {n if conditional else w // n for w, n in pairs}, {w // n if conditional else n for w, n in pairs}
    fits = len(numbers) == 1 or len(sizes) == 1
    must("attention_head_dim", fits, "the same number of heads, or of channels of a head, at all levels")
    must("norm_eps", Between(0, 0.1).allows(get("norm_eps", 1e-5)), "in [0, 0.1]")
    check_none(problems)
    return {
        "groups": groups,
        "dropout": get("dropout", 0.0),
        "heads": min(numbers),
        "head_channels": None if len(numbers) == 1 else min(sizes),
        "norm_epsilon": get("norm_eps", 1e-5),
        "symmetric_padding": get("downsample_padding", 1) == 1,
        "cosine_first": get("flip_sin_to_cos", True),
        "frequency_shift": float(get("freq_shift", 0)),
    }


def _resampling(config: Mapping[str, Any], part: str, block: str) -> str:
    if block.startswith("Attn"):
        return config.get(f"{part}sample_type") or "conv"
    return "resnet" if block.startswith("Resnet") else "conv"


def convert(
    tensors: Tensors,
    *,
    groups: int = 32,
    dropout: float = 0.0,
    heads: int = 1,
    head_channels: int | None = None,
    norm_epsilon: float = 1e-6,
    symmetric_padding: bool = False,
    cosine_first: bool = False,
    frequency_shift: float = 1.0,
) -> tuple[ResidualUNet, Params]:
    """The network, called with a timestep in [0, 1000), and its parameters; all other sizes follow from the shapes.

    Classes (``class_embedding``) become labels, ``encoder_hidden_states`` tokens; the null tokens, which the layout
    lacks, are zeros. The attention has its old or its new names. Of an output of twice the channels, the first half is
    kept. The defaults are those of DDPM, not of diffusers.

    Args:
      tensors: tensors of a checkpoint by their foreign names.
      groups: groups of the norms.
      dropout: rate of dropout in training.
      heads: attribute of :class:`~scorekit.networks.ResidualUNet`, as the others.
      head_channels: likewise.
      norm_epsilon: likewise.
      symmetric_padding: likewise.
      cosine_first: likewise.
      frequency_shift: likewise.

    Source: Ho et al. 2020 (https://arxiv.org/abs/2006.11239).
    """
    levels, blocks = count(tensors, "down_blocks"), count(tensors, "down_blocks.0.resnets")
    channels, data_channels = tensors.shape("conv_in.weight")[:2]
    widths = [tensors.shape(f"down_blocks.{i}.resnets.0.conv1.weight")[0] for i in range(levels)]
    middle = tensors.under("mid_block")
    params: Params = {"input": tensors.under("conv_in").conv(), "output": tensors.under("conv_out").conv()}
    params["output"] = {name: leaf[..., :data_channels] for name, leaf in params["output"].items()}
    params["norm"] = tensors.under("conv_norm_out").norm()
    noise = tensors.under("time_embedding")
    embeddings = {"noise_in": noise.under("linear_1").dense(), "noise_out": noise.under("linear_2").dense()}
    if "class_embedding.bias" in tensors:
        embeddings["vector"] = tensors.under("class_embedding").dense()
        embeddings["vector_or_null"] = {"null": np.zeros_like(embeddings["vector"]["bias"])}
    elif "class_embedding.weight" in tensors:
        embeddings["labels"] = {"embedding": with_null_row(tensors.take("class_embedding.weight"))}
    params["conditioning"] = embeddings
    for i in range(2):
        params |= _stage(middle, i, f"middle_{i}")
    residual = "down_blocks.0.downsamplers.0.conv1.weight" in tensors
    resampling = residual_block if residual else lambda part: part.under("conv").conv()
    for level in range(levels):
        down, up = tensors.under(f"down_blocks.{level}"), tensors.under(f"up_blocks.{levels - 1 - level}")
        for i in range(blocks):
            params |= _stage(down, i, f"down{level}_{i}")
        for i in range(blocks + 1):
            params |= _stage(up, i, f"up{level}_{i}")
        if level < levels - 1:
            params[f"down{level + 1}_halve"] = resampling(down.under("downsamplers.0"))
        if level:
            params[f"up{level}_double"] = resampling(up.under("upsamplers.0"))
    at = {kind: tuple(i for i in range(levels) if f"down{i}_0_{kind}" in params) for kind in ("attention", "tokens")}
    depth, alone = count(middle, "attentions.0.transformer_blocks"), params.get("middle_0_attention")
    if depth:
        null = np.zeros(len(params["middle_0_tokens"]["tokens_0"]["kv"]["kernel"]), np.float32)
        params["tokens"] = {"null": null}
    network = ResidualUNet(
        channels=channels,
        multipliers=tuple(width // channels for width in widths),
        blocks=blocks,
        attention_levels=at["attention"],
        groups=groups,
        group_channels=1,
        dropout=dropout,
        num_classes=len(embeddings["labels"]["embedding"]) - 1 if "labels" in embeddings else None,
        vector_size=len(embeddings["vector"]["kernel"]) if "vector" in embeddings else None,
        noise_scale=1.0,
        heads=heads,
        head_channels=head_channels,
        norm_epsilon=norm_epsilon,
        symmetric_padding=symmetric_padding,
        cosine_first=cosine_first,
        frequency_shift=frequency_shift,
        film="shift" if params["middle_0_block"]["film"]["kernel"].shape[1] == widths[-1] else "scale_shift",
        residual_resampling=residual,
        middle_attention="normalised" if depth or "norm" in (alone or {}) else "plain" if alone else "none",
        token_size=len(params["tokens"]["null"]) if depth else None,
        token_levels=at["tokens"],
        token_depth=depth or 1,
    )
    return fitted_unet(tensors, network, params, data_channels)


def _stage(tensors: Tensors, i: int, name: str) -> Params:
    """A residual block, and the attention or transformer that follows it."""
    found, inner = {f"{name}_block": residual_block(tensors.under(f"resnets.{i}"))}, tensors.under(f"attentions.{i}")
    if "proj_in.weight" in inner:
        found[f"{name}_tokens"] = _transformer(inner)
    elif any(True for _ in inner):
        found[f"{name}_attention"] = attention(inner)
    return found


def _transformer(tensors: Tensors) -> Params:
    found: Params = {"norm": tensors.under("norm").norm()}
    found |= {name: tensors.under(f"proj_{name}").dense() for name in ("in", "out")}
    for i in range(count(tensors, "transformer_blocks")):
        block = tensors.under(f"transformer_blocks.{i}")
        for part, of in (("attention", block.under("attn1")), ("tokens", block.under("attn2"))):
            kernels = [of.under(f"to_{name}").dense()["kernel"] for name in "kv"]
            close, pair = of.under("to_out.0").dense(), {"kernel": np.concatenate(kernels, -1)}
            found[f"{part}_{i}"] = {"q": of.under("to_q").dense(), "kv": pair, "close": close}
        found |= {f"norm_{i}_{j}": block.under(f"norm{j + 1}").norm() for j in range(3)}
        found |= {f"gated_{i}": block.under("ff.net.0.proj").dense(), f"close_{i}": block.under("ff.net.2").dense()}
    return found
