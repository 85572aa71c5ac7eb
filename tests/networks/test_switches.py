"""The attributes that all kinds of networks share, ``dtype``, ``remat`` and ``dropout``, and float64; traced only."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks.small_networks import BATCH, CASES, MAP_SHAPES, SIDES, build, operations
from valid_calls.networks import NETWORKS, ROWS

from scorekit import networks
from scorekit.networks import flows

KEY = jax.random.key(0)
OPTIONS = {
    "SongUNet-2d": {"multipliers": (1, 2), "embedding": "fourier", "resample_filter": (1, 3, 3, 1)}
    | {"residual_input": True, "attention_resolutions": (2,)},
    "EDM2-2d": {"multipliers": (1, 2), "attention_resolutions": (2,)},
    "UNet-2d": {"attention_resolutions": (2,), "filters": 2, "grid": (2, 2), "conditioning_layers": 1},
    "ResidualUNet-2d": {"blocks": 1},
}
"""Further attributes, such that every kind of layer is in one of the networks."""


def inputs_of(axes):
    conditions = np.zeros(BATCH, int), np.ones((BATCH, 2)), np.ones((BATCH, *MAP_SHAPES[axes]))
    return np.ones((BATCH, *SIDES[axes], 2)), np.ones(BATCH), *conditions


MODULES = {name: (build(*case, **OPTIONS.get(name, {})), inputs_of(case[1]), None) for name, case in CASES.items()}
OTHERS = [name for name in NETWORKS if name.removeprefix("networks.") not in networks.DENOISING]
MODULES |= {name: (NETWORKS[name], tuple(ROWS[name].plain().values()), None) for name in OTHERS}
IMAGE, LATENT, SIGNAL = np.ones((2, 4, 4, 1)), np.ones((2, 2, 2, 2)), np.ones((2, 4, 2))
CODED = networks.Autoencoder(latent_channels=2, channels=8, codes=3)
SIZES = {"data_channels": 1, "latent_channels": 2, "channels": 4, "multipliers": (1, 2), "groups": 2}
SCALED = networks.AutoencoderKL(**SIZES, scaling_factor=(0.5, 2.0), shift_factor=0.1)
COUPLING = flows.CouplingFlow(features=8, levels=1, steps=1, transform="spline")
AUTOREGRESSIVE = flows.AutoregressiveFlow(channels=8, data_channels=2, depth=2, cycle=2, transform="spline")
MODULES |= {
    "a code": (CODED, (LATENT,), "quantise"),
    "a decoded code": (CODED, (LATENT,), "decode"),
    "a posterior": (SCALED, (IMAGE, LATENT), "encode"),
    "a decoded latent": (SCALED, (LATENT,), "decode"),
    "a coupling flow": (COUPLING, (SIGNAL,), None),
    "its inverse": (COUPLING, (SIGNAL,), "inverse"),
    "an autoregressive flow": (AUTOREGRESSIVE, (SIGNAL,), None),
    "the inverse of that": (AUTOREGRESSIVE, (SIGNAL,), "inverse"),
}
"""A network, inputs, in float64 where numpy makes them so, and a method."""


def having(attribute):
    """Networks with this attribute; of a class for images and for signals, that for images."""
    fields = lambda network: {field.name for field in dataclasses.fields(network)}
    names = [name for name, (network, _, method) in MODULES.items() if method is None and attribute in fields(network)]
    return [name for name in names if not (name.endswith("-1d") and name.replace("-1d", "-2d") in names)]


def traced(network, inputs, method=None):
    """The dtypes of the output, of floats, and of the parameters."""
    found = jax.eval_shape(lambda: network.init_with_output(KEY, *inputs, method=method))
    kinds = ({leaf.dtype for leaf in jax.tree.leaves(tree)} for tree in found)
    return tuple({np.dtype(kind).name for kind in of if jnp.issubdtype(kind, jnp.floating)} for of in kinds)


@pytest.mark.parametrize("name", MODULES)
def test_parameters_and_outputs_are_float32_where_jax_computes_in_float64(name):
    network, inputs, method = MODULES[name]
    narrow = [x.astype(np.float32) if getattr(x, "dtype", None) == np.float64 else x for x in inputs]
    with jax.enable_x64(True):
        for given in (inputs, narrow):
            output, params = traced(network, given, method)
            assert output == {"float32"}
            assert params <= {"float32"}


def variables_of(network, inputs):
    return jax.eval_shape(lambda: network.init(KEY, *inputs))


def program(network, inputs, variables, **options):
    """A call of the network."""
    return jax.make_jaxpr(lambda variables: network.apply(variables, *inputs, **options))(variables).jaxpr


@pytest.mark.parametrize("name", having("dtype"))
def test_bfloat16_keeps_parameters_and_outputs_in_float32(name):
    network, inputs, _ = MODULES[name]
    low = network.clone(dtype=jnp.bfloat16)
    first = inputs[0].astype(jnp.bfloat16) if np.issubdtype(np.asarray(inputs[0]).dtype, np.floating) else inputs[0]
    assert traced(low, inputs) == traced(low, (first, *inputs[1:])) == traced(network, inputs)
    assert "bf16" in str(program(low, inputs, variables_of(low, inputs)))


CAUSAL = {"CausalTransformer", "CausalWaveNet", "PixelCNN"}
"""Of these, constants leave what is rematerialised: test_causal_networks.py compares gradients."""


@pytest.mark.parametrize("name", [name for name in having("remat") if name.removeprefix("networks.") not in CAUSAL])
def test_rematerialisation_changes_neither_parameters_nor_operations(name):
    network, inputs, _ = MODULES[name]
    both = [network.clone(remat=remat) for remat in (True, False)]
    variables, same = (variables_of(network, inputs) for network in both)
    assert jax.tree.leaves_with_path(variables) == jax.tree.leaves_with_path(same)
    saving, storing = (operations(program(network, inputs, variables)) for network in both)
    assert saving.pop("rematerialised", 0) > 0
    assert storing.pop("rematerialised", 0) == 0
    assert saving == storing


@pytest.mark.parametrize("name", having("dropout"))
def test_dropout_acts_where_a_key_is_given(name):
    network, inputs, _ = MODULES[name]
    dropping, variables = network.clone(dropout=0.5), variables_of(network, inputs)
    without = operations(program(dropping, inputs, variables))
    assert without == operations(program(network.clone(dropout=0.0), inputs, variables))
    assert without["random_bits"] == 0
    assert operations(program(dropping, inputs, variables, rngs={"dropout": KEY}))["random_bits"] > 0


def test_the_networks_that_have_a_switch_are_all_compared():
    kinds = lambda attribute: {type(MODULES[name][0]).__name__ for name in having(attribute)}
    published = {"AutoencoderKL", "DiT", "EDM2", "ResidualUNet", "SongUNet"}
    assert kinds("remat") == CAUSAL | published | {"Classifier", "DualEncoder", "UNet"}
    assert kinds("dropout") == CAUSAL | {"EDM2", "MLP", "ResidualUNet", "SongUNet"}
