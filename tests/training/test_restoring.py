"""Reading checkpoints: verification, fallbacks, and error messages."""

import gc
import json
import logging
import os
import random
import shutil
import warnings
import zlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from jax.sharding import PartitionSpec

from scorekit.training import Checkpoints, init_state, make_mesh, place_state, restore_extra, restore_params
from scorekit.training._restoring import OrbaxFilter, record
from scorekit.training._trees import to_nested

pytestmark = pytest.mark.usefixtures("frozen_heap")


OPTIMIZER = optax.adam(1e-3)


def make_state(seed=0):
    w = np.random.default_rng(seed).normal(size=(16, 8)).astype(np.float32)
    return init_state(jax.random.key(seed), {"w": jnp.asarray(w), "b": jnp.full(3, float(seed))}, OPTIMIZER, (0.9,))


STATES = {1: make_state(1), 2: make_state(2)}


def open_directory(directory):
    return Checkpoints(directory, keep_best=1, metric="loss")


def open_and_restore(directory):
    checkpoints = open_directory(directory)
    return checkpoints, checkpoints.restore_latest(make_state())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("saved")
    with open_directory(directory) as checkpoints:
        for step, state in STATES.items():
            checkpoints.save(step, state, {"loss": 1 / step}, {"position": step, "rate": 0.1, "shards": [3, 4]})
    return directory


@pytest.fixture
def copy(saved, tmp_path):
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    return tmp_path


def edit(path, before, after):
    """Replaces a part of a text."""
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def exchange(path):
    """Gives a checkpoint the arrays of the one before."""
    shutil.rmtree(path / "state")
    shutil.copytree(path.with_name("1") / "state", path / "state")


CHANGED = r"OSError: the checksum of extra/data.json is wrong"
DAMAGES = {
    "arrays truncated": (lambda d: [os.truncate(p, p.stat().st_size // 2) for p in d.glob("state/**/d/*")], ".+"),
    "arrays absent": (lambda d: shutil.rmtree(d / "state"), ".+"),
    "replaced by a file": (lambda d: (shutil.rmtree(d), d.write_text("")), ".+"),
    "everything deleted": (lambda d: [shutil.rmtree(p) for p in d.iterdir() if p.is_dir()], ".+"),
    "position changed": (lambda d: edit(d / "extra" / "data.json", '"position": 2', '"position": 3'), CHANGED),
    "name changed": (lambda d: edit(d / "extra" / "data.json", '"b": [', '"c": ['), CHANGED),
    "arrays of another step": (exchange, r"OSError: the checksum of \S+ is wrong"),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broken_newest_checkpoint_falls_back_to_the_one_before(copy, damage, caplog):
    change, reason = DAMAGES[damage]
    change(copy / "2")
    broken = rf"checkpoint .*/2 is broken \({reason}\)"
    with pytest.warns(UserWarning, match=f"{broken}; an earlier one is tried") as reading:
        step, params = restore_params(copy)
    assert step == 1
    chex.assert_trees_all_equal(params, STATES[1].params)
    assert (copy / "2").exists()
    with pytest.warns(UserWarning, match=f"{broken}; it is renamed to broken-2") as opening:
        checkpoints, restored = open_and_restore(copy)
    assert (restored.step, restored.extra) == (1, {"position": 1, "rate": 0.1, "shards": [3, 4]})
    chex.assert_trees_all_equal(restored.state, STATES[1])
    for caught in (reading, opening):  # one line, attributed to the caller
        (warning,) = (w for w in caught if "is broken" in str(w.message))
        assert (warning.filename, str(warning.message).count("\n")) == (__file__, 0)
    assert checkpoints.save(2, restored.state)  # the step can be saved again
    assert checkpoints.restore_latest(make_state()).step == 2
    checkpoints.close()
    assert (copy / "broken-2").exists()
    gc.collect()
    assert not caplog.records


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_if_all_are_broken_or_renamed_restoring_raises_and_renames_none(copy):
    for step in "12":
        shutil.rmtree(copy / step / "state")
    for _ in range(2):  # the second attempt does not start anew either
        words = r"all checkpoints in .* are damaged: 2, 1 \(2: \w+Error: "
        with open_directory(copy) as checkpoints, pytest.raises(FileNotFoundError, match=words):
            checkpoints.restore_latest(make_state())
    for step in "12":
        (copy / step).rename(copy / f"broken-{step}")
    with open_directory(copy) as checkpoints, pytest.raises(FileNotFoundError, match="are damaged: broken-1, broken"):
        checkpoints.restore_latest(make_state())


@pytest.mark.filterwarnings("error:checkpoint .* is broken")
def test_damaged_metrics_and_incomplete_checkpoints_are_ignored(copy):
    incomplete = copy / "4.orbax-checkpoint-tmp-1234"
    shutil.copytree(copy / "2", incomplete)
    assert restore_params(copy)[0] == 2
    assert incomplete.exists()  # readers delete nothing: the save may be in progress
    with open_directory(copy) as checkpoints:
        assert checkpoints.save(4, make_state(), {"loss": 0.1})
    assert not incomplete.exists()
    (copy / "4" / "metrics" / "metrics").write_text('{"lo')
    step, params = restore_params(copy)
    assert step == 4
    chex.assert_trees_all_equal(params, make_state().params)


@pytest.fixture
def saved_by_v0(tmp_path):
    """Checkpoints as releases before orbax's V1 wrote them."""
    v0, ranked = orbax.checkpoint, {"best_fn": lambda metrics: -metrics["loss"]}
    with v0.CheckpointManager(tmp_path, options=v0.CheckpointManagerOptions(create=True, **ranked)) as manager:
        for step, state in STATES.items():
            nested = to_nested(state)
            tree, extra = v0.args.PyTreeSave(nested), v0.args.JsonSave(record(step, nested, {"position": step}))
            manager.save(step, args=v0.args.Composite(state=tree, extra=extra), metrics={"loss": float(step)})
    return tmp_path


@pytest.mark.filterwarnings("error:checkpoint .* is broken")
def test_checkpoints_of_v0_restore_bit_equal_and_are_continued(saved_by_v0):
    assert restore_extra(saved_by_v0) == {"position": 2}
    step, params = restore_params(saved_by_v0, decay=0.9)
    assert step == 2
    chex.assert_trees_all_equal(params, STATES[2].ema["0.9"])
    with Checkpoints(saved_by_v0, keep=1, keep_best=1, metric="loss") as checkpoints:
        restored = checkpoints.restore_latest(make_state())
        assert (restored.step, restored.extra) == (2, {"position": 2})
        chex.assert_trees_all_equal(restored.state, STATES[2])
        assert checkpoints.save(3, STATES[1], {"loss": 1.5})
        assert checkpoints.steps() == [1, 3]  # the metrics of V0 are read: 1 is the best
    (saved_by_v0 / "3").rename(saved_by_v0.parent / "kept")
    metadata = saved_by_v0 / "1" / "extra" / "metadata"
    metadata.write_text(metadata.read_text().replace('"position": 1', '"position": 3'))
    assert restore_extra(saved_by_v0) is None


@pytest.mark.filterwarnings("error:checkpoint .* is broken")
def test_checkpoints_without_their_step_are_read(copy):
    """As earlier versions wrote them."""
    metadata = copy / "2" / "extra" / "data.json"
    found = json.loads(metadata.read_text())
    old = {name: found[name] for name in ("extra", "arrays")}
    metadata.write_text(json.dumps({**old, "checksum": zlib.crc32(json.dumps([*old.values()]).encode())}))
    assert restore_params(copy)[0] == 2


def test_a_renamed_checkpoint_is_reported_as_broken(copy):
    (copy / "2").rename(copy / "7")
    wrong = r"/7 is broken \(OSError: it was saved as step 2 and renamed since\)"
    with pytest.warns(UserWarning, match=wrong):
        step, params = restore_params(copy)
    assert step == 1
    chex.assert_trees_all_equal(params, STATES[1].params)
    assert restore_extra(copy, step=7) is None
    with open_directory(copy) as checkpoints, pytest.warns(UserWarning, match=f"{wrong}; it is renamed to broken-7"):
        restored = checkpoints.restore_latest(make_state())
    assert restored is not None
    assert restored.step == 1


@pytest.mark.parametrize("error", [MemoryError("no memory"), PermissionError("not yours")])
def test_errors_of_the_machine_are_not_reported_as_broken(copy, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(orbax.checkpoint.experimental.v1, "load", fail)
    with open_directory(copy) as checkpoints:
        with pytest.raises(type(error)):
            checkpoints.restore_latest(make_state())
        assert checkpoints.steps() == [1, 2]
    with pytest.raises(type(error)):
        restore_params(copy)


def test_what_does_not_fit_is_named(saved):
    params, state = STATES[1].params, lambda **changed: init_state(jax.random.key(0), {**changed}, OPTIMIZER, (0.9,))
    with_other_decays = init_state(jax.random.key(0), params, OPTIMIZER, (0.5, 0.9))
    states = {
        "params/c is not in the checkpoint": state(**params, c=jnp.zeros(2)),
        "params/b is only in the checkpoint": state(w=params["w"]),
        r"params/w is float32\[16, 8\] in the checkpoint and float32\[3\] here": state(w=jnp.zeros(3), b=params["b"]),
        "ema/0.5/w is not in the checkpoint": with_other_decays,
        r"opt_state/.*mu.* is only in the checkpoint": init_state(jax.random.key(0), params, optax.sgd(0.1), (0.9,)),
    }
    with open_directory(saved) as checkpoints:
        for message, other in states.items():
            with pytest.raises(ValueError, match=message):
                checkpoints.restore_latest(other)
        assert checkpoints.steps() == [1, 2]  # none is renamed
    arguments = {
        "b is only in the checkpoint": {"like": {"w": params["w"]}},
        "c is not in the checkpoint": {"like": {**params, "c": jnp.zeros(1)}},
        r"w is float32\[16, 8\]": {"like": {**params, "w": jnp.zeros(3)}},
        r"decay must be one of \['0.9'\]": {"decay": "half"},
        r"no checkpoint 7 in .*, only \[1, 2\]": {"step": 7},
    }
    for message, given in arguments.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            restore_params(saved, **given)
    for decay in (0.9, "0.9"):
        chex.assert_trees_all_equal(restore_params(saved, decay=decay, step=1)[1], STATES[1].ema["0.9"])


def test_restore_params_uses_the_sharding_of_like(saved):
    mesh = make_mesh(fsdp=2, devices=jax.devices()[:2])
    like = place_state(STATES[1].params, mesh)
    _, params = restore_params(saved, decay=0.9, like=like)
    assert params["w"].sharding.spec == PartitionSpec("fsdp")
    assert params["b"].sharding == like["b"].sharding
    chex.assert_trees_all_equal(params, STATES[2].ema["0.9"])
    assert restore_params(saved)[1]["w"].devices() == {jax.devices()[0]}


@pytest.mark.slow
def test_restore_params_does_not_replace_an_explicit_broken_step(copy):
    shutil.rmtree(copy / "1" / "state")
    with (
        pytest.warns(UserWarning, match="/1 is broken"),
        pytest.raises(FileNotFoundError, match=r"no readable checkpoint in .* at step 1"),
    ):
        restore_params(copy, step=1)


def test_metadata_is_readable_without_orbax(saved):
    record = json.loads((saved / "2" / "extra" / "data.json").read_text())
    assert record["extra"]["position"] == 2
    dtype, shape, checksum = record["arrays"]["params"]["w"]
    assert (dtype, shape) == ("float32", [16, 8])
    words = np.asarray(STATES[2].params["w"]).view(np.uint32).ravel().astype(object)
    assert checksum == sum(int(x) * (2 * i + 1) for i, x in enumerate(words)) % 2**32


def test_saving_and_restoring_log_nothing(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with open_directory(tmp_path) as checkpoints:
        checkpoints.save(1, STATES[1], {"loss": 1.0})
        assert checkpoints.restore_latest(make_state()).step == 1
    assert restore_params(tmp_path)[0] == 1
    assert not [record for record in caplog.records if "orbax" in record.pathname]
    assert not [f for f in logging.getLogger("absl").filters if isinstance(f, OrbaxFilter)]


def damages(path, draw):
    """Possible damages of a file, as functions of its path."""
    size = path.stat().st_size
    yield lambda p: p.unlink()
    yield lambda p: p.write_bytes(p.read_bytes()[: size // 2])

    def flip(p, at, bit):
        data = bytearray(p.read_bytes())
        data[at] ^= 1 << bit
        p.write_bytes(data)

    for _ in range(6 if size else 0):
        at, bit = draw.randrange(size), draw.randrange(8)
        yield lambda p, at=at, bit=bit: flip(p, at, bit)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_damaged_file_leads_to_a_wrong_state(saved, tmp_path):
    draw = random.Random(0)
    names = [path.relative_to(saved) for path in sorted((saved / "2").rglob("*")) if path.is_file()]
    fallbacks = 0
    for name in names:
        for damage in damages(saved / name, draw):
            shutil.rmtree(tmp_path)
            shutil.copytree(saved, tmp_path)
            damage(tmp_path / name)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                step, params = restore_params(tmp_path)
                chex.assert_trees_all_equal(params, STATES[step].params)
                with open_directory(tmp_path) as checkpoints:
                    restored = checkpoints.restore_latest(make_state())
                    assert restored is not None
                    chex.assert_trees_all_equal(restored.state, STATES[restored.step])
                    assert restored.extra["position"] == restored.step
                    if restored.step == 1:
                        fallbacks += 1
                        assert checkpoints.save(2, STATES[2])
            assert (restored.step == 1) == any("renamed to broken-2" in str(w.message) for w in caught)
    assert len(names) > 10
    assert fallbacks > 20
