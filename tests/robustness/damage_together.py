"""Damage to every file of the newest checkpoint of two processes: it is named and both use the one before.

A program that :func:`damage.checkpoints_of_two` starts in two processes, whose arrays are
divided between them.
"""

import json
import shutil
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from jax.experimental import multihost_utils
from robustness.damage import FAILED, OTHER, WAYS, verdict_of_two

from experiments.cli import distributed
from experiments.cli import flags as shared
from scorekit import training

_FOLDER = flags.DEFINE_string("folder", None, "Where checkpoints are written and damaged.", required=True)
_WAYS = flags.DEFINE_list("ways", list(WAYS), "Kinds of damage.")
shared.distributed()


def _open(folder: Path) -> training.Checkpoints:
    return training.Checkpoints(folder, keep_best=1, metric="held_out")


def _restored(folder: Path, truth: dict[int, training.TrainState]) -> tuple[int, bool, str]:
    """The step that this process has restored exactly, or what went wrong; whether damage was named; and words."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            with _open(folder) as opened:
                found = opened.restore_latest(truth[1])
            assert found is not None
        except Exception as error:
            return FAILED, str(folder) in str(error), f"{type(error).__name__}: {error}"[:200]
    shards = lambda state: [np.asarray(x.addressable_data(0)) for x in jax.tree.leaves((state.params, state.opt_state))]
    same = all(map(np.array_equal, shards(found.state), shards(truth[found.step])))
    named = any(str(folder / "2") in str(warning.message) for warning in said)
    return found.step if same else OTHER, named, f"step {found.step}"


def main(_) -> None:
    distributed.start()
    folder, mesh = Path(_FOLDER.value), training.make_mesh(jax.device_count())
    truth = {}
    with _open(folder / "made") as opened:
        for step in (1, 2):
            params = {"kernel": step * jnp.arange(16.0).reshape(2, 8), "bias": jnp.full(4, 0.5)}
            state = training.init_state(jax.random.key(0), params, optax.adam(1e-3), (0.9,))
            truth[step] = training.place_state(state, mesh)
            opened.save(step, truth[step], {"held_out": 1.0})
    newest = folder / "made" / "2"
    files = sorted(path.relative_to(newest) for path in newest.rglob("*") if path.is_file())
    for file in files:
        for way in _WAYS.value:
            copy = folder / "damaged" / str(file) / way.replace(" ", "_")
            if distributed.is_first():
                shutil.copytree(folder / "made", copy)
                WAYS[way](copy / "2" / file)
            multihost_utils.sync_global_devices(str(copy))
            step, named, words = _restored(copy, truth)
            both = np.asarray(multihost_utils.process_allgather(np.array([step, named]))).tolist()
            tried = f"{file} {way}, two processes"
            case = [tried, verdict_of_two([row[0] for row in both], any(row[1] for row in both)), f"{words}, {both}"]
            print(json.dumps(case), flush=True)


if __name__ == "__main__":
    app.run(main)
