"""``experiments.tune`` on a checkpoint, and sampling with the grid that it writes."""

import json
import re
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from programs import overridden, run, succeeds

from experiments.tasks.diffusion.tuning import initial_grids
from scorekit import schedules

SMALL = ["--batch_size=8", "--draws=16", "--updates=4", "--starts=1", "--fine_steps=16", "--config.sampling.steps=3"]


@pytest.mark.parametrize("schedule", [schedules.Cosine(), schedules.EDM(), schedules.LinearVP()], ids=str)
def test_initial_grids_share_length_and_ends(schedule):
    configured = jnp.linspace(0.999, 0.0, 7)
    found = initial_grids(schedule, configured)
    assert {"configured", "VP t^2", "VP t^3", "Karras"} <= set(found)
    assert "uniform" not in found  # it is the configured one
    for name, ts in found.items():
        assert ts.shape == (7,), name
        assert (np.diff(ts) < 0).all(), name
        assert (ts[0], ts[-1]) == (configured[0], 0.0), name


@pytest.mark.slow
def test_tuning_writes_a_grid_that_sampling_takes(ring_run, tmp_path):
    workdir = shutil.copytree(ring_run, tmp_path / "run")
    solver = "--config.sampling.solver.name=adams_bashforth"
    code, out, err = run("tune", f"--workdir={workdir}", *SMALL, solver, "--coefficients")
    assert code == 0, err
    path = workdir / "grid.json"
    assert str(path) in out.splitlines()[-1]
    assert len(re.findall(r"^\S.* {3,}\S+ +(?:not tuned|\d\S*)$", out, re.MULTILINE)) >= 4, out
    assert "tuning 4/4 (100%)" in err
    fields = json.loads(path.read_text())
    assert fields["error_after"] <= fields["error_before"]
    assert fields["solver"].startswith("AdamsBashforth(order=3")
    use = [solver, *overridden(f"sampling.grid.name=file sampling.grid.path={path} sampling.steps=3")]
    succeeds("sample", f"--workdir={workdir}", "--num=8", *use)
    with np.load(workdir / "samples" / "sample.npz") as archive:
        assert np.isfinite(archive["x"]).all()
