"""``experiments.edit``: invalid flags, and what it writes for a tiny model."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from programs import fails, succeeds

from experiments.inverse import methods


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--task=inpant", "--task=inpant: must be one of inpaint, | did you mean inpaint?"),
        ("--method=mmsp", "--method=mmsp: must be one of replacement, | did you mean mmps?"),
        ("--task=sdedit --method=dps", "--method=dps: must be left out, --task=sdedit is a method itself"),
        ("--condition=none", "--condition=none: must be null or class"),
        ("--noise_std=-1", "--noise_std=-1.0: must be a finite number >= 0"),
        ("--data_std=0", "--data_std=0.0: must be a finite number > 0"),
        ("--step_size=nan", "--step_size=nan: must be a finite number >= 0"),
        ("--strength=0.5,2", "--strength=0.5,2: must be times in (0, 1], as in 0.4,0.8"),
        ("--strength=much", "--strength=much: must be times"),
        ("--task=denoise --to=3", "--to: must be left out with --task=denoise, it would do nothing"),
        ("--task=sdedit --steps=7", "--steps: must be left out with --task=sdedit, it would do nothing"),
        ("--task=invert --strength=0.5", "--strength: must be left out with --task=invert, it would do nothing"),
        ("--method=dps,mmps --jump_length=2", "--jump_length: must be left out with --method=dps,mmps, it would do"),
    ],
)
def test_invalid_flags_raise_before_anything_is_loaded(no_data, digits_run, flags, words):
    err = fails("edit", f"--workdir={digits_run}", *flags.split())
    assert all(word in err for word in words.split(" | ")), err


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        "--task=inpaint --steps=2 --condition=class",
        "--task=saturate --steps=2",
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
    versions = {"inpaint": methods.METHODS, "saturate": ("dps",), "sdedit": ("from t",), "invert": ("edited",)}[task]
    for name in ("original", *versions):
        assert re.search(rf"^{name}", out, re.MULTILINE), out


@pytest.mark.slow
def test_flags_that_do_not_fit_the_run_are_config_errors(digits_run):
    for arguments, message in (
        (["--task=invert", "--config.sampling.solver.name=ancestral"], "needs a deterministic one, as dpmpp_2m"),
        (("--task=sdedit", "--to=10"), "--to=10: must be 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        (("--task=sdedit", "--to=-2"), "--to=-2: must be 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        (("--task=saturate", "--method=mmps"), "needs a linear operator"),
        (("--task=colourise",), "needs images of 3 channels"),
    ):
        assert message in fails("edit", f"--workdir={digits_run}", *arguments, at_once=False)
