"""Checkpoints: exact round trips, retention, and what a killed process leaves behind."""

import functools
import signal
import subprocess
import sys
import textwrap

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scorekit.training import Checkpoints, init_state, make_optimizer, make_train_step, restore_params

pytestmark = pytest.mark.usefixtures("frozen_heap")
assert_same = functools.partial(chex.assert_trees_all_equal, strict=True)
RNG = np.random.default_rng(0)


def tiny(value):
    return {"w": jnp.full(2, value, jnp.float32)}


def train_state():
    params = {"w": jnp.asarray(RNG.normal(size=(64, 33)), jnp.float32), "b": jnp.ones(5)}
    return init_state(jax.random.key(3), params, make_optimizer(0.1, warmup_steps=2, total_steps=50), (0.9, 0.999))


def other_types():
    return {
        "key": jax.random.split(jax.random.key(1, impl="rbg"), 2),
        "half": jnp.arange(5, dtype=jnp.bfloat16),
        "flag": jnp.array([True, False]),
        "list": [jnp.zeros(()), (jnp.ones(3, jnp.int8),)],
    }


@pytest.mark.parametrize("make", [train_state, other_types])
def test_round_trip_is_exact(tmp_path, make):
    tree, extra = make(), {"shards": [1]}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, tree, extra=extra)
        extra["shards"].append(2)  # of which the checkpoint holds a copy
        restored = checkpoints.restore_latest(jax.eval_shape(lambda: tree))
    assert (restored.step, restored.extra) == (3, {"shards": [1]})
    assert jax.tree.structure(restored.state) == jax.tree.structure(tree)
    assert_same(restored.state, tree)


def test_saving_does_not_race_with_donation(tmp_path):
    optimizer, batch = optax.sgd(100.0), {"x": np.ones(8, np.float32)}
    step = make_train_step(lambda k, b: b, lambda p, b: (b["x"] * jnp.mean(p["w"] ** 2), {}), optimizer)
    state, _ = step(init_state(jax.random.key(0), {"w": jnp.ones((1000, 1000))}, optimizer, ()), batch)
    before = jax.tree.map(jnp.copy, state)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        for _ in range(5):
            state, _ = step(state, batch)
        assert_same(checkpoints.restore_latest(state).state, before)


@pytest.mark.parametrize("params", [[jnp.ones(2), (jnp.zeros(3), jnp.arange(4.0))], jnp.arange(3.0)])
def test_parameters_may_be_any_tree(tmp_path, params):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, init_state(jax.random.key(0), params, optax.sgd(0.1), (0.9,)))
    for arguments in ({}, {"decay": 0.9}):
        assert_same(restore_params(tmp_path, like=params, **arguments)[1], params)
    found = restore_params(tmp_path)[1]
    for leaf, expected in zip(jax.tree.leaves(found), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(leaf, expected)


def test_empty_directory(tmp_path):
    with Checkpoints(tmp_path / "new") as checkpoints:
        assert checkpoints.restore_latest(tiny(0)) is None
        assert checkpoints.steps() == []
    for name, words in {"new": "no readable checkpoint in", "absent": "no checkpoint in"}.items():
        with pytest.raises(FileNotFoundError, match=words):
            restore_params(tmp_path / name)
    assert not (tmp_path / "absent").exists()


def test_saves_of_existing_steps_and_of_what_is_no_json_write_nothing(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(ValueError, match="extra must"):
            checkpoints.save(1, tiny(1), extra={"a": np.ones(2)})
        assert checkpoints.steps() == []
        assert [checkpoints.save(step, tiny(step)) for step in (2, 3, 3, 1)] == [True, True, False, False]
        assert_same(checkpoints.restore_latest(tiny(0)).state, tiny(3))


def test_newest_and_best_checkpoints_are_kept_also_by_the_next_process(tmp_path):
    losses = {1: 0.5, 2: 0.1, 3: 0.4, 4: float("nan"), 5: 0.3, 6: 0.35}
    checkpoints = Checkpoints(tmp_path, keep=2, keep_best=2, metric="loss")
    for step, loss in losses.items():
        checkpoints.save(step, tiny(step), {"loss": loss, "other": 1.0})
        checkpoints.close()
        checkpoints = Checkpoints(tmp_path, keep=2, keep_best=2, metric="loss")
    assert checkpoints.steps() == [2, 5, 6]
    checkpoints.save(7, tiny(7))  # no metrics: kept as one of the newest only
    checkpoints.save(8, tiny(8), {"loss": 0.9})
    assert checkpoints.steps() == [2, 5, 7, 8]
    checkpoints.save(9, tiny(9), {"loss": 0.05})
    assert checkpoints.steps() == [2, 8, 9]
    checkpoints.close()


def test_mode_max_keeps_the_largest_metric(tmp_path):
    with Checkpoints(tmp_path, keep=1, keep_best=1, metric="accuracy", mode="max") as checkpoints:
        for step, accuracy in enumerate((0.2, 0.9, 0.4)):
            checkpoints.save(step, tiny(step), {"accuracy": accuracy})
        assert checkpoints.steps() == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.02, 0.2])
def test_process_killed_while_saving(tmp_path, delay):
    program = textwrap.dedent(f"""
        import jax.numpy as jnp
        from scorekit.training import Checkpoints
        checkpoints = Checkpoints({str(tmp_path)!r}, keep=2)
        for step in range(1, 10_000):
            checkpoints.save(step, {{"w": jnp.full((1500, 1000), step, jnp.float32)}})
            print(step, flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    for _ in range(4):
        process.stdout.readline()
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore_latest({"w": jnp.zeros((1500, 1000))})
        assert restored.step >= 2
        np.testing.assert_array_equal(restored.state["w"], restored.step)
        assert checkpoints.save(restored.step + 1, restored.state)
