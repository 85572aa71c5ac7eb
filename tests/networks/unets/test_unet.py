"""The U-Net: its linear skip, adaptive filters, spatially varying conditioning, and the layers that it is made of."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.networks import UNet
from scorekit.networks.unets._unet_blocks import Attention, group_norm

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
norm = jax.jit(group_norm)
CLASSES = 3


def unet(**kwargs):
    return UNet(channels=8, multipliers=(1, 2), attention_resolutions=(2,), heads=2, **kwargs)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def random_parameters(network, *args):
    """Parameters away from the zeros of the initialisation, which need not be compiled."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, KEY, *args)
    return jax.tree.map(lambda x: 0.3 * rng.normal(size=x.shape).astype(x.dtype), shapes)


def test_group_norm_is_that_of_flax_with_a_scale_and_shift_of_each_example():
    x, (scale, shift) = 3 + 2 * normal(3, 4, 4, 24), normal(2, 3, 24)
    reference = jax.jit(nn.GroupNorm(num_groups=3, epsilon=1e-5).apply)
    expected = [reference({"params": {"scale": scale[i], "bias": shift[i]}}, x[[i]])[0] for i in range(3)]
    np.testing.assert_allclose(norm(x, scale, shift), expected, rtol=1e-4, atol=1e-4)
    assert jax.eval_shape(norm, x.astype(jnp.bfloat16), scale, shift).dtype == jnp.float32


def test_attention_matches_numpy():
    layer = Attention(heads=2)
    x = normal(2, 2, 3, 8)
    params = random_parameters(layer, x)
    p = params["params"]
    h = np.asarray(norm(x, p["norm"]["scale"][None], p["norm"]["shift"][None])).reshape(2, 6, 8)
    q, k, v = np.split(h @ p["qkv"]["kernel"] + p["qkv"]["bias"], 3, axis=-1)
    out = []
    for head in (slice(0, 4), slice(4, 8)):
        logits = q[..., head] @ k[..., head].swapaxes(1, 2) / np.sqrt(4)
        weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        out.append(weights @ v[..., head])
    expected = x + (np.concatenate(out, -1) @ p["close"]["kernel"] + p["close"]["bias"]).reshape(x.shape)
    np.testing.assert_allclose(jax.jit(layer.apply)(params, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("patch", [1, 2])
def test_linear_skip_is_linear_in_x_with_conditional_gains(patch):
    """With the output of the levels zeroed, a U-Net is linear in ``x``, with gains by noise level and class."""
    network = unet(num_classes=CLASSES, patch=patch)
    a, b = normal(2, 2, 4 * patch, 4 * patch, 2)
    noise, labels = np.array([-1.0, 2.0], np.float32), np.array([0, 1])
    params = random_parameters(network, a, noise, labels)
    params["params"]["output"] = jax.tree.map(np.zeros_like, params["params"]["output"])
    apply = jax.jit(network.apply)
    f = lambda x, *conditions: np.asarray(apply(params, x, *(conditions or (noise, labels))))
    np.testing.assert_allclose(f(a + b) + f(0 * a), f(a) + f(b), atol=1e-4)
    size = np.abs(f(a)).max()
    for conditions in ((noise + 1.0, labels), (noise, 1 - labels)):
        assert np.abs(f(a, *conditions) - f(a)).max() > 0.05 * size


def test_filters_have_gains_predicted_by_the_last_features():
    """With the output of the levels zeroed: a convolution times gains by noise level, class and position, summed."""
    network = UNet(channels=8, multipliers=(1,), num_classes=CLASSES, patch=2, filters=10)
    x, labels = normal(2, 8, 3), np.array([0, 1])
    p = random_parameters(network, x, 0.5, labels)["params"]
    p["output"] = jax.tree.map(np.zeros_like, p["output"])
    apply = jax.jit(lambda p, x: network.apply({"params": p}, x, 0.5, labels, capture_intermediates=True))
    found, state = jax.device_get(apply(p, x))
    (total,), (gains,) = (state["intermediates"][name]["__call__"] for name in ("conditioning", "gains"))
    padded = np.pad(x.reshape(2, 4, 6), [(0, 0), (1, 1), (0, 0)])
    filtered = sum(padded[:, i : i + 4] @ p["filters"]["kernel"][i] for i in range(3))
    factor = 1 + (total @ p["around_film"]["kernel"] + p["around_film"]["bias"])[:, None] + gains
    expected = (filtered * factor) @ p["around"]["kernel"][0] + p["around"]["bias"]
    np.testing.assert_allclose(found, expected.reshape(2, 8, 3), atol=1e-4)
    assert np.ptp(gains, axis=1).max() > 0.1
    assert np.ptp(gains, axis=0).max() > 0.1


@pytest.mark.parametrize(("grid", "size"), [((2, 4), (8, 8)), ((3,), (12,))])
def test_grid_conditioning_is_linearly_interpolated(grid, size):
    """Scales and shifts of the first features are those of the coarse grid, linearly interpolated, per class."""
    network = UNet(channels=8, multipliers=(1,), num_classes=CLASSES, grid=grid)
    x, labels = normal(2, *size, 2), np.array([0, 1])
    p = random_parameters(network, x, 0.5, labels)["params"]
    compiled = jax.jit(lambda p, x: network.apply({"params": p}, x, 0.5, labels, capture_intermediates=True))
    apply = lambda p, x: jax.device_get(compiled(p, x))
    captured = apply(p, x)[1]["intermediates"]
    (total,), (found,) = (captured[name]["__call__"] for name in ("conditioning", "grid"))
    coarse = total @ p["grid_film"]["kernel"] + p["grid_film"]["bias"]
    fine = jax.jit(lambda y: jax.image.resize(y, (2, *size, 16), "linear"))(coarse.reshape(2, *grid, 16))
    fine = np.asarray(fine)
    np.testing.assert_allclose(found, fine @ p["grid"]["kernel"].reshape(16, 16) + p["grid"]["bias"], atol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 0.1
    # a scale of -1 removes x from the first features, and a shift replaces the bias
    p["around"], p["grid"]["kernel"] = jax.tree.map(np.zeros_like, (p["around"], p["grid"]["kernel"]))
    p["grid"]["bias"] = np.repeat(np.array([-1.0, 0.3], np.float32), 8)
    np.testing.assert_array_equal(apply(p, x)[0], apply(p, 0 * x)[0])
    p["input"] = {"kernel": 0 * p["input"]["kernel"], "bias": np.full(8, 0.3, np.float32)}
    same = {**p, "grid": jax.tree.map(np.zeros_like, p["grid"])}
    np.testing.assert_allclose(apply(p, x)[0], apply(same, x)[0], atol=1e-5)
