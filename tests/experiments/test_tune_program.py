"""``experiments.tune`` on a checkpoint, and configs that name the file it writes."""

import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
from programs import run, save_untrained

from experiments.cli.config import ConfigError
from experiments.configs.points import mixture_2d
from experiments.models import choices as build
from scorekit import schedules, solvers, tuning

SMALL = ["--batch_size=8", "--draws=16", "--updates=4", "--starts=1", "--fine_steps=16", "--config.sampling.steps=3"]


def config_with(path, steps=2, solver="euler"):
    config = mixture_2d.get_config()
    config.sampling.update(steps=steps)
    config.sampling.solver.name = solver
    config.sampling.grid.update(name="file", path=str(path))
    return config


@pytest.fixture
def saved(tmp_path):
    """A grid for Euler on the config's schedule."""
    found = tuning.Tuned(jnp.array([0.9, 0.4, 0.0]), solvers.Euler(), jnp.array(0.5), jnp.array(0.25), {})
    return tuning.save_grid(tmp_path / "grid.json", found, schedules.cosine())


def test_a_config_may_name_a_saved_grid(saved):
    config = config_with(saved)
    config.sampling.grid.t_max = 0.999  # of the run's own grid; the file has its times
    solver, ts = build.build_sampler(config, build.build_schedule(config))
    assert solver == solvers.Euler()
    np.testing.assert_array_equal(ts, jnp.array([0.9, 0.4, 0.0]))
    build.check_choices(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 3}, r"config.sampling.grid \(file\): sampling.steps must be 2, as tuned in .*, got 3"),
        ({"solver": "heun"}, r"config.sampling.grid.path=.*: solver must be the one that .* Euler\(\), got Heun"),
        ({"path": "nowhere.json"}, r"config.sampling.grid \(file\): path must be a file .* nowhere.json: no such file"),
    ],
)
def test_a_saved_grid_that_does_not_fit_is_refused(saved, change, message):
    config = config_with(**{"path": saved, **change})
    with pytest.raises(ConfigError, match=message):
        build.build_sampler(config, build.build_schedule(config))


def test_the_file_must_be_named(saved):
    config = config_with(saved)
    config.sampling.grid.path = None
    with pytest.raises(ConfigError, match=r"config.sampling.grid.path=None: must be set for sampling.grid.name=file"):
        build.build_sampler(config, build.build_schedule(config))


@pytest.mark.parametrize("name", ["cosine", "edm", "geometric_ve", "linear_vp", "rectified_flow", "sub_vp"])
def test_the_default_sampler_goes_with_every_schedule(name):
    config = mixture_2d.get_config()
    config.schedule.name = name
    schedule = build.build_schedule(config)
    solver, ts = build.build_sampler(config, schedule)
    assert solver == solvers.UniPC(coordinate="flow")
    assert ts.shape == (config.sampling.steps + 1,)
    assert (np.diff(ts) < 0).all()
    assert ts[-1] == 0.0
    vp = schedules.linear_vp()
    expected = np.clip(vp.log_snr(solvers.grids.quadratic(25, power=3.0)), *schedule.log_snr(np.array([1.0, 0.0])))
    if name in ("cosine", "linear_vp", "rectified_flow"):  # those that have all its levels
        np.testing.assert_allclose(schedule.log_snr(ts)[:-1], expected[:-1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("schedule", [schedules.cosine(), schedules.edm(), schedules.linear_vp()], ids=str)
def test_starting_grids_share_length_and_ends(schedule, load_program):
    configured = jnp.linspace(0.999, 0.0, 7)
    found = load_program("experiments.tune").starting_grids(schedule, configured)
    assert {"configured", "VP t^2", "VP t^3", "Karras"} <= set(found)
    assert "uniform" not in found  # it is the configured one
    for name, ts in found.items():
        assert ts.shape == (7,), name
        assert (np.diff(ts) < 0).all(), name
        assert (ts[0], ts[-1]) == (configured[0], 0.0), name


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run whose network has not learned anything."""
    config = mixture_2d.get_config()
    config.network.update(features=8, blocks=1)
    config.sampling.update(guidance_scale=1.5)
    return save_untrained(tmp_path_factory.mktemp("runs") / "new", config)


@pytest.mark.slow
def test_the_program_writes_a_grid_that_sampling_takes(workdir):
    code, out, err = run(
        "tune", f"--workdir={workdir}", *SMALL, "--config.sampling.solver.name=adams_bashforth", "--numbers"
    )
    assert code == 0, err
    path = workdir / "grid.json"
    assert str(path) in out.splitlines()[-1]
    assert len(re.findall(r"^\S.* {3,}\S+ +(?:not tuned|\d\S*)$", out, re.MULTILINE)) >= 4, out
    assert "tuning 4/4 (100%)" in err
    fields = json.loads(path.read_text())
    assert fields["error_after"] <= fields["error_before"]
    assert fields["solver"].startswith("AdamsBashforth(order=3")
    use = ["--config.sampling.solver.name=adams_bashforth", "--config.sampling.grid.name=file",
           f"--config.sampling.grid.path={path}", "--num=8"]  # fmt: skip
    code, out, err = run("sample", f"--workdir={workdir}", *use, "--config.sampling.steps=3")
    assert code == 0, err
    with np.load(workdir / "samples" / "sample.npz") as archive:
        assert np.isfinite(archive["x"]).all()


def test_the_program_refuses_a_stochastic_solver_in_one_line(workdir):
    code, _, err = run("tune", f"--workdir={workdir}", *SMALL, "--config.sampling.solver.name=ancestral")
    assert code == 2
    assert err == (
        "error: config.sampling.solver.name=ancestral: must be deterministic: tuning follows the reference's paths\n"
    )
