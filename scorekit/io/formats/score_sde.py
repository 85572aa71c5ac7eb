"""DDPM++ and NCSN++ by the names of score_sde: one flat list of modules, ``all_modules.12.Conv_0.weight``.

A file of score_sde holds the state of the network as ``model`` and its average as ``ema``, whose ``shadow_params`` is a
list without names, in the order of the state: :func:`scorekit.io.reading.read_weights` gives them their names.
"""

from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np

from scorekit.io.formats._shared import fitted, floats
from scorekit.io.tensors import Tensors
from scorekit.networks import SongUNet

__all__ = ["convert", "recognises"]

_BLOCK = {
    "norm_1": "GroupNorm_0",
    "conv_1": "Conv_0",
    "noise": "Dense_0",
    "norm_2": "GroupNorm_1",
    "conv_2": "Conv_1",
    "shortcut": "Conv_2",
}
_ATTENTION = ("GroupNorm_0", "NIN_0", "NIN_1", "NIN_2", "NIN_3")


def recognises(names: Container[str]) -> bool:
    """Whether these are the names of a network that :func:`convert` takes."""
    return any(f"{p}all_modules.1.weight" in names for p in ("", "module."))


def convert(
    tensors: Tensors, resolution: int = 32, resample_filter: Sequence[int] | None = None
) -> tuple[SongUNet, dict[str, Any]]:
    """The network and its variables; all sizes but the arguments follow from names and shapes.

    The network has ``noise_scale=1``, for 999 t or log(sigma), and no dropout. What score_sde does around it is left to
    the caller: data in [0, 1] are mapped to [-1, 1], and the output of NCSN++ is divided by sigma. Other networks of
    score_sde, such as those with a pyramid at the output, are errors. The variables are ``params`` and with a Fourier
    embedding ``constants``.

    Args:
      tensors: tensors of a checkpoint by their foreign names.
      resolution: side of the images in pixels, for the resolutions of attention.
      resample_filter: filter of the network, which is not in its state; by default ``(1, 3, 3, 1)`` where the image
        joins the features of every level, as in NCSN++, and ``(1, 1)`` elsewhere.

    Source: Song et al. 2021 (https://arxiv.org/abs/2011.13456).
    """
    prefix = "module.all_modules" if "module.all_modules.1.weight" in tensors else "all_modules"
    inner = tensors.under(prefix)
    network = _network(inner, resolution, resample_filter)
    variables: dict[str, Any] = {"params": {}}
    if network.embedding == "fourier":
        variables["constants"] = {"fourier": {"frequencies": inner.take("0.W")}}
    for index, (kind, name) in _modules(network, resolution):
        at, params = inner.under(str(index)), variables["params"]
        if kind == "attention":
            params[name]["attention"] = _attention(at)
        else:
            params[name] = _TAKE[kind](at)
    if (unused := prefix.replace("all_modules", "sigmas")) in tensors:
        tensors.take(unused)
    channels = variables["params"]["input"]["kernel"].shape[2]
    return fitted(tensors, network, variables, floats(1, resolution, resolution, channels), 0.0)


def _modules(network: SongUNet, resolution: int) -> Iterator[tuple[int, tuple[str, str]]]:
    """The list without the Fourier frequencies: the index, the kind (a key of ``_TAKE``, or attention), our name."""
    return enumerate(_kinds(network, resolution), start=network.embedding == "fourier")


def _kinds(network: SongUNet, resolution: int) -> Iterator[tuple[str, str]]:
    yield from (("dense", "noise_in"), ("dense", "noise_out"), ("conv", "input"))
    levels = range(len(network.multipliers))
    attends = [resolution >> level in network.attention_resolutions for level in levels]
    for level in levels:
        if level:
            yield "block", f"encoder{level}_down"
            if network.residual_input:
                yield "pyramid", f"encoder{level}_pyramid"
        for i in range(network.blocks):
            yield "block", f"encoder{level}_{i}"
            if attends[level]:
                yield "attention", f"encoder{level}_{i}"
    yield from (("block", "middle_0"), ("attention", "middle_0"), ("block", "middle_1"))
    for level in reversed(levels):
        for i in range(network.blocks + 1):
            yield "block", f"decoder{level}_{i}"
        if attends[level]:
            yield "attention", f"decoder{level}_{network.blocks}"
        if level:
            yield "block", f"decoder{level - 1}_up"
    yield from (("norm", "norm"), ("conv", "output"))


def _network(tensors: Tensors, resolution: int, resample_filter: Sequence[int] | None) -> SongUNet:
    first = 2 + ("0.W" in tensors)  # the convolution of the image
    channels = tensors.shape(f"{first}.weight")[0]
    last = max(int(name.partition(".")[0]) for name in tensors)
    residual = [i for i in range(first, last) if f"{i}.Conv_0.weight" in tensors]
    out_in = {i: tensors.shape(f"{i}.Conv_0.weight")[:2] for i in residual}
    resampled = [i for i in residual if f"{i}.Conv_2.weight" in tensors and out_in[i][0] == out_in[i][1]]
    levels = 1 + len(resampled) // 2
    blocks, odd = divmod(len(residual) - 3 * levels, 2 * levels)
    if odd or blocks < 1:
        raise ValueError(
            f"{tensors.source} has {len(residual)} residual blocks in {levels} levels: a network with n of them per "
            f"level of the encoder has {3 * levels} + {2 * levels} n"
        )
    starts = [residual[level * (blocks + 1)] for level in range(levels)]
    pyramid = any(name.endswith(".Conv2d_0.weight") for name in tensors)
    attends = [f"{start + 1}.NIN_0.W" in tensors for start in starts]
    return SongUNet(
        channels=channels,
        multipliers=tuple(out_in[start][0] // channels for start in starts),
        blocks=blocks,
        attention_resolutions=tuple(resolution >> level for level in range(levels) if attends[level]),
        embedding="fourier" if "0.W" in tensors else "positional",
        resample_filter=tuple(resample_filter or ((1, 3, 3, 1) if pyramid else (1, 1))),
        residual_input=pyramid,
        noise_scale=1.0,
    )


def _block(tensors: Tensors) -> dict[str, Any]:
    kinds = {"norm_1": "norm", "norm_2": "norm", "conv_1": "conv", "conv_2": "conv"}  # the others are dense
    present = {ours: name for ours, name in _BLOCK.items() if ours != "shortcut" or f"{name}.weight" in tensors}
    return {ours: _TAKE[kinds.get(ours, "dense")](tensors.under(name)) for ours, name in present.items()}


def _attention(tensors: Tensors) -> dict[str, Any]:
    norm, *nins = _ATTENTION
    (q, q_bias), (k, k_bias), (v, v_bias), (proj, proj_bias) = (
        (tensors.take(f"{name}.W"), tensors.take(f"{name}.b")) for name in nins
    )
    return {
        "norm": tensors.under(norm).norm(),
        "qkv": {"kernel": np.concatenate([q, k, v], 1), "bias": np.concatenate([q_bias, k_bias, v_bias])},
        "proj": {"kernel": proj, "bias": proj_bias},
    }


_TAKE = {
    "dense": Tensors.dense,
    "conv": Tensors.conv,
    "norm": Tensors.norm,
    "block": _block,
    "pyramid": lambda tensors: {"conv": tensors.under("Conv2d_0").conv()},
}
