"""DDPM++ and NCSN++ by the names of EDM: ``enc.64x64_block0.conv0.weight``, below ``model.`` in its wrappers."""

import re
from collections.abc import Container
from typing import Any

import numpy as np

from scorekit.io.formats._shared import fitted, floats
from scorekit.io.tensors import Tensors
from scorekit.networks import SongUNet

__all__ = ["convert", "recognises"]


def recognises(names: Container[str]) -> bool:
    """Whether these are the names of a network that :func:`convert` takes."""
    return any(f"{p}map_layer0.weight" in names and f"{p}out_conv.weight" not in names for p in ("", "model."))


def convert(tensors: Tensors) -> tuple[SongUNet, dict[str, Any]]:
    """The network and its variables, ``params`` and with a Fourier embedding ``constants``; names and shapes tell all.

    The network has ``noise_scale=1``, for the noise argument of the published one, and no dropout. Sines come before
    cosines in its embeddings, where EDM swaps the halves of ``[cos, sin]``; q, k and v are blocks of channels, where
    EDM interleaves them. The state may have EDM's preconditioning around it.

    Args:
      tensors: tensors of a checkpoint by their foreign names.

    Source: Karras et al. 2022 (https://arxiv.org/abs/2206.00364).
    """
    inner = tensors.under("model") if "model.map_layer0.weight" in tensors else tensors
    network, resolutions = _network(inner)
    params: dict[str, Any] = {
        "noise_in": inner.under("map_layer0").dense(),
        "noise_out": inner.under("map_layer1").dense(),
        "input": inner.under(f"enc.{resolutions[0]}x{resolutions[0]}_conv").conv(),
        "norm": inner.under(f"dec.{resolutions[0]}x{resolutions[0]}_aux_norm").norm(),
        "output": inner.under(f"dec.{resolutions[0]}x{resolutions[0]}_aux_conv").conv(),
    }
    found: dict[str, Any] = {"params": params}
    if network.embedding == "fourier":
        found["constants"] = {"fourier": {"frequencies": inner.take("map_noise.freqs")}}
    for ours, theirs in (("labels", "map_label"), ("vector", "map_augment")):
        if f"{theirs}.weight" in inner:
            params[ours] = inner.under(theirs).dense()
    last = len(resolutions) - 1
    for level, side in enumerate(resolutions):
        encoder, decoder = (inner.under(half) for half in ("enc", "dec"))
        if level:
            params[f"encoder{level}_down"] = _block(encoder.under(f"{side}x{side}_down"))
        if level and network.residual_input:
            pyramid = encoder.under(f"{side}x{side}_aux_residual")
            params[f"encoder{level}_pyramid"] = {"conv": _without_filter(pyramid).conv()}
        for i in range(network.blocks):
            params[f"encoder{level}_{i}"] = _block(encoder.under(f"{side}x{side}_block{i}"))
        for i in range(network.blocks + 1):
            params[f"decoder{level}_{i}"] = _block(decoder.under(f"{side}x{side}_block{i}"))
        first = {"middle_0": "in0", "middle_1": "in1"} if level == last else {f"decoder{level}_up": "up"}
        params |= {ours: _block(decoder.under(f"{side}x{side}_{theirs}")) for ours, theirs in first.items()}
    x = floats(1, *2 * resolutions[:1], params["input"]["kernel"].shape[2])
    return fitted(tensors, network, found, x, 0.0)


def _network(tensors: Tensors) -> tuple[SongUNet, list[int]]:
    found = [re.fullmatch(r"enc\.(\d+)x\1_block(\d+)\.conv0\.weight", name) for name in tensors]
    pairs = {(int(m[1]), int(m[2])) for m in found if m}
    resolutions = sorted({side for side, _ in pairs}, reverse=True)
    if not resolutions or f"enc.{resolutions[0]}x{resolutions[0]}_conv.weight" not in tensors:
        raise ValueError(f"{tensors.source} has no tensor 'enc.{{R}}x{{R}}_conv.weight' for any resolution R")
    channels = tensors.shape(f"enc.{resolutions[0]}x{resolutions[0]}_conv.weight")[0]
    widths = [tensors.shape(f"enc.{side}x{side}_block0.conv0.weight")[0] for side in resolutions]
    size = lambda name: tensors.shape(name)[1] if name in tensors else None
    name = f"enc.{resolutions[-1]}x{resolutions[-1]}_down.conv0.resample_filter"
    network = SongUNet(
        channels=channels,
        multipliers=tuple(width // channels for width in widths),
        blocks=1 + max(i for _, i in pairs),
        attention_resolutions=tuple(r for r in resolutions if f"enc.{r}x{r}_block0.qkv.weight" in tensors),
        embedding="fourier" if "map_noise.freqs" in tensors else "positional",
        resample_filter=_taps(tensors.take(name)) if name in tensors else (1, 1),
        residual_input=any("_aux_residual." in name for name in tensors),
        num_classes=size("map_label.weight"),
        vector_size=size("map_augment.weight"),
        noise_scale=1.0,
    )
    return network, resolutions


def _taps(outer: np.ndarray) -> tuple[int, ...]:
    """The filter whose outer product with itself, normalised, is ``(1, 1, n, n)``."""
    taps = outer[0, 0].sum(axis=0)
    return tuple(int(tap) for tap in np.rint(taps / taps[0]))


def _without_filter(tensors: Tensors) -> Tensors:
    """The same tensors; the buffer of the filter, if there is one, counts as taken."""
    if "resample_filter" in tensors:
        tensors.take("resample_filter")
    return tensors


def _block(tensors: Tensors) -> dict[str, Any]:
    found: dict[str, Any] = {
        "norm_1": tensors.under("norm0").norm(),
        "conv_1": _without_filter(tensors.under("conv0")).conv(),
        "noise": tensors.under("affine").dense(),
        "norm_2": tensors.under("norm1").norm(),
        "conv_2": tensors.under("conv1").conv(),
    }
    if "skip.weight" in tensors:
        found["shortcut"] = _without_filter(tensors.under("skip")).dense()
    if "qkv.weight" in tensors:
        interleaved = lambda a: np.moveaxis(a.reshape(-1, 3, *a.shape[1:]), 1, 0).reshape(a.shape)
        found["attention"] = {
            "norm": tensors.under("norm2").norm(),
            "qkv": tensors.under("qkv").dense(interleaved),
            "proj": tensors.under("proj").dense(),
        }
    return found
