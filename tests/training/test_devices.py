"""The result of training depends on the seed and the global batch, not on the devices."""

import functools
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from scorekit.networks import MLP
from scorekit.training import (
    Checkpoints,
    Shard,
    init_state,
    make_mesh,
    make_optimizer,
    make_train_step,
    place_state,
    restore_params,
    state_sharding,
)
from scorekit.training._placement import ring_of

pytestmark = pytest.mark.skipif(len(jax.devices()) < 4, reason="needs 4 (simulated) devices")

NETWORK = MLP(features=8, blocks=1, num_classes=3)
OPTIMIZERS = {name: make_optimizer(1e-2, warmup_steps=1, total_steps=20, name=name) for name in ("adamw", "muon")}
RNG = np.random.default_rng(0)
BATCHES = [{"x": RNG.normal(size=(16, 4)).astype(np.float32), "y": RNG.integers(0, 3, 16)} for _ in range(4)]


def prepare(key, batch):
    draws = jax.random.normal(key, (len(batch["x"]), 5))
    t, eps = jax.nn.sigmoid(draws[:, 0]), draws[:, 1:]
    return {"x_t": (1 - t)[:, None] * batch["x"] + t[:, None] * eps, "t": t, "eps": eps, "y": batch["y"]}


def loss(params, batch):
    error = NETWORK.apply(params, batch["x_t"], batch["t"], batch["y"]) - batch["eps"]
    return jnp.mean(error**2, axis=1), {"t": batch["t"]}


@functools.cache
def params():
    init = jax.jit(NETWORK.init)
    return jax.device_get(init(jax.random.key(0, impl="rbg"), jnp.ones((1, 4)), 0.0, jnp.zeros(1, int)))


def start(optimizer="adamw"):
    return init_state(jax.random.key(5), jax.tree.map(jnp.array, params()), OPTIMIZERS[optimizer], (0.9,))


@functools.cache
def train(devices, fsdp=1, optimizer="adamw", **kwargs):
    """The state and the metrics after all batches."""
    mesh = make_mesh(fsdp=fsdp, devices=jax.devices()[:devices])
    step = make_train_step(prepare, loss, OPTIMIZERS[optimizer], mesh=mesh, **kwargs)
    state, metrics = start(optimizer), []
    for batch in BATCHES:
        state, m = step(state, batch)
        metrics.append(m)
    return state, metrics


LAYOUTS = [
    {"devices": 4},
    {"devices": 4, "fsdp": 2},
    {"devices": 4, "fsdp": 4, "accumulate": 2},
    {"devices": 2, "parallel": "pmap"},
    {"devices": 4, "parallel": "pmap", "accumulate": 2},
    {"devices": 4, "fsdp": 2, "optimizer": "muon"},
]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_result_is_independent_of_the_layout_up_to_rounding(layout):
    state, metrics = train(**layout)
    optimizer = layout.get("optimizer", "adamw")
    one_device = jax.device_get(train(devices=1, optimizer=optimizer))
    atol = 1e-4 if optimizer == "muon" else 2e-5  # Muon amplifies rounding errors
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(one_device[0]), strict=True):
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(jax.device_get(a), b, rtol=1e-4, atol=atol)
    chex.assert_trees_all_close(metrics, one_device[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parallel", ["jit", "pmap"])
def test_batch_may_be_on_any_device(parallel):
    mesh = make_mesh(devices=jax.devices()[:2])
    plain = lambda p, b: (jnp.mean((b["x"] - p["w"]) ** 2, axis=1), {})
    step = make_train_step(lambda key, batch: batch, plain, optax.sgd(0.1), mesh=mesh, parallel=parallel)
    state = lambda: init_state(jax.random.key(0), {"w": jnp.zeros(4)}, optax.sgd(0.1), ())
    expected = jax.device_get(step(state(), BATCHES[0])[1]["loss"])
    for sharding in (None, jax.devices()[3], NamedSharding(mesh, PartitionSpec())):
        batch = jax.device_put(BATCHES[0], sharding)
        np.testing.assert_array_equal(step(state(), batch)[1]["loss"], expected)


@pytest.mark.slow
def test_fsdp_splits_parameters_averages_and_moments():
    state, _ = train(devices=4, fsdp=2)
    kernel = lambda tree: tree["params"]["dense_0"]["kernel"]
    moments = next(s for s in state.opt_state[1] if hasattr(s, "mu"))
    for tree in (state.params, state.ema["0.9"], moments.mu):
        assert kernel(tree).sharding.spec in (PartitionSpec("fsdp"), PartitionSpec("fsdp", None))
        assert kernel(tree).addressable_shards[0].data.shape == (4, 8)
    assert state.step.is_fully_replicated


def test_state_sharding_shards_the_longest_divisible_axis():
    mesh = make_mesh(fsdp=2, devices=jax.devices()[:4])
    tree = {"long": jnp.ones((3, 8, 4)), "odd": jnp.ones((3, 5)), "scalar": jnp.ones(()), "empty": jnp.ones((0,))}
    spec = {k: s.spec for k, s in state_sharding(tree, mesh).items()}
    assert spec == {
        "long": PartitionSpec(None, "fsdp"),
        "odd": PartitionSpec(),
        "scalar": PartitionSpec(),
        "empty": PartitionSpec(),
    }
    tiled = {"kernel": jnp.ones((16, 48)), "lanes": jnp.ones((8, 256))}
    assert {k: s.spec for k, s in state_sharding(tiled, mesh).items()} == {
        "kernel": PartitionSpec("fsdp"),
        "lanes": PartitionSpec(None, "fsdp"),
    }
    whole = make_mesh(devices=jax.devices()[:4])
    assert all(s.spec == PartitionSpec() for s in state_sharding(tree, whole).values())


@pytest.mark.slow
@pytest.mark.parametrize("layout", [LAYOUTS[1], LAYOUTS[3], LAYOUTS[5]], ids=str)
def test_checkpoints_are_independent_of_the_layout(tmp_path, layout):
    state, _ = train(**layout)
    fresh = functools.partial(start, optimizer=layout.get("optimizer", "adamw"))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(4, state)
        plain = checkpoints.restore_latest(jax.eval_shape(lambda: fresh()))
        mesh = make_mesh(fsdp=4, devices=jax.devices()[:4])
        placed = checkpoints.restore_latest(place_state(fresh(), mesh))
    assert plain is not None
    assert placed is not None
    saved, *others = ((each.params, each.opt_state) for each in (state, plain.state, placed.state))
    for each in others:
        chex.assert_trees_all_equal(jax.device_get(each), jax.device_get(saved))
    chex.assert_trees_all_equal(jax.device_get(restore_params(tmp_path)[1]), jax.device_get(state.params))
    kernel = placed.state.params["params"]["dense_0"]["kernel"]
    assert kernel.addressable_shards[0].data.shape == (2, 8)


def test_rings_gather_and_scatter_as_all_devices_do():
    """Parameters in full, and gradients summed over all devices, by rings of two and then across them."""
    mesh = make_mesh(fsdp=4, devices=jax.devices()[:4])
    x = jax.random.normal(jax.random.key(0), (8, 3))
    spec, whole = PartitionSpec("fsdp"), PartitionSpec()

    def weighted(part, ring):
        full = Shard(part, -2, "fsdp", ring).gather()
        return full, jnp.sum(full**2) * (1.0 + jax.lax.axis_index("fsdp"))

    def value_and_gradient(ring):
        def of_device(part):
            gradient = jax.grad(lambda part: weighted(part, ring)[1])(part)
            return weighted(part, ring)[0], gradient

        spread = jax.shard_map(of_device, mesh=mesh, in_specs=spec, out_specs=(whole, spec), check_vma=False)
        return jax.jit(spread)(x)

    full, gradient = value_and_gradient(2)
    np.testing.assert_array_equal(full, x)
    np.testing.assert_allclose(gradient, 2 * x * (1 + 2 + 3 + 4), rtol=1e-6)
    np.testing.assert_allclose(gradient, value_and_gradient(0)[1], rtol=1e-6)


@pytest.mark.parametrize(("chips", "fsdp", "ring"), [(16, 16, 4), (64, 64, 8), (32, 32, 4), (8, 8, 0), (32, 16, 0)])
def test_rings_are_of_tpus_that_all_hold_one_copy(chips, fsdp, ring):
    of = lambda platform: SimpleNamespace(
        shape={"fsdp": fsdp, "data": chips // fsdp}, devices=np.array([SimpleNamespace(platform=platform)])
    )
    assert ring_of(of("tpu")) == ring
    assert ring_of(of("gpu")) == 0
