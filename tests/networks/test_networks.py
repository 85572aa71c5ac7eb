"""What both networks promise, and the layers they are made of."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scorekit.networks import MLP, Conditioning, UNet, drop_labels, fourier_features
from scorekit.networks.unet import Attention, group_norm

KEY = jax.random.key(0)
FAST = jax.random.key(0, impl="rbg")  # compiles several times faster
norm = jax.jit(group_norm)
CLASSES = 3


def unet(**kwargs):
    return UNet(channels=8, multipliers=(1, 2), attention_resolutions=(2,), heads=2, **kwargs)


def mlp(**kwargs):
    return MLP(features=16, blocks=2, **kwargs)


NETWORKS = {"unet": (unet, (4, 4, 4, 2)), "mlp": (mlp, (4, 5))}


def randomised(params):
    """Parameters away from the zeros of the initialisation."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + 0.3 * rng.normal(size=x.shape).astype(np.float32), params)


@pytest.fixture(scope="module", params=NETWORKS)
def case(request):
    make, shape = NETWORKS[request.param]
    network = make(num_classes=CLASSES)
    x = jax.random.normal(KEY, shape)
    noise = jnp.linspace(-5, 5, shape[0])
    labels = jnp.arange(shape[0]) % CLASSES
    params = jax.jit(network.init)(FAST, x, noise, labels)
    return make, network, params, randomised(params), jax.jit(network.apply), x, noise, labels


def test_output_is_zero_at_initialisation(case):
    _, _, params, _, apply, x, noise, labels = case
    y = apply(params, x, noise, labels)
    assert y.shape == x.shape
    assert y.dtype == jnp.float32
    assert jnp.all(y == 0)


def test_no_labels_are_the_null_label(case):
    _, _, _, params, apply, x, noise, labels = case
    null = apply(params, x, noise, jnp.full(len(x), CLASSES))
    np.testing.assert_array_equal(apply(params, x, noise), null)
    assert jnp.min(jnp.max(jnp.abs(apply(params, x, noise, labels) - null).reshape(len(x), -1), 1)) > 1e-3


def test_scalars_mean_the_same_for_all(case):
    _, _, _, params, apply, x, _, _ = case
    many = apply(params, x, jnp.full(len(x), 0.7), jnp.full(len(x), 1))
    np.testing.assert_array_equal(apply(params, x, 0.7, 1), many)


def test_a_label_out_of_range_is_nan_not_another_class(case):
    _, _, _, params, apply, x, noise, _ = case
    y = apply(params, x, noise, jnp.array([0, 1, 2, CLASSES + 1]))
    assert jnp.all(jnp.isfinite(y[:3]))
    assert jnp.all(jnp.isnan(y[3]))


def test_examples_do_not_mix(case):
    _, _, _, params, apply, x, noise, labels = case
    other = x.at[1:].set(7.0)
    a, b = apply(params, x, noise, labels), apply(params, other, noise, labels)
    np.testing.assert_allclose(a[0], b[0], rtol=1e-5, atol=1e-5)


def test_noise_level_matters(case):
    _, _, _, params, apply, x, _, labels = case
    assert jnp.max(jnp.abs(apply(params, x, 0.0, labels) - apply(params, x, 0.2, labels))) > 1e-3


def test_every_parameter_learns(case):
    _, network, params, _, _, x, noise, labels = case
    optimizer = optax.adam(1e-2)
    labels = labels.at[-1].set(CLASSES)

    @jax.jit
    def step(params, opt_state):
        gradient = jax.grad(lambda p: jnp.mean((network.apply(p, x, noise, labels) - x) ** 2))(params)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(params, updates), opt_state, gradient

    trained, opt_state, _ = step(params, jax.jit(optimizer.init)(params))
    for _ in range(3):  # zeros open one after the other: output, residual branch, what feeds it
        trained, opt_state, gradient = step(trained, opt_state)
    still = [jax.tree_util.keystr(k) for k, g in jax.tree_util.tree_leaves_with_path(gradient) if not jnp.any(g)]
    assert not still
    same = [
        jax.tree_util.keystr(k)
        for (k, a), b in zip(jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(trained), strict=True)
        if jnp.array_equal(a, b)
    ]
    assert not same


def test_bfloat16_keeps_parameters_and_output_in_float32(case):
    make, _, _, params, apply, x, noise, labels = case
    network = make(num_classes=CLASSES, dtype=jnp.bfloat16)
    init = jax.eval_shape(network.init, KEY, x, noise, labels)
    assert {p.dtype for p in jax.tree.leaves(init)} == {jnp.dtype(jnp.float32)}
    low = jax.jit(network.apply)(params, x.astype(jnp.bfloat16), noise, labels)
    assert low.dtype == jnp.float32
    full = apply(params, x, noise, labels)
    error = jnp.linalg.norm(low - full) / jnp.linalg.norm(full)
    assert 1e-5 < error < 0.05  # rounded, and not by more than that


def test_unconditional_network_refuses_labels():
    network = mlp()
    x = jnp.ones((2, 3))
    params = jax.eval_shape(network.init, KEY, x, 0.0)
    assert "labels" not in params["params"]["conditioning"]
    with pytest.raises(ValueError, match="labels must be None"):
        jax.eval_shape(network.apply, params, x, 0.0, jnp.zeros(2, int))


@pytest.mark.parametrize(
    ("network", "x", "noise", "labels", "message"),
    [
        (unet(), (2, 5, 4, 1), 0.0, None, r"divisible by 2 for 2 levels, got 5 x 4"),
        (unet(), (2, 4), 0.0, None, r"x must have shape \(B, H, W, C\) or \(B, L, C\), got \(2, 4\)"),
        (unet(), (2, 8, 8, 1), 0.0, None, r"attention_resolutions must be among the heights \[8, 4\].*got \(2,\)"),
        (UNet(channels=8, attention_resolutions=(4,), heads=3), (2, 4, 4, 1), 0.0, None, r"heads must divide.*got 3"),
        (mlp(), (2, 4, 4, 1), 0.0, None, r"x must have shape \(B, D\), got"),
        (mlp(), (2, 3), np.zeros(3), None, r"noise must be a scalar or have shape \(2,\), got shape \(3,\)"),
        (mlp(num_classes=2), (2, 3), 0.0, np.zeros(2), r"labels must be integers, got dtype float"),
        (mlp(num_classes=2), (2, 3), 0.0, np.zeros((2, 1), int), r"labels must be a scalar or have shape \(2,\)"),
    ],
)
def test_refusals(network, x, noise, labels, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: network.init(KEY, np.ones(x), noise, labels))


def test_group_norm_against_flax():
    x = 3 + 2 * jax.random.normal(KEY, (3, 4, 4, 24))
    scale, shift = jax.random.normal(jax.random.key(1), (2, 24))
    expected = nn.GroupNorm(num_groups=3, epsilon=1e-5).apply({"params": {"scale": scale, "bias": shift}}, x)
    np.testing.assert_allclose(norm(x, scale[None], shift[None]), expected, rtol=1e-4, atol=1e-4)
    low = norm(x.astype(jnp.bfloat16), scale[None], shift[None])
    assert low.dtype == jnp.float32


def test_group_norm_scales_per_example():
    x = jax.random.normal(KEY, (2, 4, 4, 8))
    scale, shift = jax.random.normal(jax.random.key(1), (2, 2, 8))
    both = norm(x, scale, shift)
    for i in range(2):
        alone = norm(x, scale[i : i + 1], shift[i : i + 1])[i]
        np.testing.assert_allclose(both[i], alone, rtol=1e-6, atol=1e-6)


def test_attention_against_numpy():
    layer = Attention(heads=2)
    x = jax.random.normal(KEY, (2, 2, 3, 8))
    shapes = jax.eval_shape(layer.init, KEY, x)
    params = randomised(jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes))
    p = jax.tree.map(np.asarray, params["params"])
    h = np.asarray(norm(x, p["norm"]["scale"][None], p["norm"]["shift"][None])).reshape(2, 6, 8)
    q, k, v = np.split(h @ p["qkv"]["kernel"] + p["qkv"]["bias"], 3, axis=-1)
    out = []
    for head in (slice(0, 4), slice(4, 8)):
        logits = q[..., head] @ k[..., head].swapaxes(1, 2) / np.sqrt(4)
        weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        out.append(weights @ v[..., head])
    expected = x + (np.concatenate(out, -1) @ p["close"]["kernel"] + p["close"]["bias"]).reshape(x.shape)
    np.testing.assert_allclose(jax.jit(layer.apply)(params, x), expected, rtol=1e-4, atol=1e-5)


def test_fourier_features():
    c = np.array([-5.0, 0.0, 1.5])
    w = 0.25 * (32 / 0.25) ** (np.arange(8) / 7)
    expected = np.concatenate([np.sin(c[:, None] * w), np.cos(c[:, None] * w)], -1)
    np.testing.assert_allclose(fourier_features(c, 16), expected, atol=1e-4)
    with pytest.raises(ValueError, match="features must be even and at least 4, got 5"):
        fourier_features(c, 5)


def test_fourier_features_tell_levels_apart():
    c = jnp.linspace(-5, 5, 201)
    f = fourier_features(c, 32)
    distance = np.linalg.norm(np.asarray(f)[:, None] - np.asarray(f)[None], axis=-1) + 10 * np.eye(201)
    assert distance.min() > 0.5


def test_label_table_has_a_null_row():
    params = jax.eval_shape(lambda: Conditioning(8, CLASSES).init(KEY, 0.0, None, 2))
    assert params["params"]["labels"]["embedding"].shape == (CLASSES + 1, 8)


def test_labels_weigh_as_much_as_the_noise_level_from_the_start():
    network = Conditioning(256, 100)
    table = network.init(FAST, 0.0, None, 2)["params"]["labels"]["embedding"]
    np.testing.assert_allclose([table.mean(), table.std()], [0, 1], atol=0.02)


@pytest.mark.parametrize("patch", [1, 2])
def test_a_linear_way_leads_around_the_levels(patch):
    """With the output of the levels at zero, a U-Net is linear in ``x``, by a factor of noise level and class."""
    network = unet(num_classes=CLASSES, patch=patch)
    a, b = jax.random.normal(KEY, (2, 2, 4 * patch, 4 * patch, 2))
    noise, labels = jnp.array([-1.0, 2.0]), jnp.array([0, 1])
    params = randomised(jax.jit(network.init)(FAST, a, noise, labels))
    params["params"]["output"] = jax.tree.map(jnp.zeros_like, params["params"]["output"])
    apply = jax.jit(network.apply)
    f = lambda x, *told: apply(params, x, *(told or (noise, labels)))
    np.testing.assert_allclose(f(a + b) + f(0 * a), f(a) + f(b), atol=1e-4)
    size = jnp.abs(f(a)).max()
    for told in ((noise + 1.0, labels), (noise, 1 - labels)):
        assert jnp.abs(f(a, *told) - f(a)).max() > 0.05 * size


def test_filters_are_weighed_by_the_features_of_the_last_level():
    """With the output of the levels at zero: a convolution times factors of noise level, class and place, summed."""
    network = UNet(channels=8, multipliers=(1,), num_classes=CLASSES, patch=2, filters=10)
    x, labels = jax.random.normal(KEY, (2, 8, 3)), jnp.array([0, 1])
    p = randomised(jax.jit(network.init)(FAST, x, 0.5, labels))["params"]
    p["output"] = jax.tree.map(jnp.zeros_like, p["output"])
    found, state = jax.jit(lambda: network.apply({"params": p}, x, 0.5, labels, capture_intermediates=True))()
    (total,), (gains,) = (state["intermediates"][name]["__call__"] for name in ("conditioning", "gains"))
    padded = np.pad(np.asarray(x).reshape(2, 4, 6), [(0, 0), (1, 1), (0, 0)])
    filtered = sum(padded[:, i : i + 4] @ p["filters"]["kernel"][i] for i in range(3))
    factor = 1 + (total @ p["around_film"]["kernel"] + p["around_film"]["bias"])[:, None] + gains
    by_hand = (filtered * factor) @ p["around"]["kernel"][0] + p["around"]["bias"]
    np.testing.assert_allclose(found, by_hand.reshape(2, 8, 3), atol=1e-4)
    assert np.ptp(gains, axis=1).max() > 0.1
    assert np.ptp(gains, axis=0).max() > 0.1


def test_a_negative_number_of_filters_is_refused():
    with pytest.raises(ValueError, match="filters must be at least 0, got -1"):
        jax.eval_shape(lambda: unet(filters=-1).init(KEY, jnp.zeros((1, 4, 4, 2)), 0.0))


@pytest.mark.parametrize(("grid", "size"), [((2, 4), (8, 8)), ((3,), (12,))])
def test_conditions_speak_of_places_through_the_grid(grid, size):
    """Factors and terms of the first features: their weights at the coarse grid, linear in between, by the class."""
    network = UNet(channels=8, multipliers=(1, 2), num_classes=CLASSES, grid=grid)
    x, labels = jax.random.normal(KEY, (2, *size, 2)), jnp.array([0, 1])
    p = randomised(jax.jit(network.init)(FAST, x, 0.5, labels))["params"]
    apply = jax.jit(lambda p, x: network.apply({"params": p}, x, 0.5, labels, capture_intermediates=True))
    inside = apply(p, x)[1]["intermediates"]
    (total,), (found,) = (inside[name]["__call__"] for name in ("conditioning", "grid"))
    coarse = total @ p["grid_film"]["kernel"] + p["grid_film"]["bias"]
    fine = jax.image.resize(coarse.reshape(2, *grid, 16), (2, *size, 16), "linear")
    np.testing.assert_allclose(found, fine @ p["grid"]["kernel"].reshape(16, 16) + p["grid"]["bias"], atol=1e-4)
    assert jnp.abs(found[0] - found[1]).max() > 0.1
    # factors of -1 leave the levels nothing of x, and terms of the first features make up for it
    p["around"], p["grid"]["kernel"] = jax.tree.map(jnp.zeros_like, (p["around"], p["grid"]["kernel"]))
    p["grid"]["bias"] = jnp.repeat(jnp.array([-1.0, 0.3]), 8)
    np.testing.assert_array_equal(apply(p, x)[0], apply(p, 0 * x)[0])
    p["input"] = {"kernel": 0 * p["input"]["kernel"], "bias": jnp.full(8, 0.3)}
    same = {**p, "grid": jax.tree.map(jnp.zeros_like, p["grid"])}
    np.testing.assert_allclose(apply(p, x)[0], apply(same, x)[0], atol=1e-5)


@pytest.mark.parametrize("grid", [(2,), (2, 2, 2), (0, 2)])
def test_grids_of_other_axes_are_refused(grid):
    with pytest.raises(ValueError, match="grid must be 2 integers from 1, one for each side of x, got"):
        jax.eval_shape(lambda: unet(grid=grid).init(KEY, jnp.zeros((1, 4, 4, 2)), 0.0))


def test_hidden_layers_after_the_sum_of_embeddings():
    network = Conditioning(8, CLASSES, layers=2)
    labels = jnp.array([0, 3])
    params = network.init(KEY, 0.5, labels, 2)["params"]
    h = Conditioning(8, CLASSES).apply({"params": params}, 0.5, labels, 2)
    for i in range(2):
        layer = params[f"hidden_{i}"]
        h = jax.nn.silu(h @ layer["kernel"] + layer["bias"])
    np.testing.assert_allclose(network.apply({"params": params}, 0.5, labels, 2), h, rtol=1e-5, atol=1e-6)


def test_drop_labels():
    labels = jnp.arange(10_000) % 10
    np.testing.assert_array_equal(drop_labels(KEY, labels, 0.0, 10), labels)
    np.testing.assert_array_equal(drop_labels(KEY, labels, 1.0, 10), 10)
    dropped = jax.jit(drop_labels)(KEY, labels, 0.1, 10)
    assert dropped.dtype == labels.dtype
    assert jnp.all((dropped == labels) | (dropped == 10))
    assert abs(float(jnp.mean(dropped == 10)) - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 10_000)
    assert not jnp.array_equal(dropped, drop_labels(jax.random.key(1), labels, 0.1, 10))
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\], got 1.5"):
        drop_labels(KEY, labels, 1.5, 10)
