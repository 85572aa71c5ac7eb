"""Costs of a training step: operations, what it moves and holds on several devices, and the program."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import succeeds

from experiments.benchmarks.cost import layouts
from experiments.planning.counting import flops
from scorekit.networks import DiT, UNet

four_devices = pytest.mark.skipif(len(jax.devices()) < 4, reason="needs 4 (simulated) devices")

NETWORKS = {
    "UNet": UNet(channels=8, blocks=1, multipliers=(1, 2), num_classes=10),
    "DiT": DiT(depth=4, width=32, heads=2, num_classes=10, remat=True),
}


def cost(name, devices, fsdp, size=8):
    step, state = layouts.make(NETWORKS[name], devices, fsdp)
    params = sum(x.nbytes for x in jax.tree.leaves(state.params))
    return layouts.measure(step, state, layouts.batch_of(size)), params


@four_devices
@pytest.mark.slow
@pytest.mark.parametrize(("name", "split"), [("UNet", (4,)), ("DiT", (2, 4))], ids=NETWORKS)
def test_what_a_step_costs_each_device(name, split):
    one, params = cost(name, 1, 1)
    assert one.moved < 100  # that of the loss
    for fsdp in split:
        found, _ = cost(name, 4, fsdp)
        assert 1.9 < found.moved / params < 3.05
        assert found.flops < 1.2 * one.flops / 4
        assert found.state < 1.1 * one.state / fsdp
    double, _ = cost(name, 4, 4, size=16)
    np.testing.assert_allclose(double.moved, found.moved, rtol=0.02)  # whatever the batch


@four_devices
@pytest.mark.slow
def test_blocks_gathered_inside_their_loop_take_less_memory():
    """Of the parameters of four blocks, wide ones, one is gathered at a time."""
    network = DiT(depth=8, width=64, heads=2, num_classes=10, remat=True)
    batch = layouts.batch_of(4)
    inside = layouts.measure(*layouts.make(network, 4, 4), batch)
    object.__setattr__(network, "gathers", ())
    outside = layouts.measure(*layouts.make(network, 4, 4), batch)
    assert inside.temporary < outside.temporary
    assert inside.moved > outside.moved


@four_devices
@pytest.mark.slow
def test_parameters_are_those_of_one_device():
    for name in NETWORKS:
        after = {}
        for devices, fsdp in ((1, 1), (4, 4)):
            step, state = layouts.make(NETWORKS[name], devices, fsdp)
            for _ in range(3):
                state, _ = step(state, layouts.batch_of(8))
            after[devices] = jax.device_get(state.params)
        for a, b in zip(*map(jax.tree.leaves, after.values()), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_traffic_counts_loops_as_often_as_they_run():
    hlo = """HloModule m
%body (p: f32[4]) -> f32[4] {
  %a = f32[4]{0} all-gather(%p), replica_groups={{0,1}}, dimensions={0}
  %r = f32[2]{0} reduce-scatter(%a), replica_groups={{0,1}}, to_apply=%add
}
ENTRY %main (p: f32[4]) -> f32[4] {
  %w = f32[4]{0} while(%p), condition=%c, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %t = (bf16[4]{0}, f32[]) all-reduce(%w, %w), to_apply=%add
}
"""
    assert layouts.traffic(hlo) == (3 * (16 + 2 * 8) + 2 * (8 + 4), 7)


def test_layouts_are_replicated_halved_and_split():
    assert layouts.layouts(4) == [(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4)]


@pytest.fixture
def cache_as_before():
    name = "jax_enable_compilation_cache"
    before = getattr(jax.config, name)
    yield
    jax.config.update(name, before)


@pytest.mark.slow
@pytest.mark.usefixtures("cache_as_before")
def test_every_figure_has_both_sides_and_they_agree_with_one_another():
    flags = ["--config.network.features=8", "--config.network.blocks=1", "--config.training.batch_size=16"]
    flags += ["--config.sampling.batch_size=20", "--config.sampling.steps=2", "--turns=3"]
    config = "--config=experiments/configs/points/mixture_2d.py"
    out = succeeds("benchmarks.cost", "--table=step", config, *flags)
    rows = {name: [*map(float, cells)] for name, *cells in re.findall(r"^(\S.*?) {2,}(\S+) +(\S+) +(\S+)$", out, re.M)}
    assert len(rows) == 8
    assert all(value > 0 for row in rows.values() for value in row)
    operations, peak = map(float, re.findall(r"^operations: (\S+) G a step, peak (\S+) T/s", out, re.M)[0])
    for side in range(2):
        seconds = rows["training step, ms"][side] / 1e3
        assert rows["training, examples/s at batch 16"][side] == pytest.approx(16 / seconds, rel=1e-2)
        share = 1e9 * operations / (seconds * 1e12 * peak) / jax.device_count()
        assert rows["utilisation, %"][side] == pytest.approx(100 * share, rel=1e-2)
    assert 0 <= float(re.findall(r"^waiting for data: ([\d.]+)%", out, re.M)[0]) <= 100


def test_operations_are_those_of_products_as_often_as_they_run():
    def two_layers(w, x):
        x = jax.lax.scan(lambda x, _: (jax.jit(jnp.dot)(x, w), None), x, length=3)[0]
        return jax.lax.conv(x[None, None], jnp.ones((5, 1, 2, 2)), (1, 1), "VALID")

    jaxpr = jax.make_jaxpr(two_layers)(jnp.ones((4, 4)), jnp.ones((7, 4))).jaxpr
    assert flops(jaxpr) == 3 * 2 * 7 * 4 * 4 + 2 * 5 * 6 * 3 * 4
