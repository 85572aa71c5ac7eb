"""Training: pairs and triples of times, guidance inside, and what has a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import SCHEDULES

from scorekit import flow_maps, schedules
from scorekit.denoisers import denoiser_from_network
from scorekit.flow_maps.progressive import Steps
from scorekit.times import Times, Uniform
from scorekit.typing import Prediction


def test_two_times_are_ordered_and_equal_in_the_given_part():
    jumps = flow_maps.two_times(jax.random.key(0), Uniform(), schedules.Cosine(), 400, 0.25)
    assert np.all(jumps.s[:100] == jumps.t[:100])
    assert np.all(jumps.s[100:] < jumps.t[100:])
    np.testing.assert_allclose(jumps.t[100:].mean(), 2 / 3, atol=0.05)  # the larger of two uniform times
    np.testing.assert_allclose(jumps.s[100:].mean(), 1 / 3, atol=0.05)


def test_shortcut_steps_halve_the_steps_of_dyadic_grids_of_the_clock():
    for schedule in (schedules.RectifiedFlow(), schedules.EDM()):
        steps = flow_maps.shortcut_steps(jax.random.key(1), schedule, 200, num_levels=4)
        ends = [flow_maps.clock(schedule, u) for u in (1.0, 0.0)]
        part = [(flow_maps.clock(schedule, u) - ends[1]) / (ends[0] - ends[1]) for u in steps]
        length = np.asarray(part[0] - part[2])
        level = np.round(-np.log2(length))
        np.testing.assert_allclose(length, 2.0**-level, atol=1e-4)
        assert np.bincount(level.astype(int)).tolist() == [50] * 4
        np.testing.assert_allclose(part[1], (part[0] + part[2]) / 2, atol=1e-4)
        np.testing.assert_allclose(part[0] / length, np.round(part[0] / length), atol=1e-2)


@pytest.mark.parametrize("name", ["rectified_flow", "edm", "linear_vp"])
def test_all_halves_of_the_shortest_jumps_and_no_others_are_steps_along_the_velocity(name):
    """Of a map that is 0 at s = t and 1 elsewhere: the target is the share of a jump that the map itself makes."""
    schedule, levels, x = SCHEDULES[name].make(), 5, jnp.zeros((500, 1))
    steps = flow_maps.shortcut_steps(jax.random.key(0), schedule, 500, levels)
    target = lambda x, t, s: Prediction(0.0 * x, jnp.where(s < t, 1.0, 0.0)[:, None])
    of_map = lambda x, t, s: Prediction(0.0 * x, 0.0 * x)
    loss = jax.jit(
        lambda steps: flow_maps.semigroup_loss(of_map, schedule, x, x, *steps, teacher=target, shortest=2.0**-levels)
    )(steps)
    shortest = flow_maps.clock(schedule, steps.t) - flow_maps.clock(schedule, steps.s) < 1.5 * 2.0 ** -(levels - 1)
    assert shortest.sum() == 100
    assert np.all(loss[shortest] == 0.0)
    np.testing.assert_allclose(loss[~shortest], 1.0, rtol=1e-5)


def test_tuning_times_are_those_of_the_paper_and_approach_t():
    schedule, t = schedules.EDM(sigma_min=0.0, sigma_max=80.0), jnp.array([0.01, 0.3, 0.6, 0.9])
    w = np.asarray(schedule.sigma(t))
    for stage in (0, 1, 3, 8):
        expected = np.maximum(w * (1 - (1 + 8 / (1 + np.exp(w))) / 2.0**stage), 0)
        found = schedule.sigma(flow_maps.tuning_time(schedule, t, stage))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


WRONG_ORDER = {
    "shortcut_steps": (
        lambda low, high: flow_maps.shortcut_steps(jax.random.key(0), schedules.Cosine(), 3, t_max=low, t_min=high),
        "t_min must be <= t_max = 0.2, got 0.8",
    ),
    "middle_time": (lambda low, high: flow_maps.middle_time(schedules.Cosine(), low, high), "s must be <= t = 0.2"),
    "semigroup_error": (
        lambda low, high: flow_maps.semigroup_error(
            lambda x, t, s: Prediction(x, x), schedules.Cosine(), jnp.ones((1, 1)), low, high, 0.0
        ),
        "middle must be between s = 0.0 and t = 0.2, got 0.8",
    ),
    "semigroup_error of encoding": (
        lambda low, high: flow_maps.semigroup_error(
            lambda x, t, s: Prediction(x, x), schedules.Cosine(), jnp.ones((1, 1)), high, low, 1.0
        ),
        "middle must be between s = 1.0 and t = 0.8, got 0.2",
    ),
}


@pytest.mark.parametrize("name", WRONG_ORDER)
def test_times_in_the_wrong_order_raise_and_traced_give_nan(name):
    function, message = WRONG_ORDER[name]
    with pytest.raises(ValueError, match=message):
        function(0.2, 0.8)
    for leaf in jax.tree.leaves(jax.jit(function)(0.2, 0.8)):
        assert np.isnan(leaf).all()


def test_guided_velocity_is_the_mean_of_example_cond_and_uncond():
    pairs = [Prediction(jnp.full((2, 1), a), jnp.full((2, 1), b)) for a, b in ((3.0, -1.0), (0.5, 2.0), (-2.0, 0.1))]
    cond, uncond = (lambda x, t, pair=pair: pair for pair in pairs[1:])
    velocity = flow_maps.guided_velocity(pairs[0], cond, uncond, jnp.array([2.0, 0.8]), jnp.array([0.0, 0.6]))
    weights = np.array([[2.0, 0.0, -1.0], [0.8, 0.6, -0.4]])
    for half, parts in zip(velocity(jnp.ones((2, 1)), 0.5), zip(*pairs, strict=True), strict=True):
        np.testing.assert_allclose(half, np.sum(weights * np.concatenate(parts, 1), 1, keepdims=True), rtol=1e-5)


# ---- gradients -------------------------------------------------------------------------------------------------------

COSINE, X = schedules.Cosine(), jnp.array([[0.3, -1.0], [0.5, 0.2]])
T, S, WEIGHT = jnp.array([0.5, 0.9]), jnp.array([0.3, 0.6]), jnp.array([1.0, 2.0])
DATA, TIMES, STEPS = (COSINE, X, -X), Times(T, jnp.ones(2)), Steps(T, T - 0.1, S)
denoiser = lambda a: denoiser_from_network(lambda x, t: jnp.tanh(a * x), COSINE)
flow_map = lambda a: flow_maps.flow_map_from_network(lambda x, t, s: a * x * (1 + s * t)[:, None], COSINE, "v")
# Functions of a number of the student, of others, and of the samples.
LOSSES = {
    "consistency_distillation": lambda a, b, c: flow_maps.consistency_distillation_loss(
        denoiser(a), denoiser(b), denoiser(c), *DATA, T, S, weight=WEIGHT
    ),
    "consistency_training": lambda a, b: flow_maps.consistency_training_loss(denoiser(a), denoiser(b), *DATA, T, S),
    "progressive": lambda a, b: flow_maps.progressive_loss(lambda x, t: a * x, denoiser(b), *DATA, STEPS)[0],
    "eulerian": lambda a, b, c: flow_maps.eulerian_loss(
        flow_map(a), *DATA, T, S, velocity=flow_map(b), tangent=flow_map(c)
    ),
    "divergence": lambda a, b, c: flow_maps.divergence_loss(
        lambda x, t, s: a * x, flow_map(b), *DATA, T, S, fraction=T, probe=jnp.sign(X), velocity=denoiser(c)
    ),
    "semigroup": lambda a, b: flow_maps.semigroup_loss(flow_map(a), *DATA, T, T - 0.1, S, teacher=flow_map(b)),
    "matching": lambda x, a, b: flow_maps.matching_loss(denoiser(a), denoiser(b), COSINE, x * X, X, TIMES),
    "fake_score": lambda a, x: flow_maps.fake_score_loss(lambda y, t: jnp.tanh(a * y), COSINE, x * X, X, TIMES)[0],
}


@pytest.mark.parametrize("name", LOSSES)
def test_only_the_first_argument_has_a_gradient_and_every_argument_counts(name):
    loss = jax.jit(lambda *numbers: LOSSES[name](*numbers).sum())
    numbers = [0.5, 0.7, 0.9][: LOSSES[name].__code__.co_argcount]
    gradient = jax.grad(loss, argnums=tuple(range(len(numbers))))(*numbers)
    assert 0 < abs(gradient[0]) < np.inf
    assert not any(gradient[1:])
    changed = [loss(*numbers[:i], numbers[i] + 0.1, *numbers[i + 1 :]) for i in range(len(numbers))]
    assert len({float(value) for value in (loss(*numbers), *changed)}) == 1 + len(numbers)


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.0])
def test_consistency_losses_are_linear_in_the_weights(weight):
    loss = lambda **options: flow_maps.consistency_training_loss(*[denoiser(1.0)] * 2, *DATA, T, S, **options)
    assert (loss() > 0).all()
    np.testing.assert_allclose(loss(weight=jnp.array([weight, 1.0])), jnp.array([weight, 1.0]) * loss(), rtol=1e-6)
