"""DDPM++ and NCSN++ by the names of EDM and of score_sde: parity with independent implementations, and errors."""

import jax
import numpy as np
import pytest
from golden import random_tensors

from scorekit.io.formats import score_sde, song_unet
from scorekit.io.tensors import Tensors

KINDS = ("ddpmpp", "ncsnpp")


def edm(kind):
    """Tensors, with the filters as they are, and the arrays of the golden file."""
    tensors, _, arrays = random_tensors.load(f"song_unet_{kind}")
    taps = arrays["resample_filter"]
    return {name: taps if name.endswith("resample_filter") else t for name, t in tensors.items()}, arrays


def score(kind):
    """Tensors as they are in a file of score_sde, and the arrays of the golden file."""
    tensors, _, arrays = random_tensors.load(f"score_sde_{kind}")
    return {f"module.{name}": t for name, t in tensors.items()}, arrays


def error(network, variables, arrays, *conditions):
    """The relative error."""
    x, y = (np.moveaxis(arrays[name], 1, -1) for name in ("x", "y"))
    return np.abs(jax.jit(network.apply)(variables, x, *conditions) - y).max() / np.abs(y).max()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_network_by_the_names_of_edm_is_that_of_physicsnemo(kind):
    tensors, arrays = edm(kind)
    network, variables = song_unet.convert(Tensors({f"model.{name}": t for name, t in tensors.items()}))
    assert (network.embedding == "fourier") == network.residual_input == (kind == "ncsnpp")
    assert network.resample_filter == ((1, 3, 3, 1) if kind == "ncsnpp" else (1, 1))
    assert (network.multipliers, network.blocks) == (((1, 2, 2), 1) if kind == "ncsnpp" else ((1, 2), 2))
    assert network.attention_resolutions == (4,)
    conditions = arrays["noise"], arrays["labels"], arrays["augment"]
    assert error(network, variables, arrays, *conditions) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_network_by_the_names_of_score_sde_is_theirs(kind):
    tensors, arrays = score(kind)
    network, variables = score_sde.convert(Tensors({**tensors, "module.sigmas": np.ones(3)}), resolution=8)
    noise = np.log(arrays["noise"]) if kind == "ncsnpp" else arrays["noise"]
    assert error(network, variables, arrays, noise) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_average_of_score_sde(kind):
    trained = random_tensors.load(f"score_sde_{kind}")[1]["trained"]
    tensors = score(kind)[0]
    network, variables = score_sde.convert(Tensors(tensors), resolution=8)
    assert score_sde.parameter_names(network, 8) == trained
    sizes = [tensors[f"module.{name}"].size for name in trained]
    assert sum(sizes) == sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_names_are_recognised():
    names = {kind: random_tensors.load(f"{kind}_ncsnpp")[0] for kind in ("song_unet", "score_sde")}
    for module, own in ((song_unet, "song_unet"), (score_sde, "score_sde")):
        assert [kind for kind in names if module.recognises(names[kind])] == [own]
    assert not song_unet.recognises(["map_layer0.weight", "out_conv.weight"])  # the ADM of EDM


@pytest.mark.parametrize("convert", [song_unet.convert, lambda t: score_sde.convert(t, resolution=8)])
def test_tensors_that_are_missing_unknown_or_of_another_shape_are_named(convert):
    of_edm = convert is song_unet.convert
    tensors = edm("ncsnpp")[0] if of_edm else random_tensors.load("score_sde_ncsnpp")[0]
    name = "dec.4x4_block1.norm1.bias" if of_edm else "all_modules.15.GroupNorm_0.bias"
    with pytest.raises(ValueError, match=f"has no tensor '{name}'"):
        convert(Tensors({key: t for key, t in tensors.items() if key != name}))
    with pytest.raises(ValueError, match=r"does not use: enc.8x8_aux_skip.weight"):
        convert(Tensors({**tensors, "enc.8x8_aux_skip.weight": np.ones(2)}))
    with pytest.raises(ValueError, match=r"must have shape \(.*\), got \(5,\)"):
        convert(Tensors({**tensors, name: np.ones(5)}))


def test_other_networks_of_score_sde_are_refused():
    tensors = random_tensors.load("score_sde_ddpmpp")[0]
    last = max(int(name.split(".")[1]) for name in tensors if ".Conv_0." in name)
    less = {name: t for name, t in tensors.items() if f".{last}.Conv_0." not in name}
    with pytest.raises(ValueError, match=r"has 13 residual blocks in 2 levels: .* has 6 \+ 4 n"):
        score_sde.convert(Tensors(less), resolution=8)
