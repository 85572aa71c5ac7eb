"""Published EDM2 networks: conversion of their names, parity with two other implementations, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import random_tensors

from scorekit.io.formats import edm2
from scorekit.io.tensors import Tensors
from scorekit.networks import EDM2

TENSORS, ABOUT, ARRAYS = random_tensors.load("edm2")
NETWORKS = {
    "edm2": EDM2(8, (1, 2, 2), 1, (4,), head_channels=8, num_classes=5, noise_scale=1.0),
    "edm2_karras_unet": EDM2(32, (1, 1), 1, (4,), head_channels=16, num_classes=5, noise_scale=1.0),
}


def loaded(name):
    """Tensors and arrays of a golden file; the frequencies of KarrasUnet, each used twice, are not drawn by name."""
    tensors, _, arrays = random_tensors.load(name)
    names = {name: f"unet.emb_fourier.{name}" for name in ("freqs", "phases") if name in arrays}
    return tensors | {names[name]: arrays[name] for name in names}, arrays


def relative_error(network, variables, arrays):
    x = np.moveaxis(arrays["x"], 1, -1)
    found = jax.jit(network.apply)(variables, x, arrays["noise"], arrays["labels"])
    expected = np.moveaxis(arrays["output"], 1, -1)
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("name", [pytest.param("edm2", marks=pytest.mark.slow), "edm2_karras_unet"])
def test_output_is_that_of_other_implementations(name):
    tensors, arrays = loaded(name)
    network, variables = edm2.convert(Tensors(tensors), head_channels=NETWORKS[name].head_channels)
    assert network == NETWORKS[name]
    error = relative_error(network, variables, arrays)
    print(f"{name}: {error:.1e} in float32")
    assert error < 1e-4


@pytest.mark.slow
def test_bfloat16_is_close_to_other_implementations():
    tensors, arrays = loaded("edm2_karras_unet")
    network, variables = edm2.convert(Tensors(tensors), head_channels=16)
    error = relative_error(network.clone(dtype=jnp.bfloat16), variables, arrays)
    print(f"{error:.1e} in bfloat16")
    assert 1e-4 < error < 0.05


def test_log_variance_is_that_of_dewml():
    head, variables = edm2.convert_log_variance(Tensors(TENSORS))
    found = head.apply(variables, ARRAYS["noise"])
    np.testing.assert_allclose(found, ARRAYS["log_variance"], rtol=1e-5, atol=1e-5)


def test_names_are_recognised():
    assert edm2.recognises(TENSORS)
    assert not edm2.recognises({"unet.out_gain": 0})


@pytest.mark.parametrize(
    ("tensors", "head_channels", "message"),
    [
        (TENSORS | {"unet.extra": np.ones(2)}, 8, "does not use: unet.extra"),
        (TENSORS | {"unet.emb_fourier.freqs": np.ones(3)}, 8, r"\['frequencies'\] must have shape \(8,\), got \(3,\)"),
        (TENSORS, 12, r"head_channels must divide 48 / 3 channels, got 12"),
    ],
)
def test_what_is_missing_unused_or_misshapen_is_refused(tensors, head_channels, message):
    with pytest.raises(ValueError, match=message):
        edm2.convert(Tensors(tensors), head_channels=head_channels)
