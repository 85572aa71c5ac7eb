"""``experiments.distill``: what a student's folder holds, what is refused, and a student that learns."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from programs import run, save_untrained

from experiments.cli.config import ConfigError, check_config
from experiments.configs import base
from experiments.configs.points import mixture_2d
from experiments.data.dataset import load_dataset
from experiments.models import choices as build
from experiments.models import model
from experiments.training import students
from scorekit import schedules, solvers

SMALL = ["--config.training.steps=4", "--config.training.warmup_steps=1", "--config.training.batch_size=16",
         "--config.training.sample_every=2", "--config.training.checkpoint_every=2"]  # fmt: skip


def teacher_config():
    config = mixture_2d.get_config()
    config.network.update(features=8, blocks=1)
    config.sampling.update(guidance_scale=1.5)
    return config


@pytest.mark.parametrize("method", students.SECTIONS)
def test_the_config_of_a_student_is_that_of_any_run(method):
    config = teacher_config()
    config.sampling.solver.update(name="unipc", predictor=3)
    config.guidance = ("classifier_free", "interval")
    config.rules.interval.noise_max = 5.0
    config, numbers = students.split_fields(students.with_fields(config, method))
    assert numbers.to_dict() == students.SECTIONS[method]
    found = students.config_of_student(config, method, jnp.array([1.0, 0.25, 0.0]))
    check_config(found, base.get_config())
    build.check_choices(found)
    solver, ts = build.build_sampler(found, build.build_schedule(found))
    assert solver == (solvers.Euler() if method == "progressive" else solvers.MultistepConsistency())
    np.testing.assert_array_equal(ts, [1.0, 0.25, 0.0])
    assert found.guidance == ("conditional",)
    assert found.sampling.guidance_scale == 1.0
    assert found.sampling.ema == "0.99" == str(found.training.ema_decays[0])
    assert config.sampling.solver.predictor == 3  # the teacher's is as it was


@pytest.mark.parametrize("schedule", [schedules.cosine(), schedules.edm(), schedules.linear_vp()], ids=str)
def test_the_grid_of_flow_is_even_in_its_clock(schedule):
    ts = np.asarray(students.flow_grid(schedule, 4))
    clock = schedule.sigma(ts) / (schedule.alpha(ts) + schedule.sigma(ts))
    assert (ts[0], ts[-1]) == (1.0, 0.0)
    np.testing.assert_allclose(np.diff(clock), (clock[-1] - clock[0]) / 4, rtol=1e-3)


@pytest.mark.parametrize("name", ["uniform", "quadratic", "vp_quadratic"])
def test_every_other_time_of_the_default_grids_is_the_grid_of_half_the_steps(name):
    config = teacher_config()
    config.sampling.grid.name = name
    fine, coarse = (students.configured_grid(config, schedules.cosine(), n) for n in (8, 4))
    np.testing.assert_allclose(fine[::2], coarse, atol=1e-5)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ((1.0, 0.0), r"times must be 3 for sampling.steps = 2, got 2"),
        ((1.0, 0.5, 0.7), r"ts must decrease strictly within \[0, 1\]"),
    ],
)
def test_given_times_are_checked(times, message):
    config = teacher_config()
    config.sampling.update(steps=2)
    config.sampling.grid.update(name="times", times=times)
    with pytest.raises(ConfigError, match=rf"config.sampling.grid \(times\): {message}"):
        build.build_sampler(config, build.build_schedule(config))


def test_a_grid_of_one_length_is_refused():
    config = teacher_config()
    config.sampling.grid.name = "file"
    with pytest.raises(ConfigError, match=r"config.sampling.grid.name=file: must be the name of a grid of any number"):
        students.configured_grid(config, schedules.cosine(), 4)


def no_teacher(given):
    raise AssertionError("nothing is computed")


def test_a_path_ends_above_zero_where_the_network_needs_noise():
    config = teacher_config()
    config.loss.target.name = "x0"
    dataset = load_dataset(config)
    built = model.build_model(config, dataset)
    numbers = students.with_fields(teacher_config(), "consistency").distillation
    with pytest.raises(ConfigError, match=r"config.sampling.grid.t_min=0.0: must be above 0 \(say 0.001\)"):
        students.consistency(built, dataset, {}, no_teacher, solvers.grids.uniform(8), numbers)
    students.consistency(built, dataset, {}, no_teacher, solvers.grids.uniform(8, 1.0, 0.01), numbers)
    found = students.config_of_student(config, "consistency", students.flow_grid(built.schedule, 2, 0.99, 0.01))
    solver, ts = build.build_sampler(found, built.schedule)
    assert isinstance(solver, solvers.MultistepConsistency)
    np.testing.assert_allclose(jnp.array([solver.t_min, ts[0], ts[-1]]), [0.01, 0.99, 0.01], rtol=1e-6)


def lessons(built, dataset, params, teacher, config):
    ts = students.flow_grid(built.schedule, 2)
    numbers = {name: students.with_fields(teacher_config(), name).distillation for name in students.SECTIONS}
    yield students.progressive(built, dataset, params, teacher, solvers.grids.uniform(4))
    yield students.consistency(built, dataset, params, teacher, solvers.grids.uniform(8), numbers["consistency"])
    yield students.matching(built, dataset, params, teacher, ts, numbers["matching"], config.training)


def test_every_lesson_is_a_loss_per_example_that_the_loop_can_take():
    """And leaves the teacher's parameters, which it starts from, to the teacher."""
    config = teacher_config()
    dataset = load_dataset(config)
    built = model.build_model(config, dataset)
    params = model.init_params(built, jax.random.key(0))
    guided = model.make_guided(config, built)
    teacher = lambda given: guided(params, given, jnp.float32(2.0))
    batch = dataset.batch(0, 0, 6)
    for lesson in lessons(built, dataset, params, teacher, config):
        assert not {id(x) for x in jax.tree.leaves(params)} & {id(x) for x in jax.tree.leaves(lesson.params)}
        prepared = lesson.prepare(jax.random.key(1), batch)
        assert {leaf.shape[0] for leaf in jax.tree.leaves(prepared)} == {6}
        run_loss = jax.jit(lambda p, b, f=lesson.loss: f(p, b)[0])
        losses = run_loss(lesson.params, prepared)
        assert losses.shape == (6,)
        assert np.isfinite(losses).all()
        gradient = jax.jit(jax.grad(lambda p, b, f=lesson.loss: f(p, b)[0].sum()))(lesson.params, prepared)
        assert float(optax.tree.norm(lesson.student(gradient))) > 0
        rows = jax.tree.map(lambda leaf: leaf[:2], prepared)  # examples do not mix
        np.testing.assert_allclose(run_loss(lesson.params, rows), losses[:2], rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run whose network has not learned anything."""
    return save_untrained(tmp_path_factory.mktemp("runs") / "new", teacher_config())


@pytest.mark.slow
@pytest.mark.parametrize("method", students.SECTIONS)
def test_a_student_is_a_run_that_can_be_sampled_and_continued(workdir, tmp_path, method):
    folder = tmp_path / "student"
    command = [f"--workdir={workdir}", f"--student_dir={folder}", f"--method={method}", "--steps=2", *SMALL]
    code, out, err = run("distill", *command)
    assert code == 0, err
    assert str(folder) in out.splitlines()[-1]
    assert "training 4/4 (100%)" in err
    assert (folder / "samples.png").exists()
    assert json.loads((folder / "distillation.json").read_text())["--method"] == method
    code, out, err = run("sample", f"--workdir={folder}", "--num=8")
    assert code == 0, err
    with np.load(folder / "samples" / "sample.npz") as archive:
        assert np.isfinite(archive["x"]).all()
    if method != "progressive":  # what follows is the same for all
        return
    assert sorted(path.name for path in (folder / "rounds").iterdir()) == ["4", "8"]
    assert run("sample", f"--workdir={folder / 'rounds' / '4'}", "--num=8")[0] == 0
    code, out, err = run(
        "benchmarks.distillation", f"--workdir={workdir}", f"--students={folder}", "--steps=2", "--solvers=euler",
        "--grids=uniform", "--num=16",
    )  # fmt: skip
    assert code == 0, err
    assert sum(line.startswith((method, "teacher")) for line in out.split("steps  calls")[1].splitlines()) == 3
    code, out, err = run("distill", *command, "--config.training.steps=6")
    assert code == 0, err
    assert "resuming  from step 4" in out
    code, out, err = run("distill", *command, "--config.sampling.guidance_scale=3")
    assert code == 2
    assert "config.sampling.guidance_scale=3.0: the student in" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config.guidance=cfg_plus_plus", "--config.sampling.solver.name=ddim",
          "--config.sampling.guidance_scale=1"],
         "must keep alpha x0 + sigma eps = x_t for --method=progressive, which cfg_plus_plus does not"),
        (["--config.training.steps=50"], "error: config.training.steps=50: must be above training.warmup_steps = 50"),
    ],
)  # fmt: skip
def test_what_cannot_be_distilled_is_refused_in_one_line(workdir, tmp_path, options, message):
    code, _, err = run("distill", f"--workdir={workdir}", f"--student_dir={tmp_path}", *options)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1
