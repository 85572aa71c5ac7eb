"""Networks with published weights: their outputs equal the published code's at random parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.layouts import CASES, LATENT, converted, read

from scorekit.io.formats import edm2
from scorekit.io.tensors import Tensors

FAST = ("adm_legacy", "dit", "edm2_karras_unet")


def error(found, expected):
    """The largest difference, relative to the largest value."""
    return np.abs(np.asarray(found, np.float32) - expected).max() / np.abs(expected).max()


def error_of(case, **attributes):
    network, params = converted(case)
    arrays = read(case)[2]
    inputs = {name: arrays[array] for name, array in CASES[case][1].items()}
    return error(jax.jit(network.clone(**attributes).apply)(params, arrays["x"], **inputs), arrays["output"])


@pytest.mark.parametrize("case", [pytest.param(c, marks=() if c in FAST else pytest.mark.slow) for c in CASES])
def test_outputs_are_those_of_the_published_code(case):
    assert error_of(case) < CASES[case][3]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "most"), [("dit", 0.03), ("edm2_karras_unet", 0.05)])
def test_outputs_in_bfloat16_are_close(case, most):
    assert 1e-4 < error_of(case, dtype=jnp.bfloat16) < most


@pytest.mark.slow
@pytest.mark.parametrize("case", LATENT)
def test_moments_latents_and_reconstructions_of_an_autoencoder(case):
    (network, params), arrays = converted(case), read(case)[2]

    @jax.jit
    def run(x, mean):
        posterior = network.apply(params, x, method="posterior")
        return *posterior, network.apply(params, network.scale(mean), method="decode")

    found = run(arrays["x"], arrays["mean"])
    for value, name in zip(found, ("mean", "log_variance", "decoded"), strict=True):
        assert error(value, arrays[name]) < 1e-5, name


def test_log_variance_is_that_of_dewml():
    tensors, _, arrays = read("edm2")
    head, variables = edm2.convert_log_variance(Tensors(tensors))
    found = head.apply(variables, arrays["noise"])
    np.testing.assert_allclose(found, arrays["log_variance"], rtol=1e-5, atol=1e-5)
