"""Masked conditions, conditioning dropout and noise conditioning augmentation."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.networks import ABSENT, Masked, UNet, drop_conditions, drop_labels, noise_augmented
from scorekit.networks._conditions import as_masked

CLASSES, BATCH = 3, 4
RNG = np.random.default_rng(0)


def test_as_masked_zeroes_absent_values_and_broadcasts():
    vector = jnp.asarray(RNG.normal(size=(BATCH, 2)), jnp.float32)
    masked = as_masked("vector", Masked(vector.at[1].set(jnp.nan), jnp.array([True, False, True, True])), (2,), BATCH)
    np.testing.assert_array_equal(masked.value, vector.at[1].set(0.0))
    for given in (vector[0], Masked(vector[0]), Masked(vector[0], jnp.ones(BATCH, bool))):
        masked = as_masked("vector", given, (2,), BATCH)
        np.testing.assert_array_equal(masked.value, jnp.broadcast_to(vector[0], (BATCH, 2)))
        assert masked.present.all()
    for absent in (None, ABSENT):
        masked = as_masked("vector", absent, (2,), BATCH)
        assert masked.value.shape == (BATCH, 2)
        assert not masked.value.any()
        assert not masked.present.any()
    assert as_masked("vector", None, None, BATCH) is None


def test_drop_labels_replaces_labels_at_the_given_rate():
    key = jax.random.key(0)
    labels = jnp.arange(10_000) % 10
    np.testing.assert_array_equal(drop_labels(key, labels, 0.0, 10), labels)
    np.testing.assert_array_equal(drop_labels(key, labels, 1.0, 10), 10)
    dropped = jax.jit(drop_labels)(key, labels, 0.1, 10)
    assert dropped.dtype == labels.dtype
    assert jnp.all((dropped == labels) | (dropped == 10))
    assert abs(float(jnp.mean(dropped == 10)) - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 10_000)
    assert not jnp.array_equal(dropped, drop_labels(jax.random.key(1), labels, 0.1, 10))


@pytest.mark.slow
def test_dense_map_is_resized_linearly_and_convolved_like_further_channels():
    """At initialisation only the first convolutions of a U-Net act, as one convolution of [x, map] concatenated."""
    network = UNet(channels=8, multipliers=(1,), num_classes=CLASSES, map_shape=(2, 2, 1))
    x, value = (jnp.asarray(RNG.normal(size=(BATCH, n, n, 1)), jnp.float32) for n in (4, 2))

    @jax.jit
    def run(key, x, value):
        params = network.init(key, x, 0.0)
        _, state = network.apply(params, x, 0.0, dense_map=value, capture_intermediates=True)
        return params["params"], state["intermediates"]

    params, first = run(jax.random.key(0, impl="rbg"), x, value)
    kernel = jnp.concatenate([params["input"]["kernel"], params["map"]["kernel"]], axis=2)
    resized = np.zeros((BATCH, 4, 4, 1), np.float32)  # half-pixel bilinear: weights 3/4 and 1/4, clamped at the border
    weights = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    for b in range(BATCH):
        resized[b, ..., 0] = weights @ np.asarray(value)[b, ..., 0] @ weights.T
    both = jnp.concatenate([x, resized], -1)
    expected = nn.Conv(8, (3, 3)).apply({"params": {"kernel": kernel, "bias": jnp.zeros(8)}}, both)
    np.testing.assert_allclose(
        first["input"]["__call__"][0] + first["map_or_null"]["__call__"][0], expected, rtol=1e-4, atol=1e-5
    )


N = 20_000
MANY = {
    "labels": jnp.arange(N) % 10,
    "vector": Masked(jnp.ones((N, 2)), jnp.ones(N, bool)),
    "dense_map": Masked(jnp.ones((N, 1, 1, 1), jnp.bfloat16), jnp.arange(N) % 2 == 0),
}
MANY_NULLS = {"labels": 10, "vector": ABSENT, "dense_map": ABSENT}


def dropped_rows(out):
    """The rows that lost each condition, after checking that all rows are either unchanged or null."""
    lost = {"labels": out["labels"] == 10, "vector": ~out["vector"].present}
    np.testing.assert_array_equal(out["labels"][~lost["labels"]], MANY["labels"][~lost["labels"]])
    np.testing.assert_array_equal(out["vector"].value[:, 0], jnp.where(lost["vector"], 0.0, 1.0))
    lost["dense_map"] = out["dense_map"].value[:, 0, 0, 0] == 0
    np.testing.assert_array_equal(out["dense_map"].present, MANY["dense_map"].present & ~lost["dense_map"])
    assert jax.tree.map(lambda a: (a.shape, a.dtype), out) == jax.tree.map(lambda a: (a.shape, a.dtype), MANY)
    return {name: np.asarray(rows) for name, rows in lost.items()}


def near(rows, rate):
    return abs(rows.mean() - rate) <= 4 * np.sqrt(rate * (1 - rate) / len(rows)) + 1e-12


@pytest.mark.slow
def test_drop_conditions_drops_independently_and_jointly_at_the_given_rates():
    drop = jax.jit(lambda key, rates, joint: drop_conditions(key, MANY, MANY_NULLS, rates, joint))
    rates = {"labels": 0.1, "vector": 0.2, "dense_map": 0.5}
    lost = dropped_rows(drop(jax.random.key(0), rates, 0.0))
    assert all(near(lost[name], rates[name]) for name in rates)
    for a, b in (("labels", "vector"), ("labels", "dense_map"), ("vector", "dense_map")):
        assert near(lost[a] & lost[b], rates[a] * rates[b]), (a, b)
    together = dropped_rows(drop(jax.random.key(1), dict.fromkeys(rates, 0.0), 0.15))
    assert near(together["labels"], 0.15)
    np.testing.assert_array_equal(together["labels"], together["vector"])
    np.testing.assert_array_equal(together["labels"], together["dense_map"])
    both = dropped_rows(drop(jax.random.key(2), rates, 0.15))
    assert all(near(both[name], 1 - 0.85 * (1 - rates[name])) for name in rates)
    assert not np.array_equal(lost["labels"], dropped_rows(drop(jax.random.key(3), rates, 0.0))["labels"])
    for name, original in MANY.items():
        kept = drop(jax.random.key(0), dict.fromkeys(rates, 0.0), 0.0)[name]
        assert jax.tree.all(jax.tree.map(np.array_equal, kept, original))


def test_noise_augmented_preserves_variance_and_appends_the_level():
    value = jax.random.normal(jax.random.key(1), (3, 2000, 2))
    eps = jax.random.normal(jax.random.key(2), value.shape)
    levels = jnp.array([0.0, 0.6, 1.0])
    present = jnp.array([True, False, True])
    found = noise_augmented(Masked(value, present), levels, eps)
    assert found.value.shape == (3, 2000, 3)
    np.testing.assert_array_equal(found.present, present)
    np.testing.assert_array_equal(found.value[..., 2], jnp.broadcast_to(levels[:, None], (3, 2000)))
    np.testing.assert_array_equal(found.value[0, :, :2], value[0])
    np.testing.assert_allclose(found.value[1, :, :2], 0.8 * value[1] + 0.6 * eps[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.value[2, :, :2], eps[2])
    np.testing.assert_allclose(found.value[..., :2].std((1, 2)), 1, atol=0.05)
    clean = noise_augmented(Masked(value), 0.0)
    np.testing.assert_array_equal(clean.value[..., :2], value)
    assert clean.present is True
