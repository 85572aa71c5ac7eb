"""Fused attention against JAX's own: values, all derivatives, and the kernel that a program for a platform holds."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import networks
from scorekit.networks import attention
from scorekit.networks.attention import _cudnn, _tpu, attend

CHECKS = [jax.export.DisabledSafetyCheck.custom_call(f"__cudnn$fmhaSoftmax{part}") for part in ("", "Backward")]


def inputs(length=32, past=None, heads=2, size=24, dtype=jnp.float32):
    shapes = [(2, length if i in (0, 3) else past or length, heads, size) for i in range(4)]
    keys = jax.random.split(jax.random.key(0), 4)
    return [jax.random.normal(key, shape, dtype) for key, shape in zip(keys, shapes, strict=True)]


def assert_close(found, expected, tolerance):
    for x, y in zip(found, expected, strict=True):
        assert x.dtype == y.dtype
        scale = np.abs(np.float32(y)).max()
        np.testing.assert_allclose(np.float32(x) / scale, np.float32(y) / scale, atol=tolerance, rtol=0)


SHAPES = {
    "all heads at once": ({"heads": 3}, {}, (32, 72, 24)),
    "two of four heads": ({"heads": 4, "size": 64}, {"_MOST_BYTES": 300_000}, (32, 128, 64)),
    "padded heads": ({"size": 72}, {"_MOST_WEIGHTS": 512, "_MOST_BYTES": 250_000}, (16, 128, 128)),
    "fewer keys": ({"past": 16}, {}, (32, 48, 24)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_kernels_of_a_tpu_are_exact(name, monkeypatch):
    shape, limits, blocks = SHAPES[name]
    for limit, value in limits.items():
        monkeypatch.setattr(_tpu, limit, value)
    *arrays, g = inputs(**shape)
    assert _tpu.blocks(*arrays[:2]) == blocks
    causal = "past" not in shape
    expected, pullback = jax.vjp(functools.partial(attend, causal=causal), *arrays)
    assert_close(_tpu.attention(*arrays, causal=causal, interpret=True), [expected], 1e-5)
    assert_close(_tpu.gradient(*arrays, g, causal=causal, interpret=True), pullback(g), 1e-5)


def test_the_kernels_of_a_tpu_in_bfloat16_round_as_the_plain_attention():
    *arrays, g = inputs(length=64, dtype=jnp.bfloat16)
    exact, pullback = jax.vjp(attend, *(x.astype(jnp.float32) for x in arrays))
    exact = [x.astype(jnp.bfloat16) for x in (exact, *pullback(g.astype(jnp.float32)))]
    found = _tpu.attention(*arrays, causal=False, interpret=True)
    found += _tpu.gradient(*arrays, g, causal=False, interpret=True)
    assert_close(found, exact, 0.01)


@pytest.mark.parametrize(
    ("shape", "blocks"),
    [
        ({"length": 256, "heads": 16, "size": 72}, (256, 1152, 72)),  # DiT-XL/2: no lane is empty
        ({"length": 1024, "heads": 16, "size": 72}, (256, 256, 128)),
        ({"length": 64, "heads": 2, "size": 64}, (64, 128, 64)),
        ({"length": 256, "heads": 12, "size": 64}, (256, 768, 64)),
        ({"length": 8192, "heads": 4, "size": 64}, None),
        ({"length": 1009, "heads": 4, "size": 64}, None),  # a prime
    ],
)
def test_blocks_fit_on_a_chip(shape, blocks):
    array = jax.eval_shape(lambda: inputs(**shape, dtype=jnp.bfloat16))[0]
    assert _tpu.blocks(array, array) == blocks


DERIVATIVES = {
    "gradient": lambda f, x, t: jax.grad(lambda x: jnp.sum(jax.checkpoint(f)(x) ** 2))(x),
    "tangent": lambda f, x, t: jax.jvp(f, (x,), (t,))[1],
    "tangents of a batch": lambda f, x, t: jax.vmap(lambda t: jax.jvp(f, (x,), (t,))[1])(jnp.stack([t, x])),
    "gradients of a batch": lambda f, x, t: jax.vmap(jax.grad(lambda x: jnp.sum(f(x) ** 2)))(jnp.stack([t, x])),
    "gradient of a batch": lambda f, x, t: jax.grad(lambda x: jnp.sum(jax.vmap(f, 1)(x) ** 2))(jnp.stack([t, x], 1)),
    "gradient of a tangent": lambda f, x, t: jax.grad(lambda x: jnp.sum(jax.jvp(f, (x,), (t,))[1] ** 2))(x),
    "gradient of a gradient": lambda f, x, t: jax.grad(
        lambda x: jnp.sum(jax.grad(lambda x: jnp.sum(f(x) ** 2))(x) ** 2)
    )(x),
}


@pytest.mark.parametrize("kind", DERIVATIVES)
def test_derivatives_of_fused_attention(kind):
    x, y, t, _ = inputs(length=4, size=8)

    def derivative(implementation):
        f = lambda x: attend(x, y + x, x * y, implementation, causal=True)
        return jax.jit(lambda x, t: DERIVATIVES[kind](f, x, t))(x, t)

    assert_close([derivative("fused")], [derivative("xla")], 1e-5)


def exported(platform, dtype=jnp.bfloat16, **shape):
    arrays = [jax.ShapeDtypeStruct(x.shape, dtype) for x in jax.eval_shape(lambda: inputs(**shape))[:3]]
    loss = lambda *arrays: jnp.sum(attend(*arrays, "fused").astype(jnp.float32) ** 2)
    program = jax.export.export(jax.jit(jax.grad(loss, (0, 1, 2))), platforms=[platform], disabled_checks=CHECKS)
    return program(*arrays).mlir_module()


@pytest.mark.parametrize(
    ("platform", "dtype", "shape", "kernels"),
    [
        ("cuda", jnp.bfloat16, {"size": 72}, 3),
        ("cuda", jnp.float16, {"size": 128}, 3),
        ("cuda", jnp.float32, {}, 0),
        ("cuda", jnp.bfloat16, {"size": 12}, 0),
        ("cuda", jnp.bfloat16, {"size": 136}, 0),
        ("tpu", jnp.bfloat16, {"size": 72}, 2),
        ("tpu", jnp.float32, {}, 2),
        ("tpu", jnp.float16, {}, 0),
        ("tpu", jnp.bfloat16, {"length": 8192}, 0),
        ("cpu", jnp.bfloat16, {}, 0),
        ("rocm", jnp.bfloat16, {}, 0),
    ],
)
def test_the_fused_kernel_is_lowered_where_it_applies(platform, dtype, shape, kernels):
    text = exported(platform, dtype, **shape)
    assert text.count("@tpu_custom_call(") + text.count("@__cudnn$fmha") == kernels


@pytest.mark.parametrize("causal", [False, True])
def test_calls_of_cudnn_are_those_of_jax(monkeypatch, causal):
    from jax._src.cudnn import fused_attention_stablehlo

    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)
    of_jax = functools.partial(jax.nn.dot_product_attention, is_causal=causal, implementation="cudnn")
    gradients = [
        lambda *arrays: _cudnn.gradient(*arrays, causal=causal),
        lambda *arrays: jax.vjp(of_jax, *arrays[:3])[1](arrays[3]),
    ]
    arrays = [jax.ShapeDtypeStruct(x.shape, jnp.bfloat16) for x in inputs(length=64, past=32, size=72)]

    def calls(gradient):
        program = jax.export.export(jax.jit(gradient), platforms=["cuda"], disabled_checks=CHECKS)(*arrays)
        return [line.split(" loc(")[0] for line in program.mlir_module().splitlines() if "custom_call" in line]

    ours, theirs = map(calls, gradients)
    assert len(ours) == 2
    assert ours == theirs


def test_a_machine_with_an_older_gpu_lowers_the_plain_attention(monkeypatch):
    class Device:
        compute_capability = "7.5"

    monkeypatch.setattr(attention.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(attention.jax, "local_devices", lambda: [Device()])
    assert "cudnn" not in exported("cuda")


NETWORKS = {
    "dit": networks.DiT(depth=1, width=16, heads=2),
    "unet": networks.UNet(channels=8, attention_resolutions=(4,), heads=2),
    "residual u-net": networks.ResidualUNet(channels=8, attention_levels=(1,), heads=2),
    "edm2": networks.EDM2(channels=8, attention_resolutions=(4,), head_channels=8),
    "classifier": networks.Classifier(num_classes=3, channels=8, attention_resolutions=(4,), heads=2),
    "causal transformer": networks.CausalTransformer(num_codes=4, depth=1, width=16, heads=2),
}


@pytest.mark.parametrize(("name", "remat"), [*((name, False) for name in NETWORKS), ("dit", True), ("unet", True)])
def test_networks_have_fused_attention_where_they_say_so(name, remat):
    x = jnp.zeros((2, 8), jnp.int32) if name == "causal transformer" else jnp.zeros((2, 8, 8, 1))
    arguments = (x,) if name == "causal transformer" else (x, jnp.zeros(2))

    def program(implementation):
        network = dataclasses.replace(NETWORKS[name], attention=implementation, remat=remat)
        params = jax.eval_shape(network.init, jax.random.key(0), *arguments)
        return str(jax.make_jaxpr(network.apply)(params, *arguments))

    assert "attention[" in program("fused")
    assert "attention[" not in program("xla")
