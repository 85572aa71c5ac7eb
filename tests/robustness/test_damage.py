"""Damage to any file of a checkpoint: no damaged value is ever used, and the damage is named."""

import shutil
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scorekit import training
from scorekit.training import restore_params


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 1] = bytes([content[len(content) // 2] ^ 0xFF]) if content else b""
    path.write_bytes(bytes(content))


WAYS = {
    "removed": Path.unlink,
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "one byte flipped": _flip,
}


@pytest.fixture
def saved(tmp_path):
    """The checkpoints of two steps."""
    with training.Checkpoints(tmp_path / "saved") as checkpoints:
        for step in (1, 2):
            params = {"kernel": step * jnp.arange(12.0).reshape(3, 4)}
            checkpoints.save(step, training.init_state(jnp.array([0, 1], jnp.uint32), params, optax.sgd(0.1), ()))
            checkpoints.wait()
    return tmp_path / "saved"


def outcome(folder: Path, truth: dict[int, list[np.ndarray]]) -> str:
    """The step whose exact parameters are read, or that the error names the folder."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            step, params = restore_params(folder)
        except (ValueError, FileNotFoundError) as error:
            return "an error that names it" if str(folder) in str(error) else f"obscure: {error}"
    if not all(map(np.array_equal, jax.tree.leaves(params), truth[step])):
        return f"other values at step {step}"
    named = any(str(folder) in str(warning.message) for warning in said)
    return f"step {step}{' with a warning' if named else ''}"


@pytest.mark.slow
# abandoned reads of damaged files, which are freed some time later
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("frozen_heap")
@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_file_is_named_and_the_checkpoint_before_is_read(saved, tmp_path, way):
    """With the checkpoint before, its values are read with a warning; without, the error names what is damaged. Files
    that the parameters do not need, such as the optimiser's, may be damaged without either."""
    truth = {step: jax.tree.leaves(restore_params(saved, step=step)[1]) for step in (1, 2)}
    files = sorted(path.relative_to(saved / "2") for path in (saved / "2").rglob("*") if path.is_file())
    seen = {}
    for file in files:
        for steps in (("1", "2"), ("2",)):
            folder = tmp_path / "damaged"
            shutil.rmtree(folder, ignore_errors=True)
            for step in steps:
                shutil.copytree(saved / step, folder / step)
            WAYS[way](folder / "2" / file)
            seen[str(file), len(steps)] = outcome(folder, truth)
    allowed = {"step 1 with a warning", "step 2", "an error that names it"}
    assert {case: text for case, text in seen.items() if text not in allowed} == {}
    assert sum(text != "step 2" for text in seen.values()) >= 8, seen
