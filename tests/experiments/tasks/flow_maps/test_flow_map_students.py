"""Students that are flow maps: their losses vanish at the exact map of a teacher, and γ is one of their conditions."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import random_params
from programs import changed, check_config, error_of
from tables import in_float64

from experiments.models.conditioning import GUIDANCE
from experiments.tasks.diffusion.checks import check
from experiments.tasks.diffusion.flow_maps import FLOW_MAPS
from experiments.tasks.diffusion.guidance import make_guided
from experiments.tasks.diffusion.loss import make_prepare
from experiments.tasks.diffusion.model import build_model
from experiments.tasks.diffusion.sampling import make_sampler
from experiments.tasks.flow_maps import distillation, flow_map_students, students
from experiments.tasks.flow_maps.model import guided_velocity
from scorekit import denoisers, densities, flow_maps, guidance, schedules
from scorekit.times import uniform
from scorekit.typing import Prediction


@pytest.mark.slow
@pytest.mark.parametrize("method", flow_map_students.LOSSES)
@in_float64
def test_loss_with_a_teacher_vanishes_at_its_exact_map(method):
    """A guided teacher: of Gaussians of one variance, whose guided denoiser is that of another Gaussian."""
    schedule, scale = schedules.cosine(), 3.0
    cond, uncond = (densities.gaussian(jnp.array([m, -m]), std=0.5) for m in (0.4, 0.1))
    far = densities.gaussian(jnp.array([0.1, -0.1]) + scale * jnp.array([0.3, -0.3]), std=0.5)
    teacher = guidance.classifier_free(*(denoisers.exact_denoiser(d, schedule) for d in (cond, uncond)), scale)
    name = flow_map_students.LOSSES[method]
    fields = {"stable_consistency": {}, "shortcut": {"diagonal": 0.25, "levels": 3}}.get(name, {"diagonal": 0.25})
    found = FLOW_MAPS[name](**fields)
    drawn = found.draw(jax.random.key(0), 12, uniform(0.01, 0.99), schedule)
    times = {name: jnp.asarray(value, float) for name, value in drawn.items()}
    x0, eps = jax.random.normal(jax.random.key(1), (2, 12, 2))

    @jax.jit
    def loss(density, times):
        exact = flow_maps.exact_map(density, schedule)
        return found.loss(exact, schedule, x0, eps, times, jnp.ones(12), teacher=teacher)

    clock = functools.partial(flow_maps.clock, schedule)
    long = clock(times["t"]) - clock(times["s"]) > 0.3 if name == "shortcut" else np.full(12, True)  # shorter: Euler
    assert (np.asarray(times["s"] < times["t"]) & long).sum() >= 3
    np.testing.assert_allclose(np.asarray(loss(far, times))[long], 0.0, atol=1e-8)
    assert np.asarray(loss(cond, times)).max() > 1e-2


@pytest.fixture
def student_config(ring_config):
    """Makes the config of a student by a method with some options."""

    def make(method, **changes):
        config = students.with_fields(changed(ring_config), method)
        config, options = students.split_fields(config)
        options.update(changes)
        config = students.config_of_student(config, method, jnp.array([1.0, 0.0]))
        return flow_map_students.configured(config, method, options, 1, 3.0)

    return make


LABELS = np.arange(16, dtype=np.int32) % 8


@pytest.mark.slow
def test_student_starts_as_its_teacher_in_every_jump(teacher, ring_config, student_config):
    config = student_config("lagrangian", guidance_max=4.0)
    assert config.sampling.guidance_scale == 3.0
    assert student_config("lagrangian").sampling.guidance_scale == 1.0
    student = flow_map_students.student_of(config, teacher, None)
    assert student.model.is_flow_map
    x, t = jax.random.normal(jax.random.key(0), (16, 2)), jnp.linspace(0.1, 1.0, 16)
    given = {"labels": LABELS, GUIDANCE: jnp.linspace(1.0, 4.0, 16)}
    ours = jax.jit(student.model.flow_map(student.params, given))(x, t, 0.5 * t)
    theirs = make_guided(ring_config, teacher.model)(teacher.params, LABELS, None)(x, t)
    np.testing.assert_allclose(ours.x0, theirs.x0, atol=1e-5)
    assert student.model.guidance_max == 4.0
    assert student.params["params"]["conditioning"]["scalars"]["in"]["kernel"].shape[0] == 2 * 32


@pytest.mark.slow
def test_teacher_is_guided_by_the_scale_of_each_example(teacher, ring_config):
    follow = distillation.teacher_of(ring_config, teacher)
    scales, x, t = jnp.linspace(1.0, 4.0, 16), jax.random.normal(jax.random.key(0), (16, 2)), jnp.full(16, 0.6)
    found = follow({"labels": LABELS, GUIDANCE: scales})(x, t).x0
    for i in (0, 9, 15):
        one = make_guided(ring_config, teacher.model)(teacher.params, LABELS, scales[i])(x, t).x0
        np.testing.assert_allclose(found[i], one[i], rtol=1e-5)
    assert np.abs(found - follow({"labels": LABELS})(x, t).x0)[0].max() > 1e-4  # γ = 2 of the config elsewhere


@pytest.mark.slow
def test_scale_is_a_condition_drawn_in_training_and_chosen_in_sampling(teacher, student_config):
    config = student_config("eulerian", guidance_max=4.0)
    check(config, teacher.dataset)
    model = build_model(config, teacher.dataset)
    params = jax.tree.map(jnp.asarray, random_params(model, 0.3))
    batch = teacher.dataset.batch(0, 0, 256)
    prepared = jax.jit(make_prepare(model, teacher.dataset, {"labels": 0.25}))(jax.random.key(1), batch)
    scale, dropped = np.asarray(prepared["conditions"][GUIDANCE]), np.asarray(prepared["conditions"]["labels"]) == 8
    assert 30 < dropped.sum() < 100
    assert np.all(scale[dropped] == 1.0)
    assert (scale[~dropped].min(), scale[~dropped].max()) == (pytest.approx(1, abs=0.1), pytest.approx(4, abs=0.1))
    generate = make_sampler(config, model, teacher.dataset)
    one, two, three = (generate(params, 0, LABELS, scale) for scale in (1.0, 2.0, 3.0))
    assert np.abs(one - two).max() > 1e-3 < np.abs(two - three).max()


@pytest.mark.slow
def test_velocity_of_training_from_scratch_is_that_of_guidance_by_the_map_itself(teacher, student_config):
    config = student_config("eulerian", guidance_max=4.0)
    model = build_model(config, teacher.dataset)
    params = jax.tree.map(jnp.asarray, random_params(model, 0.3))
    x, eps = jax.random.normal(jax.random.key(0), (2, 16, 2))
    scale, t = jnp.linspace(1.0, 4.0, 16), jnp.full(16, 0.5)
    x_t = model.schedule.alpha(t)[:, None] * x + model.schedule.sigma(t)[:, None] * eps
    absent = model.flow_map(params, jnp.full(16, 8))(x_t, t)

    def velocity(x0, eps):
        return guided_velocity(model, params, {"x": x0, "eps": eps, "conditions": {GUIDANCE: scale}})(x_t, t)

    expected = jax.tree.map(lambda e, u: u + scale[:, None] * (e - u), Prediction(x, eps), absent)
    chex.assert_trees_all_close(velocity(x, eps), expected, atol=1e-4)
    same = velocity(*absent)  # an example like the map without conditions: no γ changes it
    chex.assert_trees_all_close(same, absent, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            "sampling.guidance_scale=5",
            "config.sampling.guidance_scale=5.0: must be from 1 to config.loss.guidance_max=4",
        ),
        ("sampling.guidance_scale=0.5", "config.sampling.guidance_scale=0.5: must be from 1"),
        ("evaluation.guidance_scales=1,6", "config.evaluation.guidance_scales=6.0: must be from 1"),
        ("loss.guidance_max=None", "config.sampling.guidance_scale=3.0: must be 1 for a flow map without"),
        ("loss.flow_map.name=consistency_tuning", "config.loss.guidance_max=4.0: must be None without"),
        ("loss.label_dropout=0", "config.loss.label_dropout=0.0: must be above 0 with config.loss.guidance_max"),
        ("loss.guidance_max=1", "config.loss.guidance_max=1.0"),
    ],
)
def test_scales_that_were_not_trained_are_named(student_config, changes, words):
    config = changed(student_config("eulerian", guidance_max=4.0), *changes.split())
    assert words in error_of(check_config, config)


def test_jumps_to_the_end_alone_are_sampled_with_fresh_noise(student_config):
    assert student_config("stable_consistency").sampling.solver.gamma == 1.0
    assert student_config("semigroup").sampling.solver.gamma is None
