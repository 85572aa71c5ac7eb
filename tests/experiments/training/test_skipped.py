"""Steps whose loss is not finite are counted one by one, and the message says the true numbers."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.cli.endings import ProgramError
from experiments.training.skipped import SkippedSteps
from scorekit import flow_maps, schedules, training


class Computing:
    """A number on a device, which is ready when told."""

    def __init__(self, value):
        self.value, self.ready = value, False

    def copy_to_host_async(self):
        pass

    def is_ready(self):
        return self.ready

    def __array__(self, dtype=None, copy=None):
        assert self.ready, "waited for the device"
        return np.asarray(self.value, dtype)


@pytest.fixture
def late(monkeypatch):
    """Makes values that are computed later, as jax arrays."""
    monkeypatch.setattr("experiments.training.skipped.jax.Array", Computing)
    return Computing


def feed(steps, losses, first=1):
    for step, loss in enumerate(losses, first):
        steps.add(step, {"loss": np.float32(loss), "grad_norm": np.float32(1)})


def test_the_limit_is_exact():
    steps = SkippedSteps(3)
    feed(steps, [math.nan, math.inf, 1, math.nan, math.nan])
    with pytest.raises(ProgramError, match=r"in 3 steps in a row, 4 to 6 \(config.training.skip_limit=3\)"):
        feed(steps, [-math.inf], first=6)


def test_gradients_count_too_and_finite_steps_reset():
    steps = SkippedSteps(2)
    for step in range(1, 20):
        steps.add(step, {"loss": np.float32(1), "grad_norm": np.float32(math.nan if step % 2 else 1)})
    with pytest.raises(ProgramError, match="2 steps in a row, 19 to 20"):
        steps.add(20, {"loss": np.float32(1), "grad_norm": np.float32(math.inf)})


def test_steps_before_the_checkpoint_count():
    with pytest.raises(ProgramError, match="in 5 steps in a row, 8 to 12"):
        feed(SkippedSteps(5, in_a_row=3), [math.nan] * 2, first=11)


def test_a_step_is_not_waited_for_until_asked(late):
    steps, values = SkippedSteps(2), [late(math.nan) for _ in range(4)]
    for step, value in enumerate(values, 1):
        steps.add(step, {"loss": value, "grad_norm": value})  # would fail if it waited
    values[0].ready = True
    fifth = late(1.0)
    steps.add(5, {"loss": fifth, "grad_norm": fifth})
    values[2].ready = True  # the second is not: steps are counted in order
    steps.add(6, {"loss": fifth, "grad_norm": fifth})
    values[1].ready = values[3].ready = fifth.ready = True
    with pytest.raises(ProgramError, match="2 steps in a row, 1 to 2"):
        steps.wait()


def test_waiting_counts_every_step(late):
    steps, values = SkippedSteps(5), [late(math.nan) for _ in range(4)]
    for step, value in enumerate(values, 1):
        steps.add(step, {"loss": value, "grad_norm": value})
        value.ready = True
    steps.wait()
    with pytest.raises(ProgramError, match="5 steps in a row, 1 to 5"):
        feed(steps, [math.nan], first=5)


def test_a_flow_map_whose_tangent_explodes_is_not_updated_and_the_step_is_counted():
    """A map that is finite at every time, and whose derivative in t is not at t = 1/2."""
    schedule = schedules.rectified_flow()

    def loss(params, batch):
        bend = lambda t: 1.0 + jnp.sqrt(jnp.abs(t - 0.5))
        network = lambda x, t, s: params * bend(t)[:, None] * x
        flow_map = flow_maps.flow_map_from_network(network, schedule, "velocity")
        t = batch["t"]
        return flow_maps.eulerian_loss(flow_map, schedule, batch["x"], 0.5 * batch["x"], t, 0.1 * t), {}

    optimizer = optax.adam(0.1)
    state = training.init_state(jax.random.key(0), jnp.float32(1.0), optimizer, (0.9,))
    step, steps = training.make_train_step(lambda key, batch: batch, loss, optimizer), SkippedSteps(2)
    batch = lambda *t: {"x": np.ones((8, 2), np.float32), "t": np.resize(np.float32(t), 8)}
    for i, times in enumerate([(0.3, 0.7), (0.3, 0.5), (0.2, 0.9)], 1):
        before = jax.tree.map(np.asarray, (state.params, state.opt_state, state.ema))
        state, metrics = step(state, batch(*times))
        after = jax.tree.map(np.asarray, (state.params, state.opt_state, state.ema))
        assert np.isfinite(metrics["loss"]) == np.isfinite(metrics["grad_norm"]) == (i != 2)
        assert (before[0] == after[0]) == (i == 2)
        if i == 2:
            chex.assert_trees_all_equal(before, after)
        steps.add(i, metrics)
    steps.wait()
    assert (int(state.step), int(state.skipped), int(state.skipped_in_a_row)) == (3, 1, 0)
    limit, (_, metrics) = SkippedSteps(1), jax.block_until_ready(step(state, batch(0.5)))
    with pytest.raises(ProgramError, match="in 1 steps in a row, 4 to 4"):
        limit.add(4, metrics)
