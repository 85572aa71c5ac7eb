"""Contracts of the networks of ``scorekit.networks.DENOISING``: shapes, conditioning, training and precision.

The networks run op by op here: compiled operations are shared between the many combinations of conditions.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks.small_networks import BATCH, CASES, CLASSES, MAP_SHAPES, SIDES, build

from scorekit.networks import ABSENT, EDM2, Masked, SongUNet, drop_conditions

SLOW = {name for name in CASES if not name.startswith(("MLP", "UNet-2d", "WaveNet"))}
SAME = {"DiT-1d", "ResidualUNet-1d", "UNet-1d"}
"""Their blocks are those of two dimensions, where the whole contract is tested; here shapes are."""
RNG = np.random.default_rng(0)
NOISE = np.linspace(-5, 5, BATCH, dtype=np.float32)
NULLS = {"labels": CLASSES, "vector": ABSENT, "dense_map": ABSENT}


class Contract:
    """A network, its parameters at initialisation and perturbed, an input and all conditions."""

    def __init__(self, network, axes, options):
        normal = lambda *shape: RNG.normal(size=shape).astype(np.float32)
        self.make = lambda **more: build(network, axes, options, **more)
        self.network, self.x = self.make(), normal(BATCH, *SIDES[axes], 2)
        present = np.ones(BATCH, bool)
        self.conditions = {
            "labels": np.arange(BATCH, dtype=np.int32) % CLASSES,
            "vector": Masked(normal(BATCH, 2), present),
            "dense_map": Masked(normal(BATCH, *MAP_SHAPES[axes]), present),
        }
        of_noise = jax.ShapeDtypeStruct(NOISE.shape, NOISE.dtype)
        of_x = jax.ShapeDtypeStruct(self.x.shape, self.x.dtype)
        initialise = jax.jit(lambda key: self.network.lazy_init(key, of_x, of_noise))  # compiles no network
        self.fresh = jax.device_get(initialise(jax.random.key(0, impl="rbg")))
        perturb = lambda p: np.asarray(p + 0.3 * RNG.normal(size=p.shape), p.dtype)
        self.params = jax.tree.map(perturb, self.fresh)
        chex.clear_trace_counter()  # of the other cases
        compiled = jax.jit(jax.grad(chex.assert_max_traces(self._loss, n=1)))
        self.gradient = lambda *args: jax.device_get(
            compiled(*jax.tree.map(np.asarray, args))
        )  # numpy has no weak types: one trace

    def _loss(self, params, noise, weight, target, conditions):
        error = (self.network.apply(params, self.x, noise, **conditions) - target) ** 2
        return jnp.sum(weight * error.reshape(BATCH, -1).mean(1))

    def __call__(self, params=None, x=None, noise=NOISE, **conditions):
        params, x = self.params if params is None else params, self.x if x is None else x
        return np.asarray(self.network.apply(params, x, noise, **{**self.conditions, **conditions}))

    @functools.cached_property
    def output(self):
        """Of the perturbed network, with all conditions."""
        return self()


@pytest.fixture(
    scope="module",
    params=[pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in CASES if n not in SAME],
)
def case(request):
    return Contract(*CASES[request.param])


def distance(a, b):
    """The largest difference of each example."""
    return np.abs(a - b).reshape(BATCH, -1).max(1)


def with_null_at_odd(condition, null):
    """A condition with the null value at every second example."""
    condition = np.array(condition)
    condition[1::2] = null
    return condition


def others(x, value):
    """``x`` with all examples but the first replaced."""
    return np.concatenate([x[:1], np.full_like(x[1:], value)])


def named(tree):
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def trained(variables):
    """By name, without those of the collection ``constants``."""
    return {name: leaf for name, leaf in named(variables).items() if not name.startswith("['constants']")}


@pytest.mark.slow
def test_output_is_float32_shaped_like_the_input_and_zero_at_initialisation(case):
    y = case(case.fresh)
    assert y.shape == case.x.shape
    assert y.dtype == np.float32
    assert not y.any()


@pytest.mark.slow
def test_missing_conditions_are_the_null_branch(case):
    full = case.output
    for name in case.conditions:
        null = case(**{name: None})
        assert (distance(full, null) > 1e-3).all(), name
        some = jax.tree.map(with_null_at_odd, case.conditions[name], NULLS[name])
        mixed = case(**{name: some})
        np.testing.assert_array_equal(mixed[1::2], null[1::2], name)
        np.testing.assert_array_equal(mixed[::2], full[::2], name)
    rates = dict.fromkeys(case.conditions, 0.0)
    drop = jax.jit(lambda key, given: drop_conditions(key, given, NULLS, rates, joint_rate=1.0))
    dropped = drop(jax.random.key(0), case.conditions)
    nulls = jax.tree.map(lambda c, u: np.full_like(c, u), case.conditions, NULLS)
    np.testing.assert_array_equal(case(**dropped), case(**nulls))
    np.testing.assert_allclose(case(**dropped), case(**dict.fromkeys(nulls)), rtol=1e-4, atol=1e-5)


def test_scalars_and_unmasked_arrays_broadcast(case):
    np.testing.assert_array_equal(case(noise=0.7), case(noise=np.full(BATCH, 0.7, np.float32)))
    np.testing.assert_array_equal(case(labels=1), case(labels=np.full(BATCH, 1)))
    vector = case.conditions["vector"].value
    np.testing.assert_array_equal(case(vector=vector), case.output)
    np.testing.assert_array_equal(case(vector=vector[0]), case(vector=np.broadcast_to(vector[0], vector.shape)))


def test_labels_out_of_range_give_nan(case):
    y = case(labels=np.array([0, 1, CLASSES, CLASSES + 1]))
    assert np.all(np.isfinite(y[:3]))
    assert np.all(np.isnan(y[3]))


def test_examples_do_not_mix(case):
    np.testing.assert_allclose(case(x=others(case.x, 7.0))[0], case.output[0], rtol=1e-5, atol=1e-5)


def test_output_depends_on_the_noise_level(case):
    assert distance(case(noise=0.0), case(noise=0.2)).max() > 1e-3


@pytest.mark.slow
def test_absent_values_are_ignored_even_if_nan(case):
    hidden = Masked(np.full((BATCH, 2), np.nan, np.float32), np.array([False, True, True, True]))
    visible = hidden._replace(value=np.ones((BATCH, 2), np.float32))
    np.testing.assert_array_equal(case(vector=hidden)[0], case(vector=visible)[0])
    first = Masked(others(hidden.value, 1.0), hidden.present)
    conditions = {**case.conditions, "vector": first}
    gradient = case.gradient(case.params, NOISE, np.ones(BATCH, np.float32), np.zeros_like(case.x), conditions)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))


def test_null_tokens_and_embeddings_learn_from_the_examples_that_use_them(case):
    weight, target = np.array([0.0, 1.0, 1.0, 1.0], np.float32), np.zeros_like(case.x)

    def norms(present):
        present = np.array(present)
        rows = {
            "labels": np.where(present, case.conditions["labels"], np.int32(CLASSES)),
            **{name: case.conditions[name]._replace(present=present) for name in ("vector", "dense_map")},
        }
        found = named(case.gradient(case.params, np.full(BATCH, 0.3, np.float32), weight, target, rows))
        found = {name: float(np.abs(gradient).max()) for name, gradient in found.items()}
        null = [norm for name, norm in found.items() if name.endswith("'null']")]
        given = [norm for name, norm in found.items() if "kernel" in name and ("'vector'" in name or "'map'" in name)]
        assert len(given) == 2
        assert len(null) == (1 if isinstance(case.network, SongUNet) else 2)  # there, an absent vector is zero
        return null, given

    least = 1e-5 if isinstance(case.network, EDM2) else 1e-4  # there, the norm of the weights divides the gradient
    null, given = norms([False, True, True, True])
    assert max(null) == 0  # the only example without conditions has weight 0
    assert min(given) > least
    null, given = norms([True, False, False, False])
    assert min(null) > least
    assert max(given) == 0
    null, given = norms([True, True, False, False])
    assert min(null + given) > least


def test_every_parameter_is_trained_from_initialisation(case):
    params, weight = case.fresh, np.full(BATCH, 1 / BATCH, np.float32)
    present = np.array([True, True, True, False])
    rows = {
        "labels": np.arange(BATCH, dtype=np.int32),
        **{name: case.conditions[name]._replace(present=present) for name in ("vector", "dense_map")},
    }
    for i in range(4):  # weights that start at zero block the gradient: output layer, residual branches, their inputs
        gradient = case.gradient(params, NOISE, weight, case.x, rows)
        size = np.float32(0.02 * 2.0**-i)  # halved, so that steps cannot cancel
        params = jax.tree.map(lambda p, g, size=size: p - size * np.sign(g), params, gradient)
    assert not [name for name, g in trained(gradient).items() if not np.any(g)]
    start = named(case.fresh)
    assert not [name for name, p in trained(params).items() if np.array_equal(p, start[name])]
    constants = named(params).keys() - trained(params).keys()
    assert all(np.array_equal(named(params)[name], start[name]) for name in constants)


@pytest.mark.parametrize("name", sorted(SAME))
def test_networks_of_signals_have_the_shapes_of_the_contract(name):
    network, axes, options = CASES[name]
    x, conditions = np.ones((BATCH, *SIDES[axes], 2), np.float32), {"labels": 0, "vector": np.ones(2)}
    conditions["dense_map"] = np.ones((BATCH, *MAP_SHAPES[axes]))
    run = lambda: build(network, axes, options).init_with_output(jax.random.key(0), x, NOISE, **conditions)[0]
    assert jax.eval_shape(run) == jax.ShapeDtypeStruct(x.shape, jnp.float32)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"noise": np.zeros(3)}, r"noise must be a scalar or have shape \(4,\), got shape \(3,\)"),
        ({"labels": np.zeros(BATCH)}, r"labels must be integers, got dtype float"),
        ({"labels": np.zeros((BATCH, 1), int)}, r"labels must be a scalar or have shape \(4,\)"),
        ({"vector": np.ones((BATCH, 3))}, r"vector must have shape \(4, 2\), got \(4, 3\)"),
        ({"dense_map": np.ones((BATCH, 9))}, r"dense_map must have shape \(4, .*\), got \(4, 9\)"),
    ],
)
def test_conditions_of_wrong_shape_raise(case, conditions, message):
    given = {"noise": NOISE, **conditions}
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: case.network.apply(case.params, case.x, **given))


@pytest.mark.parametrize("case_name", CASES)
def test_networks_without_conditions_reject_them(case_name):
    network, axes, options = CASES[case_name]
    plain = build(network, axes, options, num_classes=None, vector_size=None, map_shape=None)
    x = np.ones((BATCH, *SIDES[axes], 2), np.float32)
    for condition in ({"labels": np.zeros(BATCH, int)}, {"vector": np.ones(2)}, {"dense_map": np.ones(2)}):
        (name,) = condition
        with pytest.raises(ValueError, match=f"{name} must be None"):
            jax.eval_shape(lambda condition=condition: plain.init(jax.random.key(0), x, 0.0, **condition))
    other = next(shape for n, shape in SIDES.items() if n not in network.spatial_axes)
    with pytest.raises(ValueError, match="x must have shape"):
        jax.eval_shape(lambda: plain.init(jax.random.key(0), np.ones((BATCH, *other, 2)), 0.0))
