"""Reading checkpoints: verification, fallbacks, and error messages."""

import json
import logging
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


def test_restore_params_ignores_damaged_metrics(copy):
    (copy / "2" / "metrics" / "metrics").write_text('{"lo')
    step, params = restore_params(copy)
    assert step == 2
    chex.assert_trees_all_equal(params, STATES[2].params)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [('"position": 2', '"position": 3'), ('"b": [', '"c": [')])
def test_modified_metadata_is_reported_as_broken(copy, before, after):
    metadata = copy / "2" / "extra" / "data.json"
    text = metadata.read_text()
    metadata.write_text(text.replace(before, after))
    assert metadata.read_text() != text
    wrong = r"/2 is broken \(OSError: the checksum of extra/data.json is wrong\)"
    with open_directory(copy) as checkpoints, pytest.warns(UserWarning, match=wrong):
        restored = checkpoints.restore_latest(make_state())
    assert restored is not None
    assert restored.extra == {"position": 1, "rate": 0.1, "shards": [3, 4]}


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


@pytest.mark.slow
def test_arrays_of_another_run_are_reported_as_broken(copy, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    with Checkpoints(other) as checkpoints:
        checkpoints.save(2, make_state(7))
    shutil.rmtree(copy / "2" / "state")
    shutil.copytree(other / "2" / "state", copy / "2" / "state")
    with pytest.warns(UserWarning, match=r"/2 is broken \(OSError: the checksum of params/[bw] is wrong\)"):
        assert restore_params(copy)[0] == 1


@pytest.mark.slow
def test_broken_warning_is_one_line_attributed_to_the_caller(copy):
    shutil.rmtree(copy / "2" / "state")
    with pytest.warns(UserWarning, match="broken") as reading:
        restore_params(copy)
    with open_directory(copy) as checkpoints, pytest.warns(UserWarning, match="broken") as opening:
        checkpoints.restore_latest(make_state())
    for caught in (reading, opening):
        assert [w.filename for w in caught] == [__file__]
        assert "\n" not in str(caught[0].message)


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


def test_save_copies_extra(tmp_path):
    extra = {"shards": [1]}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, make_state(), extra=extra)
        extra["shards"].append(2)
        assert checkpoints.restore_latest(make_state()).extra == {"shards": [1]}


def test_save_validates_extra(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(ValueError, match=r"extra must be JSON-serialisable, got \{'a': array"):
            checkpoints.save(1, make_state(), extra={"a": np.ones(2)})
        assert checkpoints.steps() == []
        assert checkpoints.save(1, make_state())


def test_restore_params_of_a_single_array(tmp_path):
    state = init_state(jax.random.key(0), jnp.arange(3.0), OPTIMIZER, (0.9,))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, state)
    for kwargs in ({}, {"decay": 0.9}, {"like": jnp.zeros(3)}):
        np.testing.assert_array_equal(restore_params(tmp_path, **kwargs)[1], [0, 1, 2])
    with pytest.raises(ValueError, match=r"float32\[3\] in the checkpoint and float32\[4\] here"):
        restore_params(tmp_path, like=jnp.zeros(4))


def test_restore_params_validates_like_and_decay(saved):
    with pytest.raises(ValueError, match="b is only in the checkpoint"):
        restore_params(saved, like={"w": jnp.zeros((16, 8))})
    with pytest.raises(ValueError, match="c is not in the checkpoint"):
        restore_params(saved, like={**STATES[1].params, "c": jnp.zeros(1)})
    with pytest.raises(ValueError, match=r"decay must be one of \['0.9'\], got half"):
        restore_params(saved, decay="half")


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


def test_metadata_describes_every_array(saved):
    record = json.loads((saved / "2" / "extra" / "data.json").read_text())
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
