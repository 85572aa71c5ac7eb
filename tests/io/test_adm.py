"""Checkpoints of ADM: parity with other implementations on random parameters, and what does not fit is named."""

import functools

import chex
import jax
import numpy as np
import pytest
from golden import random_tensors

from scorekit.io.formats import adm, dhariwal, terrain
from scorekit.io.tensors import Tensors

ARGUMENTS = {
    "adm_legacy": {"head_channels": 32},
    "adm_new": {"heads": 4, "head_channels": None, "new_attention_order": True},
    "adm_upsampler": {"head_channels": 32, "map_shape": (2, 2, 2)},
}
LEGACY, DHARIWAL = random_tensors.load("adm_legacy")[0], random_tensors.load("dhariwal")[0]
SLOW = ("adm_new", "adm_upsampler", "dhariwal")


@functools.cache
def converted(name, **arguments):
    """The network and parameters of a golden file, and its arrays with the channels last."""
    tensors, about, arrays = random_tensors.load(name)
    tensors |= {buffer: np.asarray(value) for buffer, value in about.get("buffers", {}).items()}
    arrays = {key: np.moveaxis(value, 1, -1) if value.ndim == 4 else value for key, value in arrays.items()}
    if name == "dhariwal":
        return *dhariwal.convert(Tensors(tensors)), arrays
    return *adm.convert(Tensors(tensors), **{"keep_variance": True, **ARGUMENTS[name], **arguments}), arrays


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in (*ARGUMENTS, "dhariwal")]
)
def test_outputs_are_those_of_the_published_code(name):
    network, params, arrays = converted(name)
    labels = arrays.get("labels", arrays.get("y"))
    found = jax.jit(network.apply)(params, arrays["x"], arrays["noise"], labels, None, arrays.get("low_res"))
    assert np.abs(found - arrays["output"]).max() < 1e-4 * np.abs(arrays["output"]).max()


def test_sizes_are_read_from_the_shapes():
    network = converted("adm_new")[0]
    assert (network.channels, network.multipliers, network.blocks) == (32, (1, 1, 2), 1)
    assert network.attention_levels == (0, 2)
    assert (network.film, network.residual_resampling) == ("shift", False)
    network = converted("adm_upsampler")[0]
    assert (network.multipliers, network.blocks, network.num_classes) == ((1,), 2, 3)
    network = converted("dhariwal")[0]
    assert (network.channels, network.multipliers, network.blocks) == (64, (1, 2), 2)
    assert (network.attention_levels, network.num_classes) == ((1,), 3)


def test_by_default_the_variance_is_left_out():
    full, all_params, _ = converted("adm_legacy")
    network, params, arrays = converted("adm_legacy", keep_variance=False)
    assert full.learned_variance
    assert not network.learned_variance
    output = params["params"]["output"]
    assert output["bias"].shape == arrays["x"].shape[-1:]
    np.testing.assert_array_equal(output["kernel"], all_params["params"]["output"]["kernel"][..., :2])


def test_absent_labels_and_maps_are_zeros():
    params = converted("adm_upsampler")[1]["params"]
    assert not params["conditioning"]["labels"]["embedding"][3].any()
    assert params["conditioning"]["labels"]["embedding"][:3].all()
    assert not params["map_or_null"]["null"].any()
    assert not params["map"]["bias"].any()


def test_names_of_edm_with_its_preconditioning_give_the_same_parameters():
    tensors = random_tensors.load("dhariwal")[0]
    edm = {f"model.{name}".replace("attn.norm", "norm2").replace("attn.", ""): a for name, a in tensors.items()}
    assert [f.recognises(edm) for f in (adm, dhariwal, terrain)] == [False, True, False]
    network, params = dhariwal.convert(Tensors(edm))
    other, others, _ = converted("dhariwal")
    assert network == other
    chex.assert_trees_all_equal(params, others)
    assert [f.recognises(random_tensors.load("adm_legacy")[0]) for f in (adm, dhariwal, terrain)] == [
        True,
        False,
        False,
    ]


BAD = {
    "left": (adm, {**LEGACY, "extra": np.ones(1)}, "does not use: extra"),
    "shape": (adm, {**LEGACY, "time_embed.2.bias": np.ones(3)}, r"\['noise_out'\]\['bias'\] must have shape \(128,\)"),
    "channels": (
        adm,
        {**LEGACY, "out.2.weight": np.ones((3, 32, 3, 3))},
        "map_shape must leave 3 or 1.5 of the 2 input",
    ),
    "frequencies": (dhariwal, {**DHARIWAL, "map_noise.freqs": np.ones(32)}, "map_noise.freqs must be"),
    "filter": (
        dhariwal,
        {**DHARIWAL, "enc.4x4_down.skip.resample_filter": np.ones((1, 1, 4, 4))},
        "enc.4x4_down.skip.resample_filter must be",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_named(case):
    layout, tensors, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        layout.convert(Tensors(tensors), **({"head_channels": 32} if layout is adm else {}))
