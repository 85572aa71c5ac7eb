"""The magnitude-preserving U-Net: published sizes, magnitudes at initialisation, weights and conditions."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scorekit import losses
from scorekit.networks import LogVariance, Masked, normalise_weights
from scorekit.networks import _magnitude as magnitude
from scorekit.networks._spatial import embed_map
from scorekit.networks.unets.edm2 import _Block, _doubled, _halved, _MPConditioning
from scorekit.training import projected

KEY = jax.random.key(0, impl="rbg")
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


# ---- magnitudes --------------------------------------------------------------------------------------------------


def test_fixed_functions_preserve_unit_variance():
    a, b = normal(4, 100, 100, 8), normal(4, 100, 100, 24)
    rms = lambda x: float(jnp.sqrt(jnp.mean(jnp.square(x))))
    assert rms(magnitude.mp_silu(a)) == pytest.approx(1, abs=0.01)
    assert rms(magnitude.mp_sum(a, b[..., :8], 0.3)) == pytest.approx(1, abs=0.01)
    joined = magnitude.mp_cat(a, b)
    assert rms(joined) == pytest.approx(1, abs=0.01)
    assert rms(joined[..., :8]) * 8**0.5 == pytest.approx(rms(joined[..., 8:]) * 24**0.5, rel=0.01)  # equal shares
    assert rms(magnitude.normalise(5 * a, -1)) == pytest.approx(1, abs=0.01)
    fourier = magnitude.MPFourier(2000)
    noise = np.linspace(-2, 2, 5, dtype=np.float32)
    found = fourier.apply(fourier.init(KEY, noise), noise)
    np.testing.assert_allclose(jnp.sqrt(jnp.mean(found**2, 1)), 1, atol=0.05)


BLOCKS = {
    "encoder": (64, False, lambda x: x),
    "encoder, wider": (96, False, lambda x: x),
    "encoder, halved": (64, False, _halved),
    "decoder": (64, True, lambda x: x),
    "decoder, narrower, with a skip connection": (48, True, lambda x: magnitude.mp_cat(x, normal(*x.shape))),
    "decoder, doubled": (64, True, _doubled),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if "," in n else n for n in BLOCKS])
def test_blocks_preserve_unit_variance(name):
    width, decoder, before = BLOCKS[name]
    x, embedding = before(jnp.asarray(normal(2, 16, 16, 64))), normal(2, 32)
    y, _ = jax.jit(_Block(width, decoder, heads=0).init_with_output)(KEY, x, embedding)
    assert float(jnp.var(y)) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_attention_preserves_unit_variance():
    x = jnp.broadcast_to(normal(64, 1, 1, 64), (64, 2, 2, 64))  # equal tokens, which attention averages to themselves
    block, embedding = _Block(64, True, heads=4), jnp.zeros((64, 4))
    params = jax.jit(block.init)(KEY, x, embedding)["params"]
    params = {**params, "conv_2": {"kernel": jnp.zeros_like(params["conv_2"]["kernel"])}}
    found = jax.jit(block.apply)({"params": params}, x, embedding)
    norm = math.hypot(0.3, 0.7)
    branch = (found - x * (0.7 / norm) ** 2) * norm / 0.3
    assert float(jnp.mean(branch**2)) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("label", [1, 4])
def test_conditions_and_null_tokens_preserve_unit_variance(label):
    conditioning = _MPConditioning(512, 64, 0.5, num_classes=4, vector_size=16)
    noise, vector = jnp.linspace(-4, 4, 8), Masked(normal(8, 16), np.full(8, label < 4))
    found, _ = jax.jit(conditioning.init_with_output, static_argnums=3)(KEY, noise, label, 8, vector)
    assert float(jnp.sqrt(jnp.mean(found**2))) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("present", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_features_of_a_map_have_unit_variance(present):
    class Features(nn.Module):
        @nn.compact
        def __call__(self, given):
            return embed_map(
                256, jnp.float32, given, (16, 16), functools.partial(magnitude.MPConv, ones=True), magnitude.MPOrNull
            )

    given = Masked(jnp.asarray(normal(2, 16, 16, 3)), jnp.full(2, present))
    found, _ = jax.jit(Features().init_with_output)(KEY, given)
    assert float(jnp.var(found)) == pytest.approx(1, abs=0.1)


# ---- weights -----------------------------------------------------------------------------------------------------


def test_the_scale_of_the_weights_does_not_matter_and_their_normalisation_changes_nothing():
    conv, x = magnitude.MPConv(8, (3, 3), ones=True), normal(2, 4, 4, 3)
    run = jax.jit(conv.apply)
    params = {"kernel": 7 * normal(3, 3, 4, 8)}
    unit = normalise_weights({**params, "gain": jnp.float32(0.5)})
    assert unit.pop("gain") == 0.5
    np.testing.assert_allclose(jnp.mean(unit["kernel"] ** 2, (0, 1, 2)), 1, atol=1e-3)
    np.testing.assert_allclose(run({"params": unit}, x), run({"params": params}, x), rtol=1e-3, atol=1e-3)


def test_weights_of_zero_have_a_gradient():
    gradient = jax.grad(lambda w: magnitude.normalise(w, 0).sum())(jnp.zeros((3, 2)))
    assert np.isfinite(gradient).all()


# ---- the log-variance --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_log_variance_fits_the_logarithm_of_the_weighted_error():
    """At the optimum of ``w err / exp(u) + u``, u is ``log(w err)`` at every noise level."""
    head, noise = LogVariance(), jnp.linspace(-3, 3, 60)
    weighted = jnp.exp(jnp.sin(2 * noise) - 0.5 * noise)
    variables = head.init(jax.random.key(0), noise)
    optimizer = projected(optax.adam(optax.cosine_decay_schedule(0.02, 1500)), normalise_weights)
    mean = lambda v: jnp.mean(losses.uncertainty_weighted(weighted, head.apply(v, noise)))

    def step(carry, _):
        variables, state = carry
        updates, state = optimizer.update(jax.grad(mean)(variables), state, variables)
        return (optax.apply_updates(variables, updates), state), None

    (fitted, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, length=1500))((variables, optimizer.init(variables)))
    np.testing.assert_allclose(head.apply(fitted, noise), jnp.log(weighted), atol=0.05)
    np.testing.assert_array_equal(fitted["constants"]["fourier"]["phases"], variables["constants"]["fourier"]["phases"])
