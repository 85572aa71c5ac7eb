"""Students of distillation: their config, their time grids, the training task of every method, and γ as a condition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from parameters import random_params
from programs import changed, check_config, error_of
from tables import in_float64

from experiments import data
from experiments.models.conditioning import GUIDANCE
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.build import build_model, build_rules, build_sampler, build_schedule, make_sampler
from experiments.tasks.diffusion.fields import FLOW_MAPS
from experiments.tasks.diffusion.guidance import make_guided
from experiments.tasks.diffusion.loss import make_prepare
from experiments.tasks.flow_maps import distillation, students
from scorekit import denoisers, densities, flow_maps, guidance, schedules, solvers
from scorekit.times import Uniform

LABELS = np.arange(16, dtype=np.int32) % 8


@pytest.fixture
def fields_of(ring_config):
    """Makes the config of the ring's teacher and the options of a method, with these fields."""

    def make(method, *overrides, **options):
        config = students.with_fields(changed(ring_config, *overrides), method)
        config.distillation.update(options)
        return students.split_fields(config)

    return make


@pytest.fixture
def student_config(fields_of):
    """Makes the config of a student in one step by a method with some options."""

    def make(method, **options):
        config, options = fields_of(method, "sampling.guidance_scale=3.0", steps=1, **options)
        return students.config_of_student(config, options, build_schedule(config))

    return make


@pytest.mark.parametrize("method", students.SECTIONS)
def test_config_of_student_is_a_config_of_a_run(fields_of, method):
    config, options = fields_of(
        method,
        "sampling.solver.name=unipc",
        "sampling.solver.predictor=3",
        "guidance=classifier_free,interval",
        "rules.interval.noise_max=5",
        steps=2,
    )
    schedule = build_schedule(config)
    student = students.config_of_student(config, options, schedule)
    diffusion.check_fields(student)
    checks.build(student, data.build(student))
    solver, ts = build_sampler(student, schedule)
    flow_map = flow_maps.FlowMapSolver(gamma=1.0 if method == "stable_consistency" else None)
    expected = {"progressive": solvers.Euler(), **dict.fromkeys(students.MAP_LOSSES, flow_map)}
    assert solver == expected.get(method, solvers.MultistepConsistency())
    teacher = build_sampler(config, schedule)[1]
    np.testing.assert_allclose((len(ts), ts[0], ts[-1]), (3, teacher[0], teacher[-1]), rtol=1e-6)
    assert student.guidance == ("conditional",)
    assert student.sampling.guidance_scale == 1.0
    assert student.sampling.ema == "0.99" == str(student.training.ema_decays[0])
    assert config.sampling.solver.predictor == 3  # the config of the teacher is unchanged


@pytest.mark.parametrize("schedule", [schedules.Cosine(), schedules.EDM(), schedules.LinearVP()], ids=str)
def test_flow_grid_is_uniform_in_the_clock_of_flow_matching(schedule):
    ts = np.asarray(students.flow_grid(schedule, 4))
    clock = schedule.sigma(ts) / (schedule.alpha(ts) + schedule.sigma(ts))
    assert (ts[0], ts[-1]) == (1.0, 0.0)
    np.testing.assert_allclose(np.diff(clock), (clock[-1] - clock[0]) / 4, rtol=1e-3)


def test_rounds_halve_a_grid_of_any_number_of_steps(fields_of):
    for name in ("uniform", "quadratic", "vp_quadratic"):
        config, options = fields_of("progressive", f"sampling.grid.name={name}", steps=3, teacher_steps=20)
        first = students.first_times(config, options, schedules.Cosine())
        assert len(first) == 24 + 1
        coarse = students.configured_grid(config, schedules.Cosine(), 12)
        np.testing.assert_allclose(first[::2], coarse, atol=1e-5)
    config, _ = fields_of("progressive", "sampling.grid.name=file")
    words = "config.sampling.grid.name=file: must be the name of a grid of any number"
    assert words in error_of(students.configured_grid, config, schedules.Cosine(), 4)


def test_consistency_path_ends_above_zero_where_the_target_needs_noise(ring_config, teacher):
    model = build_model(changed(ring_config, "loss.target.name=x0"), teacher.dataset)
    task = lambda ts: distillation.consistency(model, teacher.dataset, {}, lambda given: None, ts, 2, 0.1)
    words = "config.sampling.grid.t_min=0.0: must be above 0 (say 0.001)"
    assert words in error_of(task, solvers.grids.uniform(8))
    task(solvers.grids.uniform(8, 1.0, 0.01))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["progressive", "consistency", "matching", "lagrangian"])
def test_training_task_has_a_loss_of_each_example_and_copies_the_teacher(method, fields_of, teacher):
    config, options = fields_of(method, steps=2)
    if method == "progressive":
        follow = distillation.teacher_of(config, teacher)
        inputs = teacher.model, teacher.dataset, teacher.params, follow, solvers.grids.uniform(4)
        task = distillation.progressive(*inputs)
    else:
        own = students.config_of_student(config, options, teacher.model.schedule)
        _, task = distillation.training_task(own, config, options, teacher)
    params = task.init()
    assert not {id(x) for x in jax.tree.leaves(teacher.params)} & {id(x) for x in jax.tree.leaves(params)}
    prepared = jax.jit(task.prepare)(jax.random.key(1), teacher.dataset.batch(0, 0, 6))
    assert {leaf.shape[0] for leaf in jax.tree.leaves(prepared)} == {6}
    assert method != "consistency" or np.all(prepared["s"] < prepared["t"])

    @jax.jit
    def run(params, batch):
        total = lambda p: (lambda losses: (losses.sum(), losses))(task.loss(p, batch)[0])
        gradient, losses = jax.grad(total, has_aux=True)(params)
        return losses, gradient

    losses, gradient = run(params, prepared)
    assert losses.shape == (6,)
    assert np.isfinite(losses).all()
    assert float(optax.tree.norm(task.student(gradient))) > 0
    rows = jax.tree.map(lambda leaf: leaf[jnp.array([0, 1, 0, 0, 0, 0])], prepared)  # examples do not mix
    np.testing.assert_allclose(run(params, rows)[0][:2], losses[:2], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", students.MAP_LOSSES)
@in_float64
def test_loss_with_a_teacher_vanishes_at_its_exact_map(method):
    """A guided teacher: of Gaussians of one variance, whose guided denoiser is that of another Gaussian."""
    schedule, scale = schedules.Cosine(), 3.0
    cond, uncond = (densities.gaussian(jnp.array([m, -m]), std=0.5) for m in (0.4, 0.1))
    far = densities.gaussian(jnp.array([0.1, -0.1]) + scale * jnp.array([0.3, -0.3]), std=0.5)
    teacher = guidance.classifier_free(*(denoisers.exact_denoiser(d, schedule) for d in (cond, uncond)), scale)
    name = students.MAP_LOSSES[method]
    fields = {"stable_consistency": {}, "shortcut": {"diagonal": 0.25, "levels": 3}}.get(name, {"diagonal": 0.25})
    of_map = FLOW_MAPS[name](**fields)
    drawn = of_map.draw(jax.random.key(0), 12, Uniform(t_min=0.01, t_max=0.99), schedule)
    times = {name: jnp.asarray(value, float) for name, value in drawn.items()}
    x0, eps = jax.random.normal(jax.random.key(1), (2, 12, 2))

    @jax.jit
    def loss(density, times):
        exact = flow_maps.exact_map(density, schedule)
        return of_map.loss(exact, schedule, x0, eps, times, jnp.ones(12), teacher=teacher)

    clock = functools.partial(flow_maps.clock, schedule)
    long = clock(times["t"]) - clock(times["s"]) > 0.3 if name == "shortcut" else np.full(12, True)  # shorter: Euler
    assert (np.asarray(times["s"] < times["t"]) & long).sum() >= 3
    np.testing.assert_allclose(np.asarray(loss(far, times))[long], 0.0, atol=1e-8)
    assert np.asarray(loss(cond, times)).max() > 1e-2


@pytest.mark.slow
def test_student_starts_as_its_guided_teacher_in_every_jump(teacher, ring_config, student_config):
    config = student_config("lagrangian", guidance_max=4.0)
    assert config.sampling.guidance_scale == 3.0
    assert student_config("lagrangian").sampling.guidance_scale == 1.0
    model, task = distillation.flow_map(config, teacher, None)
    x, t = jax.random.normal(jax.random.key(0), (16, 2)), jnp.linspace(0.1, 1.0, 16)
    given = {"labels": LABELS, GUIDANCE: jnp.linspace(1.0, 4.0, 16)}
    ours = jax.jit(model.flow_map(task.init(), given))(x, t, 0.5 * t)
    theirs = make_guided(build_rules(ring_config), teacher.model)(teacher.params, LABELS, None)(x, t)
    np.testing.assert_allclose(ours.x0, theirs.x0, atol=1e-5)
    assert model.guidance_max == 4.0
    follow = distillation.teacher_of(ring_config, teacher)
    found = follow(given)(x, t).x0
    for i in (0, 9, 15):  # by the scale of each example
        one = make_guided(build_rules(ring_config), teacher.model)(teacher.params, LABELS, given[GUIDANCE][i])(x, t).x0
        np.testing.assert_allclose(found[i], one[i], rtol=1e-5, atol=1e-6)
    assert np.abs(found - follow({"labels": LABELS})(x, t).x0)[9:].max() > 1e-4  # γ = 2 of the config elsewhere


@pytest.mark.slow
def test_scale_is_a_condition_drawn_in_training_and_chosen_in_sampling(teacher, student_config):
    config = student_config("eulerian", guidance_max=4.0)
    checks.build(config, teacher.dataset)
    model = build_model(config, teacher.dataset)
    params = jax.tree.map(jnp.asarray, random_params(model, 0.3))
    batch = teacher.dataset.batch(0, 0, 256)
    prepared = jax.jit(make_prepare(model, teacher.dataset, {"labels": 0.25}))(jax.random.key(1), batch)
    scale, dropped = np.asarray(prepared["conditions"][GUIDANCE]), np.asarray(prepared["conditions"]["labels"]) == 8
    assert 30 < dropped.sum() < 100
    assert np.all(scale[dropped] == 1.0)
    assert (scale[~dropped].min(), scale[~dropped].max()) == (pytest.approx(1, abs=0.1), pytest.approx(4, abs=0.1))
    generate = make_sampler(config, model, teacher.dataset)
    assert np.abs(generate(params, 0, LABELS, 1.0) - generate(params, 0, LABELS, 3.0)).max() > 1e-3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("sampling.guidance_scale=5", "sampling.guidance_scale=5.0: must be from 1 to config.loss.guidance_max=4"),
        ("evaluation.guidance_scales=1,6", "evaluation.guidance_scales=6.0: must be from 1"),
        ("loss.guidance_max=None", "sampling.guidance_scale=3.0: must be 1 for a flow map without"),
        ("loss.flow_map.name=consistency_tuning", "loss.guidance_max=4.0: must be None without"),
        ("loss.label_dropout=0", "loss.label_dropout=0.0: must be above 0 with config.loss.guidance_max"),
    ],
)
def test_scales_that_were_not_trained_are_named(student_config, change, words):
    assert f"config.{words}" in error_of(check_config, changed(student_config("eulerian", guidance_max=4.0), change))
