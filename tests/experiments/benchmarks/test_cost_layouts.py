"""A training step moves at most three times the parameters, computes nothing twice, holds its share of the state."""

import jax
import numpy as np
import pytest

from experiments.benchmarks.cost import layouts
from scorekit.networks import DiT, UNet

pytestmark = pytest.mark.skipif(len(jax.devices()) < 4, reason="needs 4 (simulated) devices")

NETWORKS = {
    "UNet": UNet(channels=8, blocks=1, multipliers=(1, 2), num_classes=10),
    "DiT": DiT(depth=4, width=32, heads=2, num_classes=10, remat=True),
}


def cost(name, devices, fsdp, size=8):
    step, state = layouts.make(NETWORKS[name], devices, fsdp)
    params = sum(x.nbytes for x in jax.tree.leaves(state.params))
    return layouts.measure(step, state, layouts.batch_of(size)), params


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
