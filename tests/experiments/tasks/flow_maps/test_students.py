"""Students of distillation: their config, their time grids, and the training task of every method."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from programs import changed

from experiments import data
from experiments.cli.config import ConfigError
from experiments.models import choices
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.checks import check
from experiments.tasks.diffusion.guidance import make_guided
from experiments.tasks.diffusion.model import build_model
from experiments.tasks.diffusion.sampling import build_sampler
from experiments.tasks.flow_maps import flow_map_students, students
from scorekit import schedules, solvers


@pytest.mark.parametrize("method", students.SECTIONS)
def test_config_of_student_is_a_config_of_a_run(ring_config, method):
    config = changed(ring_config, "sampling.solver.name=unipc", "sampling.solver.predictor=3")
    config = changed(config, "guidance=classifier_free,interval", "rules.interval.noise_max=5")
    config, options = students.split_fields(students.with_fields(config, method))
    assert options.to_dict() == students.SECTIONS[method].defaults().to_dict()
    found = students.config_of_student(config, method, jnp.array([1.0, 0.25, 0.0]))
    diffusion.check_fields(found)
    check(found, data.build(found))
    solver, ts = build_sampler(found, choices.build_schedule(found))
    assert solver == (solvers.Euler() if method == "progressive" else solvers.MultistepConsistency())
    np.testing.assert_array_equal(ts, [1.0, 0.25, 0.0])
    assert found.guidance == ("conditional",)
    assert found.sampling.guidance_scale == 1.0
    assert found.sampling.ema == "0.99" == str(found.training.ema_decays[0])
    assert config.sampling.solver.predictor == 3  # the config of the teacher is unchanged


@pytest.mark.parametrize("schedule", [schedules.cosine(), schedules.edm(), schedules.linear_vp()], ids=str)
def test_flow_grid_is_uniform_in_the_clock_of_flow_matching(schedule):
    ts = np.asarray(students.flow_grid(schedule, 4))
    clock = schedule.sigma(ts) / (schedule.alpha(ts) + schedule.sigma(ts))
    assert (ts[0], ts[-1]) == (1.0, 0.0)
    np.testing.assert_allclose(np.diff(clock), (clock[-1] - clock[0]) / 4, rtol=1e-3)


@pytest.mark.parametrize("name", ["uniform", "quadratic", "vp_quadratic"])
def test_every_other_time_of_a_configured_grid_is_the_grid_of_half_the_steps(ring_config, name):
    config = changed(ring_config, f"sampling.grid.name={name}")
    fine, coarse = (students.configured_grid(config, schedules.cosine(), n) for n in (8, 4))
    np.testing.assert_allclose(fine[::2], coarse, atol=1e-5)


def test_configured_grid_needs_a_grid_of_any_length(ring_config):
    config = changed(ring_config, "sampling.grid.name=file")
    with pytest.raises(ConfigError, match=r"config.sampling.grid.name=file: must be the name of a grid of any number"):
        students.configured_grid(config, schedules.cosine(), 4)


def no_teacher(given):
    raise AssertionError("nothing is computed")


def test_consistency_path_ends_above_zero_where_the_target_needs_noise(ring_config, teacher):
    config, dataset = changed(ring_config, "loss.target.name=x0"), teacher.dataset
    model = build_model(config, dataset)
    options = students.with_fields(ring_config, "consistency").distillation
    with pytest.raises(ConfigError, match=r"config.sampling.grid.t_min=0.0: must be above 0 \(say 0.001\)"):
        students.consistency(model, dataset, {}, no_teacher, solvers.grids.uniform(8), options)
    students.consistency(model, dataset, {}, no_teacher, solvers.grids.uniform(8, 1.0, 0.01), options)
    found = students.config_of_student(config, "consistency", students.flow_grid(model.schedule, 2, 0.99, 0.01))
    solver, ts = build_sampler(found, model.schedule)
    assert isinstance(solver, solvers.MultistepConsistency)
    np.testing.assert_allclose(jnp.array([solver.t_min, ts[0], ts[-1]]), [0.01, 0.99, 0.01], rtol=1e-6)


def task(method, config, teacher):
    model, dataset, params = teacher.model, teacher.dataset, teacher.params
    guided = make_guided(config, model)
    follow = lambda given: guided(params, given, jnp.float32(2.0))
    options = students.with_fields(changed(config), method).distillation
    if method == "progressive":
        return students.progressive(model, dataset, params, follow, solvers.grids.uniform(4))
    if method == "consistency":
        return students.consistency(model, dataset, params, follow, solvers.grids.uniform(8), options)
    ts = students.flow_grid(model.schedule, 2)
    if method == "matching":
        return students.matching(model, dataset, params, follow, ts, options, config.training)
    config = students.config_of_student(config, method, ts)
    config = flow_map_students.configured(config, method, options, 2, 1.0)
    student = flow_map_students.student_of(config, teacher, follow)
    return students.TrainingTask(student.params, student.prepare, student.loss, lambda params: params)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["progressive", "consistency", "matching", "lagrangian"])
def test_training_task_has_a_loss_of_each_example_and_copies_the_teacher(method, ring_config, teacher):
    found = task(method, ring_config, teacher)
    assert not {id(x) for x in jax.tree.leaves(teacher.params)} & {id(x) for x in jax.tree.leaves(found.params)}
    prepared = jax.jit(found.prepare)(jax.random.key(1), teacher.dataset.batch(0, 0, 6))
    assert {leaf.shape[0] for leaf in jax.tree.leaves(prepared)} == {6}

    @jax.jit
    def run(params, batch):
        total = lambda p: (lambda losses: (losses.sum(), losses))(found.loss(p, batch)[0])
        gradient, losses = jax.grad(total, has_aux=True)(params)
        return losses, gradient

    losses, gradient = run(found.params, prepared)
    assert losses.shape == (6,)
    assert np.isfinite(losses).all()
    assert float(optax.tree.norm(found.student(gradient))) > 0
    rows = jax.tree.map(lambda leaf: leaf[jnp.array([0, 1, 0, 0, 0, 0])], prepared)  # examples do not mix
    np.testing.assert_allclose(run(found.params, rows)[0][:2], losses[:2], rtol=1e-4, atol=1e-6)
