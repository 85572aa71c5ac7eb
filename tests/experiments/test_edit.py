"""``experiments.edit``: its exit_on_config_error, its tasks, and a whole run on a tiny model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags

from experiments.cli.config import ConfigError
from experiments.configs import base
from experiments.inverse import restoration
from scorekit import denoisers, densities, schedules

ROOT = Path(__file__).parents[2]
GRAY, COLOUR = (8, 8, 1), (4, 4, 3)


def give(**given):
    for name, value in given.items():
        flags.FLAGS[name].parse(value)
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "inpant"}, r"--task=inpant: must be one of inpaint, .*invert \(did you mean inpaint\?\)"),
        ({"method": "mmsp"}, r"--method=mmsp: must be one of replacement, .* \(did you mean mmps\?\)"),
        ({"task": "sdedit", "method": "dps"}, "--method=dps: must be left out, --task=sdedit is a method itself"),
        ({"condition": "none"}, "--condition=none: must be null or class"),
        ({"noise_std": "-1"}, "--noise_std=-1.0: must be a finite number >= 0"),
        ({"data_std": "0"}, "--data_std=0.0: must be a finite number > 0"),
        ({"step_size": "nan"}, "--step_size=nan: must be a finite number >= 0"),
        ({"to": "-2"}, "--to=-2: must be a class, 0 or more"),
        ({"strength": "0.5,2"}, r"--strength=0.5,2: must be times in \(0, 1\], as in 0.4,0.8"),
        ({"strength": "much"}, "--strength=much: must be times"),
    ],
)
def test_a_mistyped_command_is_refused_before_anything_is_loaded(load_program, given, message):
    program = load_program("experiments.edit")
    give(workdir="nowhere", **given)
    with pytest.raises(ConfigError, match=message):
        program.main(base.get_config())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: restoration.refuse_misapplied("saturate", restoration.TASKS["saturate"](GRAY), "pigdm"),
            "--method=pigdm: needs a linear operator; --task=saturate can be solved by dps",
        ),
        (
            lambda: restoration.refuse_misapplied("deblur", restoration.TASKS["deblur"](GRAY), "repaint"),
            "--method=repaint: needs a mask; --task=deblur can be solved by replacement, dps, pigdm, mmps",
        ),
        (lambda: restoration.TASKS["colourise"](GRAY), "--task=colourise: needs images of 3 channels, these have 1"),
        (lambda: restoration.TASKS["super_resolution"]((3, 4, 1)), "needs images of even sizes, not 3 x 4"),
    ],
)
def test_a_method_or_a_task_that_does_not_fit_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.parametrize("name", restoration.TASKS)
def test_the_truth_explains_its_observation(name):
    """To within the noise, whose RMS is the consistency of the truth; and the picture has the shape of the data."""
    shape = COLOUR if name == "colourise" else GRAY
    task = restoration.TASKS[name](shape)
    x = jnp.tanh(jax.random.normal(jax.random.key(0), (200, *shape)))
    y = restoration.observe(jax.random.key(1), task, x, 0.1)
    assert restoration.consistency(task, np.asarray(x), y) == pytest.approx(0.1, rel=0.05)
    assert restoration.consistency(task, np.asarray(x) + 0.5, y) > 0.15
    assert task.picture(np.asarray(y)).shape == x.shape
    if task.keep is not None:
        assert not np.any(np.asarray(y)[:, np.broadcast_to(task.keep == 0, shape)])


@pytest.mark.slow
@pytest.mark.parametrize("method", restoration.METHODS)
def test_every_method_restores_a_gaussian(method, capsys):
    """Neighbouring pixels agree in the prior, so that the hidden one is known from the seen one."""
    schedule, shape = schedules.cosine(), (500, 2, 2, 1)
    covariance = 0.95 * jnp.ones((4, 4)) + 0.05 * jnp.eye(4)
    flat = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(4), covariance=covariance), schedule)
    prior = jax.tree_util.Partial(_images, flat)
    keep = np.ones((2, 2, 1), np.float32)
    keep[1, 1] = 0.0
    task = restoration.Task(restoration.operators.mask(jnp.asarray(keep)), lambda y: y, keep)
    y = jnp.broadcast_to(0.8 * keep, shape)
    options = restoration.Options(steps=40, noise_std=0.1, data_std=1.0, step_size=0.1, jump_length=1, resamples=4)
    found = restoration.restore(method, jax.random.key(0), prior, schedule, task, y, shape, options)
    assert restoration.consistency(task, found.x, y) < 0.25
    assert found.x[:, 1, 1].mean() == pytest.approx(0.78, abs=0.15)
    assert found.evaluations == (40 * 4 - 3 if method == "repaint" else 40)
    assert found.gradients == {"pigdm": 40, "dps": 40, "mmps": 160}.get(method, 0)
    assert f"{method} " in capsys.readouterr().err


def _images(flat, x, t):
    return jax.tree.map(lambda leaf: leaf.reshape(x.shape), flat(x.reshape(len(x), -1), t))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run of the smoke config, and a function that runs programs."""
    folder = tmp_path_factory.mktemp("edit")
    caching = {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", **caching}

    def run(program, *arguments):
        command = [sys.executable, "-m", f"experiments.{program}", f"--workdir={folder / 'run'}", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)

    done = run("train", "--config=experiments/configs/images/smoke.py")
    assert done.returncode == 0, done.stderr
    return folder / "run", run


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
def test_a_run_leaves_a_picture_a_table_and_arrays(tiny, arguments):
    workdir, run = tiny
    done = run("edit", "--num=6", *arguments.split())
    assert done.returncode == 0, done.stderr
    task = re.findall("--task=([a-z]+)", arguments)[0]
    stem = workdir / "edits" / task
    assert done.stdout.splitlines()[-1].endswith(f"see {stem}.png and {stem}.npz")
    assert Path(f"{stem}.png").stat().st_size > 1000
    with np.load(f"{stem}.npz") as archive:
        assert len(archive["label"]) == 6
        assert all(archive[name].shape == (6, 8, 8, 1) for name in archive.files if name != "label")
    methods = {"inpaint": restoration.METHODS, "saturate": ("dps",), "sdedit": ("from t",), "invert": ("edited",)}[task]
    for name in ("original", *methods):
        assert re.search(rf"^{name}", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.slow
def test_refusals_that_need_the_run(tiny):
    _, run = tiny
    for arguments, told in (
        (("--task=invert", "--config.sampling.solver.name=ancestral"), "needs a deterministic one, as dpmpp_2m"),
        (("--task=sdedit", "--to=10"), "--to=10: must be a class from 0 to 9"),
        (("--task=saturate", "--method=mmps"), "needs a linear operator"),
        (("--task=colourise",), "needs images of 3 channels"),
    ):
        done = run("edit", *arguments)
        assert done.returncode == 2, done.stderr
        assert told in done.stderr
        assert "Traceback" not in done.stderr
