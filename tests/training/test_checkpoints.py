"""Checkpoints: exact round trips, retention, and recovery from damage."""

import functools
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scorekit.training import Checkpoints, init_state, make_mesh, make_optimizer, make_train_step, restore_params

pytestmark = pytest.mark.usefixtures("frozen_heap")


OPTIMIZER = make_optimizer(0.1, warmup_steps=2, total_steps=50)
SHAPES = {"w": (64, 33), "b": (5,)}


def make_state(seed=0, optimizer=OPTIMIZER, shapes=SHAPES, decays=(0.9, 0.999)):
    rng = np.random.default_rng(seed)
    params = {k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in shapes.items()}
    return init_state(jax.random.key(seed), params, optimizer, decays)


STEP = make_train_step(
    lambda key, batch: batch,
    lambda p, b: (jnp.sum((b["x"] - p["w"]) ** 2, axis=(1, 2)) + jnp.sum(p["b"] ** 2), {}),
    OPTIMIZER,
    mesh=make_mesh(devices=jax.devices()[:1]),
)
BATCH = {"x": np.ones((8, 64, 33), np.float32)}


def words(state):
    """Every leaf on the host; PRNG keys as their words."""
    leaf = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return jax.tree.map(lambda x: np.array(leaf(x)), state)


assert_same = functools.partial(chex.assert_trees_all_equal, strict=True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A directory with checkpoints 1, 2 and 3 (copied before tests modify it) and their states."""
    directory = tmp_path_factory.mktemp("saved")
    states = {}
    state = make_state()
    with Checkpoints(directory, keep_best=1, metric="loss") as checkpoints:
        for step in (1, 2, 3):
            state, metrics = STEP(state, BATCH)
            states[step] = words(state)
            assert checkpoints.save(step, state, {"loss": float(metrics["loss"])}, {"position": 10 * step})
    return directory, states


@pytest.fixture
def copy(saved, tmp_path):
    shutil.copytree(saved[0], tmp_path, dirs_exist_ok=True)
    return tmp_path, saved[1]


@pytest.fixture
def none_broken():
    """Fails if a checkpoint is reported as broken."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="checkpoint .* is broken")
        yield


@pytest.mark.slow
def test_round_trip_is_exact(saved, none_broken):
    directory, states = saved
    with Checkpoints(directory) as checkpoints:
        restored = checkpoints.restore_latest(jax.eval_shape(make_state))
    assert restored is not None
    assert (restored.step, restored.extra) == (3, {"position": 30})
    assert jax.tree.structure(restored.state) == jax.tree.structure(make_state())
    assert jax.random.key_impl(restored.state.key) == jax.random.key_impl(jax.random.key(0))
    assert_same(words(restored.state), states[3])


def test_restored_run_continues_exactly(saved):
    with Checkpoints(saved[0]) as checkpoints:
        state = checkpoints.restore_latest(make_state(seed=9)).state
    fresh = make_state()
    for _ in range(5):
        fresh, _ = STEP(fresh, BATCH)
    for _ in range(2):
        state, _ = STEP(state, BATCH)
    assert_same(state, fresh)


def test_saving_does_not_race_with_donation(tmp_path):
    shapes = {"w": (1000, 1000)}
    step = make_train_step(lambda k, b: b, lambda p, b: (b["x"] * jnp.mean(p["w"] ** 2), {}), optax.sgd(100.0))
    state = make_state(optimizer=optax.sgd(100.0), shapes=shapes, decays=())
    batch = {"x": np.ones(8, np.float32)}
    state, _ = step(state, batch)
    before = words(state)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        for _ in range(5):
            state, _ = step(state, batch)
        restored = checkpoints.restore_latest(state)
    assert_same(words(restored.state), before)


def test_round_trip_of_rbg_keys_and_small_dtypes(tmp_path):
    tree = {
        "key": jax.random.split(jax.random.key(1, impl="rbg"), 2),
        "half": jnp.arange(5, dtype=jnp.bfloat16),
        "flag": jnp.array([True, False]),
        "list": [jnp.zeros(()), (jnp.ones(3, jnp.int8),)],
    }
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, tree)
        assert_same(checkpoints.restore_latest(jax.eval_shape(lambda: tree)).state, tree)


def test_empty_directory(tmp_path):
    with Checkpoints(tmp_path / "new") as checkpoints:
        assert checkpoints.restore_latest(make_state()) is None
        assert checkpoints.steps() == []
    with pytest.raises(FileNotFoundError, match="no readable checkpoint in"):
        restore_params(tmp_path / "new")
    with pytest.raises(FileNotFoundError, match="no checkpoint in"):
        restore_params(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_save_of_an_existing_step_writes_nothing(copy):
    directory, states = copy
    with Checkpoints(directory) as checkpoints:
        assert checkpoints.save(3, make_state(seed=5)) is False
        assert checkpoints.save(2, make_state(seed=5)) is False
        assert_same(words(checkpoints.restore_latest(make_state()).state), states[3])


def tiny(value):
    return {"w": jnp.full(2, value, jnp.float32)}


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


def test_restore_names_differences_of_structure(saved):
    directory, _ = saved
    narrow = make_state(shapes={"w": (3,), "b": (5,)})
    others = {
        "params/extra is not in the checkpoint": make_state(shapes={**SHAPES, "extra": (2,)}),
        "params/b is only in the checkpoint": make_state(shapes={"w": (64, 33)}),
        r"params/w is float32\[64, 33\] in the checkpoint and float32\[3\] here": narrow,
        "ema/0.5/w is not in the checkpoint": make_state(decays=(0.5, 0.9, 0.999)),
        r"opt_state/.*mu.* is only in the checkpoint": make_state(optimizer=optax.sgd(0.1)),
    }
    with Checkpoints(directory) as checkpoints:
        for message, other in others.items():
            with pytest.raises(ValueError, match=message):
                checkpoints.restore_latest(other)
        assert checkpoints.steps() == [1, 2, 3]  # none is renamed


def array_files(directory):
    """The files of a checkpoint that hold arrays; the mapping of arrays to files is up to orbax."""
    return [path for path in directory.glob("state/**/d/*") if path.is_file()]


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    data = bytearray(path.read_bytes())
    for i in range(512, len(data), 1024):
        data[i] ^= 0x10
    path.write_bytes(data)


DAMAGES = {
    "arrays truncated": lambda d: [truncate(p) for p in array_files(d)],
    "arrays deleted": lambda d: [p.unlink() for p in array_files(d)],
    "bits flipped": lambda d: [flip(p) for p in array_files(d)],
    "manifest truncated": lambda d: truncate(d / "state" / "manifest.ocdbt"),
    "array description truncated": lambda d: truncate(d / "state" / "_METADATA"),
    "json truncated": lambda d: truncate(d / "extra" / "data.json"),
    "json deleted": lambda d: (d / "extra" / "data.json").unlink(),
    "arrays absent": lambda d: shutil.rmtree(d / "state"),
    "metrics truncated": lambda d: truncate(d / "metrics" / "metrics"),
    "replaced by a file": lambda d: (shutil.rmtree(d), d.write_text("")),
    "everything deleted": lambda d: [shutil.rmtree(p) if p.is_dir() else p.unlink() for p in d.iterdir()],
}


def open_and_restore(directory):
    checkpoints = Checkpoints(directory, keep_best=1, metric="loss")
    return checkpoints, checkpoints.restore_latest(make_state())


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_broken_newest_checkpoint_falls_back_to_the_one_before(copy, damage):
    directory, states = copy
    DAMAGES[damage](directory / "3")
    if damage != "metrics truncated":
        with pytest.warns(UserWarning, match=r"checkpoint .*/3 is broken \(.+\); an earlier one is tried"):
            step, params = restore_params(directory)
        assert step == 2
        assert_same(params, words(states[2]).params)
        assert (directory / "3").exists()
    with pytest.warns(UserWarning, match=r"checkpoint .*/3 is broken \(.+\); it is renamed to broken-3"):
        checkpoints, restored = open_and_restore(directory)
    assert (restored.step, restored.extra) == (2, {"position": 20})
    assert_same(words(restored.state), states[2])
    assert checkpoints.save(3, restored.state)  # the step can be saved again
    assert checkpoints.steps() == [1, 2, 3]
    assert checkpoints.restore_latest(make_state()).step == 3
    checkpoints.close()
    assert (directory / "broken-3").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_restore_raises_if_all_checkpoints_are_broken_and_renames_none(copy):
    directory, _ = copy
    for step in "123":
        DAMAGES["arrays truncated"](directory / step)
    for _ in range(2):  # the second attempt does not start anew either
        with (
            Checkpoints(directory) as checkpoints,
            pytest.raises(FileNotFoundError, match=r"all checkpoints in .* are damaged: 3, 2, 1 \(3: \w+Error: "),
        ):
            checkpoints.restore_latest(make_state())
    assert {path.name for path in directory.iterdir()} >= {"1", "2", "3"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_restore_raises_if_only_renamed_checkpoints_are_left(copy):
    directory, _ = copy
    for step in "123":
        (directory / step).rename(directory / f"broken-{step}")
    with Checkpoints(directory) as checkpoints, pytest.raises(FileNotFoundError, match="are damaged: broken-1, broken"):
        checkpoints.restore_latest(make_state())


@pytest.mark.slow
def test_a_damaged_checkpoint_logs_nothing(copy, caplog):
    directory, _ = copy
    DAMAGES["arrays truncated"](directory / "3")
    with Checkpoints(directory) as checkpoints, pytest.warns(UserWarning, match="broken"):
        checkpoints.restore_latest(make_state())
    gc.collect()
    assert not caplog.records


def test_incomplete_checkpoint_of_a_killed_process_is_ignored(copy, none_broken):
    directory, states = copy
    incomplete = directory / "4.orbax-checkpoint-tmp-1234"
    shutil.copytree(directory / "3", incomplete)
    assert restore_params(directory)[0] == 3
    assert incomplete.exists()  # readers delete nothing: the save may be in progress
    with Checkpoints(directory) as checkpoints:
        assert_same(words(checkpoints.restore_latest(make_state()).state), states[3])
        assert checkpoints.save(4, make_state())
    assert not incomplete.exists()


def test_restore_params_reads_parameters_and_averages(saved, none_broken):
    directory, states = saved
    step, params = restore_params(directory)
    assert step == 3
    assert_same(params, words(states[3]).params)
    for decay in (0.9, "0.999"):
        assert_same(restore_params(directory, decay=decay, step=2)[1], states[2].ema[str(decay)])
    with pytest.raises(ValueError, match=r"decay must be one of \['0.9', '0.999'\], got 0.5"):
        restore_params(directory, decay=0.5)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint 7 in .*, only \[1, 2, 3\]"):
        restore_params(directory, step=7)
    with pytest.raises(ValueError, match="w is float32"):
        restore_params(directory, like={"w": jnp.zeros(3), "b": jnp.zeros(5)})


def test_restore_params_of_lists_and_tuples(tmp_path):
    params = [jnp.ones(2), (jnp.zeros(3), jnp.arange(4.0))]
    state = init_state(jax.random.key(0), params, optax.sgd(0.1), (0.9,))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
    assert_same(restore_params(tmp_path, decay=0.9, like=params)[1], params)


def test_extra_is_readable_without_orbax(saved):
    directory, _ = saved
    assert json.loads((directory / "3" / "extra" / "data.json").read_text())["extra"] == {"position": 30}


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
