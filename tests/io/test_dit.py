"""Published diffusion transformers: presets, both layouts of names, parity with diffusers, and what is refused."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import random_tensors

from scorekit.io.formats import dit
from scorekit.io.tensors import Tensors
from scorekit.networks.dit import positions

TENSORS, ABOUT, ARRAYS = random_tensors.load("dit")
EMBEDDERS = ("timestep_embedder", "class_embedder")
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


def shared(tensors):
    """The embedders of all blocks are those of the first, as in every checkpoint."""
    first = lambda name: "transformer_blocks.0." + name.split(".", 2)[2]
    return {n: tensors[first(n)] if any(part in n for part in EMBEDDERS) else a for n, a in tensors.items()}


DIFFUSERS = shared(TENSORS)


def official(tensors):
    """The same weights by the names of the paper's implementation."""
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


@pytest.fixture(scope="module")
def converted():
    return dit.convert(Tensors(DIFFUSERS), heads=2, keep_variance=True)


def relative_error(network, params):
    x = np.moveaxis(ARRAYS["x"], 1, -1)
    found = jax.jit(network.apply)(params, x, ARRAYS["timestep"], ARRAYS["labels"])
    expected = np.moveaxis(ARRAYS["output"], 1, -1)
    return np.abs(found - expected).max() / np.abs(expected).max()


def test_output_is_that_of_diffusers(converted):
    network, params = converted
    assert network.learned_variance
    assert relative_error(network, params) < 1e-4


@pytest.mark.slow
def test_output_in_bfloat16_is_that_of_diffusers(converted):
    network, params = converted
    assert 1e-4 < relative_error(network.clone(dtype=jnp.bfloat16), params) < 0.03


def test_the_names_of_the_paper_give_the_same_parameters(converted):
    names = official(DIFFUSERS)
    assert [dit.recognises(n) for n in (names, DIFFUSERS, ("x_embedder.proj.weight",))] == [True, True, False]
    network, params = dit.convert(Tensors(names), heads=2, keep_variance=True)
    assert network == converted[0]
    chex.assert_trees_all_equal(params, converted[1])


def changed(tensors, name, value):
    return {**tensors, name: value}


REFUSED = {
    "unused": (changed(DIFFUSERS, "extra.weight", np.ones(2)), {}, "does not use: extra.weight"),
    "block": (
        changed(DIFFUSERS, "transformer_blocks.1.ff.net.2.bias", np.ones(3)),
        {},
        r"block 1, compared with block 0: parameter \['fc2'\]\['bias'\] must have shape \(16,\), got \(3,\)",
    ),
    "positions": (
        changed(official(DIFFUSERS), "pos_embed", np.zeros((1, 16, 16))),
        {},
        "other positions in 'pos_embed'",
    ),
    "copies": (TENSORS, {}, r"transformer_blocks.1.norm1.emb other embedders"),
    "heads": (DIFFUSERS, {"heads": None}, "heads must be given for a network of width 16 and depth 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_named(case):
    tensors, options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        dit.convert(Tensors(tensors), **{"heads": 2, **options})
