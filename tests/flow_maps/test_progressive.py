"""Progressive distillation: the student's target against the steps it replaces, on every schedule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import SCHEDULES, in_float64

from scorekit import denoisers, densities, flow_maps, samplers, schedules, solvers, weightings
from scorekit.flow_maps.progressive import Steps
from scorekit.predictions import as_target
from scorekit.process import perturb
from scorekit.typing import Prediction

DATA = lambda: densities.gaussian(jnp.array([0.3, -1.0]), covariance=jnp.array([[0.5, 0.2], [0.2, 0.3]]))
X = np.random.default_rng(0).normal(size=(5, 2))


def euler(prediction, s, schedule):
    return jax.tree.map(lambda x0, eps: schedule.alpha(s) * x0 + schedule.sigma(s) * eps, *prediction)


@pytest.mark.parametrize("name", ["cosine", "edm", "geometric_ve", "learned", "rectified_flow", "sub_vp"])
@in_float64
def test_two_step_prediction_step_equals_two_teacher_steps(name):
    schedule = SCHEDULES[name].make()
    teacher, x_t = denoisers.exact_denoiser(DATA(), schedule), jnp.asarray(X)

    @jax.jit
    def both(t, middle, s):
        pair = flow_maps.two_step_prediction(teacher, x_t, t, middle, s, schedule)
        x_s = samplers.sample(None, teacher, schedule, solvers.Euler(), x_t, jnp.stack([t, middle, s]))
        return euler(pair, s, schedule), x_s, schedule.alpha(t) * pair.x0 + schedule.sigma(t) * pair.eps

    for t, middle, s in ((0.9, 0.6, 0.2), (0.5, 0.49, 0.3), (0.4, 0.2, 0.0), (1.0, 0.7, 0.3), (1.0, 0.5, 0.0)):
        found, x_s, again = both(t, middle, s)
        scale = np.abs(x_s).max()
        np.testing.assert_allclose(found / scale, x_s / scale, atol=1e-9, err_msg=f"{t} {s}")
        np.testing.assert_allclose(again, x_t, rtol=1e-9, atol=1e-9 * float(schedule.sigma(t)), err_msg=f"{t} {s}")


@pytest.mark.parametrize("name", ["cosine", "edm", "sub_vp"])
@in_float64
def test_the_chord_of_two_steps_is_the_same_pair(name):
    schedule = SCHEDULES[name].make()
    teacher, x_t = denoisers.exact_denoiser(DATA(), schedule), jnp.asarray(X)
    t, middle, s = jnp.full(5, 0.8), jnp.linspace(0.5, 0.7, 5), jnp.linspace(0.1, 0.4, 5)

    @jax.jit
    def both():
        x_m = perturb(*teacher(x_t, t), middle, schedule)
        x_s = perturb(*teacher(x_m, middle), s, schedule)
        pair = flow_maps.two_step_prediction(teacher, x_t, t, middle, s, schedule)
        return flow_maps.chord(x_t, x_s, t, s, schedule), pair

    for got, expected in zip(*both(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-8)


@in_float64
def test_the_chord_of_the_exact_path_is_exact_in_one_step():
    """Any teacher will do for a chord; with the exact map of the ODE a student of one step is exact."""
    schedule, data, x = schedules.cosine(), DATA(), jnp.asarray(X)
    scales = lambda t: (schedule.alpha(t), schedule.sigma(t))
    end = data.flow(x, scales(1.0), scales(0.0))
    pair = flow_maps.chord(x, end, 1.0, 0.0, schedule)
    np.testing.assert_allclose(pair.x0, end, rtol=1e-12)
    np.testing.assert_allclose(pair.eps, x, rtol=1e-12)


def test_two_step_prediction_of_short_steps_is_precise_in_float32():
    """Where the difference of two states has lost them."""
    schedule, x = schedules.cosine(), jnp.asarray(X, jnp.float32)
    teacher = denoisers.exact_denoiser(DATA(), schedule)
    t, middle, s = 0.5, 0.499995, 0.49999
    exact = teacher(x, t)
    pair = flow_maps.two_step_prediction(teacher, x, t, middle, s, schedule)
    np.testing.assert_allclose(pair.x0, exact.x0, atol=1e-4)
    x_s = euler(pair, s, schedule)
    assert np.abs(flow_maps.chord(x, x_s, t, s, schedule).x0 - exact.x0).max() > 1e-3


@pytest.mark.slow
@in_float64
def test_optimal_students_sample_like_the_teacher():
    """Three rounds of exact students: 16 steps become 2, and the samples stay where they were."""
    schedule = schedules.cosine()
    ts = solvers.grids.uniform(16)
    first = denoisers.exact_denoiser(DATA(), schedule)
    x = jnp.asarray(X)
    sample = jax.jit(samplers.sample, static_argnums=1)
    expected = sample(None, first, schedule, solvers.Euler(), x, ts)
    student, grid = first, ts
    for steps in flow_maps.halvings(16, 2):
        student, grid = exact_student(student, grid, schedule), grid[::2]
        assert grid.shape == (steps + 1,)
        got = sample(None, student, schedule, solvers.Euler(), x, grid)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
    ideal = DATA().flow(x, (0.0, 1.0), (1.0, 0.0))
    plain = sample(None, first, schedule, solvers.Euler(), x, grid)
    assert np.abs(got - ideal).max() < 0.2 * np.abs(plain - ideal).max()


def exact_student(teacher, grid, schedule):
    """The denoiser that minimises the loss at the student's own times."""

    def student(x, t):
        k = jnp.argmin(jnp.abs(grid[::2][:-1] - t))
        return flow_maps.two_step_prediction(teacher, x, t, grid[2 * k + 1], grid[2 * k + 2], schedule)

    return student


@pytest.mark.slow
@pytest.mark.parametrize("target", ["x0", "eps", "v", "velocity"])
def test_progressive_loss_vanishes_at_the_target(target):
    schedule, rng = schedules.linear_vp(), np.random.default_rng(1)
    teacher = denoisers.exact_denoiser(DATA(), schedule)
    x0, eps = (jnp.asarray(rng.normal(size=(6, 2)), jnp.float32) for _ in range(2))
    steps = flow_maps.student_steps(jax.random.key(0), 6, jnp.linspace(1.0, 0.0, 7))

    def pair_at(x):
        return flow_maps.two_step_prediction(teacher, x, *steps, schedule)

    @jax.jit
    def loss_of_the_target():
        network = lambda x, t: as_target(target).from_prediction(pair_at(x), t, schedule)
        return flow_maps.progressive_loss(network, teacher, schedule, x0, eps, steps, target=target)[0]

    np.testing.assert_allclose(loss_of_the_target(), 0.0, atol=1e-7)
    off = jnp.asarray(rng.normal(size=(6, 2)), jnp.float32)  # the error of the noise, at fixed x_t
    ratio = (schedule.sigma(steps.t) / schedule.alpha(steps.t))[:, None]

    def wrong(x, t):
        x0_, eps_ = pair_at(x)
        return as_target(target).from_prediction(Prediction(x0_ - ratio * off, eps_ + off), t, schedule)

    weighting = weightings.truncated_snr
    loss, aux = jax.jit(
        lambda: flow_maps.progressive_loss(wrong, teacher, schedule, x0, eps, steps, target=target, weighting=weighting)
    )()
    expected = weighting(schedule.log_snr(steps.t)) * jnp.mean(off**2, axis=1)
    np.testing.assert_allclose(loss, expected, rtol=2e-3)
    np.testing.assert_array_equal(aux.t, steps.t)


def test_progressive_loss_has_no_gradient_for_the_teacher():
    schedule = schedules.cosine()
    steps = Steps(jnp.array([0.8]), jnp.array([0.6]), jnp.array([0.4]))

    def loss(scale):
        teacher = denoisers.denoiser_from_network(lambda x, t: scale * x, schedule)
        x = jnp.ones((1, 2))
        return flow_maps.progressive_loss(lambda x, t: 0.5 * x, teacher, schedule, x, x, steps)[0].sum()

    run = jax.jit(jax.value_and_grad(loss))
    (one, slope), (two, _) = run(1.0), run(2.0)
    assert one != two
    assert slope == 0.0


@pytest.mark.slow
def test_student_steps_are_on_the_grid_and_equally_frequent():
    ts = jnp.array([1.0, 0.7, 0.6, 0.2, 0.0])
    steps = flow_maps.student_steps(jax.random.key(3), 100, ts)
    rows = np.stack(steps, axis=-1)
    first, second = (rows == np.float32([1.0, 0.7, 0.6])).all(1), (rows == np.float32([0.6, 0.2, 0.0])).all(1)
    assert (first.sum(), second.sum()) == (50, 50)


def test_invalid_arguments_raise():
    with pytest.raises(ValueError, match=r"ts must have shape \(2 k \+ 1,\) with k >= 1, got \(4,\)"):
        flow_maps.student_steps(jax.random.key(0), 2, jnp.linspace(1, 0, 4))
    with pytest.raises(ValueError, match=r"ts must have shape .* got \(1,\)"):
        flow_maps.student_steps(jax.random.key(0), 2, jnp.ones(1))
    assert flow_maps.halvings(12, 3) == (6, 3)
    assert flow_maps.halvings(2, 1) == (1,)
    for first, last in ((12, 4), (4, 4), (2, 4), (6, 4)):
        allowed = f"first must be last = {last} times a power of 2, at least 2, got {first}"
        with pytest.raises(ValueError, match=allowed):
            flow_maps.halvings(first, last)
