"""Published layouts with a golden file: tensors as they are in a published file, options, inputs and outputs."""

import functools
from typing import Any

import numpy as np
from golden import random_tensors

from scorekit.io.formats import adm, autoencoder_kl, ddpm, dhariwal, dit, edm2, score_sde, song_unet
from scorekit.io.tensors import Tensors

FULL = {"keep_variance": True}
LEGACY, NEW = {"head_channels": 32}, {"heads": 4, "head_channels": None, "new_attention_order": True}
NOISE, STEPS, CLASSES = {"noise": "noise"}, {"noise": "timesteps"}, {"noise": "noise", "labels": "labels"}
CASES: dict[str, tuple[Any, dict[str, str], dict[str, Any], float]] = {
    "adm_legacy": (adm, {"noise": "noise", "labels": "y"}, LEGACY | FULL, 1e-4),
    "adm_new": (adm, NOISE, NEW | FULL, 1e-4),
    "adm_upsampler": (
        adm,
        {"noise": "noise", "labels": "y", "dense_map": "low_res"},
        LEGACY | FULL | {"map_shape": (2, 2, 2)},
        1e-4,
    ),
    "dhariwal": (dhariwal, CLASSES, {}, 1e-4),
    "ddpm/ddpm": (ddpm, STEPS | {"labels": "labels"}, {}, 1e-5),
    "ddpm/defaults": (ddpm, STEPS, {}, 1e-5),
    "ddpm/residual": (ddpm, STEPS | {"labels": "labels"}, {}, 1e-5),
    "ddpm/tokens": (ddpm, STEPS | {"tokens": "tokens_in"}, {}, 1e-5),
    "dit": (dit, {"noise": "timestep", "labels": "labels"}, {"heads": 2} | FULL, 1e-4),
    "edm2": (edm2, CLASSES, {"head_channels": 8}, 1e-4),
    "edm2_karras_unet": (edm2, CLASSES, {"head_channels": 16}, 1e-4),
    "score_sde_ddpmpp": (score_sde, NOISE, {"resolution": 8}, 1e-5),
    "score_sde_ncsnpp": (score_sde, {"noise": "log_noise"}, {"resolution": 8}, 1e-5),
    "song_unet_ddpmpp": (song_unet, CLASSES | {"vector": "augment"}, {}, 1e-5),
    "song_unet_ncsnpp": (song_unet, CLASSES | {"vector": "augment"}, {}, 1e-5),
}
"""By golden file, and the network in it: the layout, the inputs beside x, options, and the largest relative error."""
LATENT = {f"autoencoder_kl/{part}": (autoencoder_kl, {}, {}, 1e-5) for part in ("quant", "plain")}
ALL = CASES | LATENT
EMBEDDERS = ("timestep_embedder", "class_embedder")


@functools.cache
def read(case):
    """The tensors as they are in a published file, the options of the layout, and arrays with the channels last."""
    layout, _, options, _ = ALL[case]
    file, _, part = case.partition("/")
    tensors, about, arrays = random_tensors.load(file)
    if part:  # one of several networks of diffusers, whose arrays have the channels last
        tensors = {name.removeprefix(f"{part}."): a for name, a in tensors.items() if name.startswith(f"{part}.")}
        config = about["config"][part]
        if layout is ddpm:
            return tensors, layout.attributes(config), arrays | {"output": arrays[part]}
        return tensors, layout.attributes(config), {name.removeprefix(f"{part}_"): a for name, a in arrays.items()}
    tensors |= {name: np.asarray(value) for name, value in about.get("buffers", {}).items()}
    if layout is song_unet:
        filters = {name: arrays["resample_filter"] for name in tensors if name.endswith("resample_filter")}
        tensors = {f"model.{name}": a for name, a in (tensors | filters).items()}
    if layout is score_sde:
        tensors = {f"module.{name}": a for name, a in tensors.items()} | {"module.sigmas": np.ones(3)}
        arrays["log_noise"] = np.log(arrays["noise"])
    if layout is dit:  # all blocks have the embedders of the first, as in every checkpoint
        first = lambda name: "transformer_blocks.0." + name.split(".", 2)[2]
        tensors = {n: tensors[first(n)] if any(part in n for part in EMBEDDERS) else a for n, a in tensors.items()}
    if case == "edm2_karras_unet":  # its frequencies, each used twice, are not drawn by name
        tensors |= {f"unet.emb_fourier.{name}": arrays[name] for name in ("freqs", "phases")}
    arrays = {name: np.moveaxis(a, 1, -1) if a.ndim == 4 else a for name, a in arrays.items()}
    return tensors, options, {"output": arrays.get("y"), **arrays}


@functools.cache
def converted(case):
    """The network and its parameters."""
    tensors, options, _ = read(case)
    return ALL[case][0].convert(Tensors(tensors), **options)
