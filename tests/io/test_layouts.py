"""Published layouts: names that are recognised, other names of the same weights, and errors."""

import importlib
from typing import Any

import chex
import numpy as np
import pytest
from golden import random_tensors
from golden.layouts import ALL, LEGACY, converted, read

from scorekit.io.formats import FORMATS, adm, ddpm, dit, find_format, score_sde
from scorekit.io.formats._shared import NEW_ATTENTION, OLD_ATTENTION
from scorekit.io.tensors import Tensors
from scorekit.networks.dit import positions


def test_every_layout_has_a_golden_file():
    assert {layout.__name__.rsplit(".", 1)[1] for layout, *_ in ALL.values()} == FORMATS.keys()


@pytest.mark.parametrize("case", ALL)
def test_names_are_recognised_as_one_layout(case):
    names, layout = read(case)[0], ALL[case][0]
    assert find_format(names)[1] is layout
    modules = [importlib.import_module(f"scorekit.io.formats.{name}") for name in FORMATS]
    assert [module for module in modules if module.recognises(names)] == [layout]


OFFICIAL = {
    "pos_embed.proj": "x_embedder.proj",
    "transformer_blocks.0.norm1.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "transformer_blocks.0.norm1.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "transformer_blocks.0.norm1.emb.class_embedder.embedding_table": "y_embedder.embedding_table",
    "proj_out_1": "final_layer.adaLN_modulation.1",
    "proj_out_2": "final_layer.linear",
}
OFFICIAL_BLOCK = {
    "attn1.to_out.0": "attn.proj",
    "ff.net.0.proj": "mlp.fc1",
    "ff.net.2": "mlp.fc2",
    "norm1.linear": "adaLN_modulation.1",
}


def official(tensors):
    """Weights of a diffusion transformer by the names of the paper's implementation."""
    found = {"pos_embed": positions((4, 4), 16)[None]}
    for name, array in tensors.items():
        stem, end = name.rsplit(".", 1)
        if stem in OFFICIAL:
            found[f"{OFFICIAL[stem]}.{end}"] = array
        elif stem.startswith("transformer_blocks"):
            _, i, inner = stem.split(".", 2)
            if inner in OFFICIAL_BLOCK:
                found[f"blocks.{i}.{OFFICIAL_BLOCK[inner]}.{end}"] = array
            elif inner == "attn1.to_q":
                parts = [tensors[f"transformer_blocks.{i}.attn1.to_{part}.{end}"] for part in "qkv"]
                found[f"blocks.{i}.attn.qkv.{end}"] = np.concatenate(parts)
    return found


def before_diffusers_0_17(name):
    for new, old in zip(NEW_ATTENTION, OLD_ATTENTION, strict=True):
        name = name.replace(f".{new}.", f".{old}.")
    return name


OTHER_NAMES = {
    "dhariwal": lambda tensors: {
        f"model.{name}".replace("attn.norm", "norm2").replace("attn.", ""): a for name, a in tensors.items()
    },
    "dit": official,
    "autoencoder_kl/quant": lambda tensors: {before_diffusers_0_17(name): a for name, a in tensors.items()},
}
"""Of EDM with its preconditioning, of the paper, and of earlier versions."""


@pytest.mark.parametrize("case", OTHER_NAMES)
def test_other_names_give_the_same_parameters(case):
    tensors, options, _ = read(case)
    renamed, layout = OTHER_NAMES[case](tensors), ALL[case][0]
    assert renamed.keys() != tensors.keys()
    assert find_format(renamed)[1] is layout
    network, params = layout.convert(Tensors(renamed), **options)
    assert network == converted(case)[0]
    chex.assert_trees_all_equal(params, converted(case)[1])


def test_a_variance_that_is_predicted_too_is_left_out_by_default():
    network, params = adm.convert(Tensors(read("adm_legacy")[0]), **LEGACY)
    full, output = converted("adm_legacy")[1]["params"]["output"], params["params"]["output"]
    assert not network.learned_variance
    assert output["bias"].shape == (2,)
    np.testing.assert_array_equal(output["kernel"], full["kernel"][..., :2])
    named, config = read("ddpm/defaults")[0], random_tensors.load("ddpm")[1]["config"]["defaults"]
    doubled = {name: np.concatenate([named[name], 1 + named[name]]) for name in ("conv_out.weight", "conv_out.bias")}
    sizes = ddpm.attributes({**config, "out_channels": 8})
    chex.assert_trees_all_equal(ddpm.convert(Tensors(named | doubled), **sizes)[1], converted("ddpm/defaults")[1])


def test_absent_labels_and_maps_of_adm_are_zeros():
    params = converted("adm_upsampler")[1]["params"]
    assert not params["conditioning"]["labels"]["embedding"][3].any()
    assert params["conditioning"]["labels"]["embedding"][:3].all()
    assert not params["map_or_null"]["null"].any()
    assert not params["map"]["bias"].any()


# ---- errors --------------------------------------------------------------------------------------------------------

LACKING = {
    "song_unet_ncsnpp": "model.dec.4x4_block1.norm1.bias",
    "score_sde_ncsnpp": "module.all_modules.15.GroupNorm_0.bias",
}
INVALID: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "dit unused": ("dit", {"extra.weight": np.ones(2)}, {}, "does not use: extra.weight"),
    "dit block": (
        "dit",
        {"transformer_blocks.1.ff.net.2.bias": np.ones(3)},
        {},
        r"block 1, compared with block 0: parameter \['fc2'\]\['bias'\] must have shape \(16,\), got \(3,\)",
    ),
    "dit embedders": (
        "dit",
        {"transformer_blocks.1.norm1.emb.timestep_embedder.linear_1.bias": np.ones(16)},
        {},
        r"transformer_blocks.1.norm1.emb other embedders",
    ),
    "dit heads": ("dit", {}, {"heads": None}, "heads must be given for a network of width 16 and depth 2"),
    "adm unused": ("adm_legacy", {"extra": np.ones(1)}, {}, "does not use: extra"),
    "adm shape": (
        "adm_legacy",
        {"time_embed.2.bias": np.ones(3)},
        {},
        r"\['noise_out'\]\['bias'\] must have shape \(128,\)",
    ),
    "adm channels": (
        "adm_legacy",
        {"out.2.weight": np.ones((3, 32, 3, 3))},
        {"keep_variance": False},
        "map_shape must leave 3 or 1.5 of the 2 input",
    ),
    "edm frequencies": ("dhariwal", {"map_noise.freqs": np.ones(32)}, {}, "map_noise.freqs must be"),
    "edm filter": (
        "dhariwal",
        {"enc.4x4_down.skip.resample_filter": np.ones((1, 1, 4, 4))},
        {},
        "enc.4x4_down.skip.resample_filter must be",
    ),
    "edm2 unused": ("edm2", {"unet.extra": np.ones(2)}, {}, "does not use: unet.extra"),
    "edm2 shape": (
        "edm2",
        {"unet.emb_fourier.freqs": np.ones(3)},
        {},
        r"\['frequencies'\] must have shape \(8,\), got \(3,\)",
    ),
    "edm2 heads": ("edm2", {}, {"head_channels": 12}, r"head_channels must divide 48 / 3 channels, got 12"),
    **{f"{case} missing": (case, {name: None}, {}, f"has no tensor '{name}'") for case, name in LACKING.items()},
    **{
        f"{case} shape": (case, {name: np.ones(5)}, {}, r"must have shape \(.*\), got \(5,\)")
        for case, name in LACKING.items()
    },
    **{
        f"{case} unused": (case, {"enc.8x8_aux_skip.weight": np.ones(2)}, {}, "does not use: enc.8x8_aux_skip.weight")
        for case in LACKING
    },
}


@pytest.mark.parametrize("name", INVALID)
def test_what_does_not_fit_is_named(name):
    case, changes, options, message = INVALID[name]
    tensors, given, _ = read(case)
    tensors = {name: array for name, array in {**tensors, **changes}.items() if array is not None}
    with pytest.raises(ValueError, match=message):
        ALL[case][0].convert(Tensors(tensors), **{**given, **options})


def test_other_positions_of_dit_and_other_networks_of_score_sde_are_errors():
    tensors, options, _ = read("dit")
    with pytest.raises(ValueError, match="other positions in 'pos_embed'"):
        dit.convert(Tensors(official(tensors) | {"pos_embed": np.zeros((1, 16, 16))}), **options)
    tensors = read("score_sde_ddpmpp")[0]
    last = max(int(name.split(".")[2]) for name in tensors if ".Conv_0." in name)
    less = {name: t for name, t in tensors.items() if f".{last}.Conv_0." not in name}
    with pytest.raises(ValueError, match=r"has 13 residual blocks in 2 levels: .* has 6 \+ 4 n"):
        score_sde.convert(Tensors(less), resolution=8)
