"""Any mix of conditions, each of which an example may lack."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.networks import ABSENT, MLP, Masked, UNet, drop_conditions, noise_augmented
from scorekit.networks.conditioning import as_masked

CLASSES, BATCH = 3, 4
SIZES = {"vector_size": 2, "map_shape": (2, 2, 1)}
NETWORKS = {
    "unet": (UNet(channels=8, multipliers=(1,), num_classes=CLASSES, **SIZES), (4, 4, 1)),
    "mlp": (MLP(features=16, blocks=1, num_classes=CLASSES, **SIZES), (5,)),
}
RNG = np.random.default_rng(0)
CONDITIONS = {
    "labels": jnp.array([0, 1, 2, 0]),
    "vector": Masked(jnp.asarray(RNG.normal(size=(BATCH, 2)), jnp.float32), jnp.ones(BATCH, bool)),
    "dense_map": Masked(jnp.asarray(RNG.normal(size=(BATCH, 2, 2, 1)), jnp.float32), jnp.ones(BATCH, bool)),
}
NULLS = {"labels": CLASSES, "vector": ABSENT, "dense_map": ABSENT}
NONE = dict.fromkeys(CONDITIONS, 0.0)


@pytest.fixture(scope="module", params=NETWORKS)
def case(request):
    """Parameters away from the zeros of the initialisation, and the compiled network."""
    network, shape = NETWORKS[request.param]
    x = jnp.asarray(RNG.normal(size=(BATCH, *shape)), jnp.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x, 0.0)
    params = jax.tree.map(lambda s: jnp.asarray(0.4 * RNG.normal(size=s.shape), s.dtype), shapes)
    return network, params, jax.jit(network.apply), x


def difference(a, b):
    return np.abs(np.asarray(a) - np.asarray(b)).reshape(BATCH, -1).max(1)


def test_every_condition_matters_and_dropped_rows_are_the_null_branch(case):
    _, params, apply, x = case
    full = apply(params, x, 0.3, **CONDITIONS)
    for name in CONDITIONS:
        null = apply(params, x, 0.3, **{**CONDITIONS, name: None})
        assert (difference(full, null) > 1e-3).all(), name
        some = jax.tree.map(lambda c, u: c.at[1::2].set(u), CONDITIONS[name], NULLS[name])
        mixed = apply(params, x, 0.3, **{**CONDITIONS, name: some})
        np.testing.assert_array_equal(mixed[1::2], null[1::2], name)
        np.testing.assert_array_equal(mixed[::2], full[::2], name)
    # Everything dropped by the dropout is the network without conditions.
    dropped = drop_conditions(jax.random.key(0), CONDITIONS, NULLS, NONE, joint_rate=1.0)
    nulled = jax.tree.map(lambda c, u: jnp.full_like(c, u), CONDITIONS, NULLS)
    np.testing.assert_array_equal(apply(params, x, 0.3, **dropped), apply(params, x, 0.3, **nulled))
    np.testing.assert_allclose(apply(params, x, 0.3, **dropped), apply(params, x, 0.3), rtol=1e-4, atol=1e-5)


def test_what_lies_behind_an_absent_value_does_not_matter(case):
    """Not even NaN, forward or backward."""
    network, params, apply, x = case
    hidden = Masked(jnp.full((BATCH, 2), jnp.nan), jnp.array([False, True, True, True]))
    real = hidden._replace(value=jnp.ones((BATCH, 2)))
    one = lambda condition: apply(params, x, 0.3, vector=condition)
    np.testing.assert_array_equal(one(hidden)[0], one(real)[0])
    if isinstance(network, UNet):
        return  # the same masking; only slower to compile
    grad = jax.jit(jax.grad(lambda p: network.apply(p, x[:1], 0.3, vector=jax.tree.map(lambda v: v[:1], hidden)).sum()))
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grad(params)))


def test_an_array_is_present_for_all_and_one_value_serves_all(case):
    _, params, apply, x = case
    vector, present = CONDITIONS["vector"]
    whole = apply(params, x, 0.3, vector=Masked(vector, present))
    np.testing.assert_array_equal(apply(params, x, 0.3, vector=vector), whole)
    one = apply(params, x, 0.3, vector=vector[0])
    np.testing.assert_array_equal(one, apply(params, x, 0.3, vector=jnp.broadcast_to(vector[0], vector.shape)))


def test_null_tokens_learn_from_dropped_rows_and_embeddings_from_the_others(case):
    network, params, _, x = case
    loss = lambda p, rows: jnp.sum(network.apply(p, x, 0.3, **rows)[1:] ** 2)  # the first row has no loss

    def gradient(present):
        masks = jnp.array(present)
        rows = {
            "labels": jnp.where(masks, CONDITIONS["labels"], CLASSES),
            **{name: CONDITIONS[name]._replace(present=masks) for name in ("vector", "dense_map")},
        }
        found = jax.tree_util.tree_leaves_with_path(grad(params, rows))
        norms = {jax.tree_util.keystr(path): float(jnp.abs(g).max()) for path, g in found}
        null = {k: v for k, v in norms.items() if k.endswith("'null']")}
        given = {k: v for k, v in norms.items() if "kernel" in k and ("'vector'" in k or "'map'" in k)}
        assert len(null) == len(given) == 2
        return [*null.values()], [*given.values()]

    grad = jax.jit(jax.grad(loss))
    null, given = gradient([False, True, True, True])
    assert max(null) == 0  # the row that is dropped is the one without a loss
    assert min(given) > 1e-4
    null, given = gradient([True, False, False, False])
    assert min(null) > 1e-4
    assert max(given) == 0
    null, given = gradient([True, True, False, False])
    assert min(null + given) > 1e-4


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"vector": np.ones((BATCH, 3))}, r"vector must have shape \(4, 2\), got \(4, 3\)"),
        ({"dense_map": np.ones((BATCH, 2, 2))}, r"dense_map must have shape \(4, 2, 2, 1\), got \(4, 2, 2\)"),
        (
            {"vector": Masked(np.ones((BATCH, 2)), np.ones(3, bool))},
            r"vector.present .*\(4,\) booleans, got \(3,\) bool",
        ),
        ({"vector": Masked(np.ones((BATCH, 2)), np.ones(BATCH))}, r"vector.present .*, got \(4,\) float"),
    ],
)
def test_refusals(case, conditions, message):
    network, params, _, x = case
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: network.apply(params, x, 0.3, **conditions))


def test_a_network_without_a_condition_refuses_it():
    assert as_masked("vector", None, None, BATCH) is None
    with pytest.raises(ValueError, match="dense_map must be None for a network that was built without it"):
        jax.eval_shape(lambda: MLP(features=8).init(jax.random.key(0), np.ones((2, 3)), 0.0, dense_map=np.ones((2, 2))))


def test_a_map_is_resized_linearly_and_convolved_like_a_further_channel():
    """A U-Net whose first convolutions alone act (all later branches start at zero) sees [x, map] concatenated."""
    network, shape = NETWORKS["unet"]
    x, (value, _) = jnp.asarray(RNG.normal(size=(BATCH, *shape)), jnp.float32), CONDITIONS["dense_map"]

    @jax.jit
    def run(key, x, value):
        params = network.init(key, x, 0.0)
        _, seen = network.apply(params, x, 0.0, dense_map=value, capture_intermediates=True)
        return params["params"], seen["intermediates"]

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
    """Which rows lost which condition, after checking that rows are either untouched or the null."""
    lost = {"labels": out["labels"] == 10, "vector": ~out["vector"].present}
    np.testing.assert_array_equal(out["labels"][~lost["labels"]], MANY["labels"][~lost["labels"]])
    np.testing.assert_array_equal(out["vector"].value[:, 0], jnp.where(lost["vector"], 0.0, 1.0))
    lost["dense_map"] = out["dense_map"].value[:, 0, 0, 0] == 0
    np.testing.assert_array_equal(out["dense_map"].present, MANY["dense_map"].present & ~lost["dense_map"])
    assert jax.tree.map(lambda a: (a.shape, a.dtype), out) == jax.tree.map(lambda a: (a.shape, a.dtype), MANY)
    return {name: np.asarray(rows) for name, rows in lost.items()}


def near(rows, rate):
    return abs(rows.mean() - rate) <= 4 * np.sqrt(rate * (1 - rate) / len(rows)) + 1e-12


def test_rates_are_met_independently_and_jointly():
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
    for name, untouched in MANY.items():
        kept = drop(jax.random.key(0), dict.fromkeys(rates, 0.0), 0.0)[name]
        assert jax.tree.all(jax.tree.map(np.array_equal, kept, untouched))


def test_dropout_refuses_other_names_and_rates_that_are_none():
    labels = {"labels": jnp.arange(3)}
    with pytest.raises(ValueError, match=r"rates must have the names \['labels'\] of conditions, got \['vector'\]"):
        drop_conditions(jax.random.key(0), labels, {"labels": 3}, {"vector": 0.1})
    with pytest.raises(ValueError, match=r"rates\[labels\] must be in \[0, 1\], got -1"):
        drop_conditions(jax.random.key(0), labels, {"labels": 3}, {"labels": -1})
    with pytest.raises(ValueError, match=r"joint_rate must be in \[0, 1\], got 2"):
        drop_conditions(jax.random.key(0), labels, {"labels": 3}, {"labels": 0.1}, 2)
    assert drop_conditions(jax.random.key(0), {}, {}, {}) == {}


def test_noise_augmentation_keeps_the_variance_and_tells_the_level():
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
    whole = noise_augmented(Masked(value), 0.0)
    np.testing.assert_array_equal(whole.value[..., :2], value)
    assert whole.present is True
