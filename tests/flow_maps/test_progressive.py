"""Progressive distillation: the student's target against the steps it replaces, on every schedule."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from problems import moved, plane
from tables import SCHEDULES, in_float64

from scorekit import denoisers, flow_maps, samplers, schedules, solvers, weightings
from scorekit.flow_maps.progressive import _two_step_prediction
from scorekit.predictions import as_target
from scorekit.process import perturb
from scorekit.typing import Prediction

X = np.random.default_rng(0).normal(size=(5, 2))


@pytest.mark.parametrize("name", ["edm", "rectified_flow", "sub_vp"])
@in_float64
def test_two_step_prediction_step_equals_two_teacher_steps(name):
    schedule = SCHEDULES[name].make()
    teacher, x_t = denoisers.exact_denoiser(plane(), schedule), jnp.asarray(X)

    @jax.jit
    def both(t, middle, s):
        pair = _two_step_prediction(teacher, x_t, t, middle, s, schedule)
        x_s = samplers.sample(teacher, schedule, solvers.Euler(), x_t, jnp.stack([t, middle, s]))
        return perturb(schedule, *pair, s), x_s, schedule.alpha(t) * pair.x0 + schedule.sigma(t) * pair.eps

    t, middle, s = jnp.full(5, 0.8), jnp.linspace(0.5, 0.7, 5), jnp.linspace(0.1, 0.4, 5)
    x_m = perturb(schedule, *teacher(x_t, t), middle)
    chord = flow_maps.chord(schedule, x_t, perturb(schedule, *teacher(x_m, middle), s), t, s)
    pair = _two_step_prediction(teacher, x_t, t, middle, s, schedule)
    chex.assert_trees_all_close(chord, pair, rtol=1e-8)
    for t, middle, s in ((0.9, 0.6, 0.2), (0.5, 0.49, 0.3), (0.4, 0.2, 0.0), (1.0, 0.7, 0.3), (1.0, 0.5, 0.0)):
        found, x_s, again = both(t, middle, s)
        scale = np.abs(x_s).max()
        np.testing.assert_allclose(found / scale, x_s / scale, atol=1e-9, err_msg=f"{t} {s}")
        np.testing.assert_allclose(again, x_t, rtol=1e-9, atol=1e-9 * float(schedule.sigma(t)), err_msg=f"{t} {s}")


@in_float64
def test_the_chord_of_the_exact_path_is_exact_in_one_step():
    """Any teacher will do for a chord; with the exact map of the ODE a student of one step is exact."""
    schedule, data, x = schedules.Cosine(), plane(), jnp.asarray(X)
    end = moved(data, schedule, x, 1.0, 0.0)
    pair = flow_maps.chord(schedule, x, end, 1.0, 0.0)
    np.testing.assert_allclose(pair.x0, end, rtol=1e-12)
    np.testing.assert_allclose(pair.eps, x, rtol=1e-12)


def test_two_step_prediction_of_short_steps_is_precise_in_float32():
    """Where the difference of two states has lost them."""
    schedule, x = schedules.Cosine(), jnp.asarray(X, jnp.float32)
    teacher = denoisers.exact_denoiser(plane(), schedule)
    t, middle, s = 0.5, 0.499995, 0.49999
    exact = teacher(x, t)
    pair = _two_step_prediction(teacher, x, t, middle, s, schedule)
    np.testing.assert_allclose(pair.x0, exact.x0, atol=1e-4)
    x_s = perturb(schedule, *pair, s)
    assert np.abs(flow_maps.chord(schedule, x, x_s, t, s).x0 - exact.x0).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("target", ["x0", "eps", "v", "velocity"])
def test_progressive_loss_vanishes_at_the_target(target):
    schedule, rng = schedules.LinearVP(), np.random.default_rng(1)
    teacher = denoisers.exact_denoiser(plane(), schedule)
    x0, eps = (jnp.asarray(rng.normal(size=(6, 2)), jnp.float32) for _ in range(2))
    steps = flow_maps.student_steps(jax.random.key(0), jnp.linspace(1.0, 0.0, 7), 6)

    def pair_at(x):
        return _two_step_prediction(teacher, x, *steps, schedule)

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


@pytest.mark.slow
def test_student_steps_are_on_the_grid_and_equally_frequent():
    ts = jnp.array([1.0, 0.7, 0.6, 0.2, 0.0])
    steps = flow_maps.student_steps(jax.random.key(3), ts, 100)
    rows = np.stack(steps, axis=-1)
    first, second = (rows == np.float32([1.0, 0.7, 0.6])).all(1), (rows == np.float32([0.6, 0.2, 0.0])).all(1)
    assert (first.sum(), second.sum()) == (50, 50)


def test_halvings():
    assert flow_maps.halvings(12, 3) == (6, 3)
    assert flow_maps.halvings(2, 1) == (1,)


NOT_HALVED = "first must be last = {} times a power of 2, at least 2, got {}"
SHAPE = r"ts must have shape \(2 k \+ 1,\) with k >= 1, got "
test_invalid_arguments_raise = raising(
    {
        **{
            SHAPE + rf"\({n},\)": lambda n=n: flow_maps.student_steps(jax.random.key(0), jnp.linspace(1, 0, n), 2)
            for n in (1, 4)
        },
        **{
            NOT_HALVED.format(last, first): lambda first=first, last=last: flow_maps.halvings(first, last)
            for first, last in ((12, 4), (4, 4), (2, 4), (6, 4))
        },
    }
)
