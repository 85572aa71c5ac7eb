"""``experiments.edit``: invalid flags, and what it writes for a tiny model."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from programs import succeeds

from experiments.tasks.diffusion.inverse import methods


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        "--task=inpaint --steps=2 --condition=class",
        "--task=sdedit --strength=0.5",
        "--task=invert --to=3",
    ],
)
def test_a_run_writes_a_picture_a_table_and_arrays(digits_run, tmp_path, arguments):
    workdir = shutil.copytree(digits_run, tmp_path / "run")
    out = succeeds("edit", f"--workdir={workdir}", "--num=6", *arguments.split())
    task = re.findall("--task=([a-z]+)", arguments)[0]
    stem = workdir / "edits" / task
    assert out.splitlines()[-1].endswith(f"see {stem}.png and {stem}.npz")
    assert Path(f"{stem}.png").stat().st_size > 1000
    with np.load(f"{stem}.npz") as archive:
        assert len(archive["label"]) == 6
        assert all(archive[name].shape == (6, 8, 8, 1) for name in archive.files if name != "label")
    versions = {"inpaint": methods.METHODS, "sdedit": ("from t",), "invert": ("edited",)}[task]
    for name in ("original", *versions):
        assert re.search(rf"^{name}", out, re.MULTILINE), out
