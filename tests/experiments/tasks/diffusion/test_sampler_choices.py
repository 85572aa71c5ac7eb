"""The solver and the time grid of a config, by name and from the file of a tuned grid."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from programs import changed, error_of

from experiments import data
from experiments.configs.points import mixture_2d
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion.build import build_sampler, build_schedule
from scorekit import schedules, solvers, tuning


@pytest.fixture
def saved(tmp_path):
    """A config that names the file of a grid for Euler on its schedule."""
    found = tuning.Tuned(jnp.array([0.9, 0.4, 0.0]), solvers.Euler(), jnp.array(0.5), jnp.array(0.25), {})
    path = tuning.save_grid(tmp_path / "grid.json", found, schedules.Cosine())
    fields = f"sampling.steps=2 sampling.solver.name=euler sampling.grid.name=file sampling.grid.path={path}"
    return changed(mixture_2d, *fields.split())


def test_a_config_names_a_saved_grid(saved):
    config = changed(saved, "sampling.grid.t_max=0.999")  # of the run's own grid; the file has its times
    solver, ts = build_sampler(config, build_schedule(config))
    assert solver == solvers.Euler()
    np.testing.assert_array_equal(ts, jnp.array([0.9, 0.4, 0.0]))
    checks.build(config, data.build(config))


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("steps=3", r"config.sampling.grid \(file\): sampling.steps must be 2, as tuned in .*, got 3"),
        ("solver.name=heun", r"config.sampling.grid.path=.*: solver must be the one that .* Euler\(\), got Heun"),
        ("grid.path=nowhere.json", r"grid \(file\): path must be a file .* nowhere.json: no such file"),
        ("grid.path=None", r"config.sampling.grid.path=None: must be set for sampling.grid.name=file"),
    ],
)
def test_a_saved_grid_for_another_sampler_raises(saved, field, message):
    config = changed(saved, f"sampling.{field}")
    assert re.search(message, error_of(build_sampler, config, build_schedule(config)))


@pytest.mark.parametrize(
    ("choice", "expected", "power"),
    [
        ({}, solvers.UniPC(predictor=3, coordinate="flow"), 2.5),  # the default, which is the recommended one
        ({"solver": "unipc", "grid": "vp_quadratic"}, solvers.UniPC(coordinate="flow"), 3.0),
    ],
    ids=["default", "unipc"],
)
@pytest.mark.parametrize("name", ["cosine", "edm", "geometric_ve", "linear_vp", "rectified_flow", "sub_vp"])
def test_a_solver_and_its_grid_fit_every_schedule(name, choice, expected, power):
    config = mixture_2d.get_config()
    config.schedule.name = name
    for section, value in choice.items():
        config.sampling[section].name = value
    schedule = build_schedule(config)
    solver, ts = build_sampler(config, schedule)
    assert solver == expected
    assert ts.shape == (config.sampling.steps + 1,)
    assert (np.diff(ts) < 0).all()
    assert ts[-1] == 0.0
    vp = schedules.LinearVP()
    levels = np.clip(vp.log_snr(solvers.grids.quadratic(25, power=power)), *schedule.log_snr(np.array([1.0, 0.0])))
    if name in ("cosine", "linear_vp", "rectified_flow"):  # those that have all its noise levels
        np.testing.assert_allclose(schedule.log_snr(ts)[:-1], levels[:-1], rtol=1e-3, atol=1e-3)
