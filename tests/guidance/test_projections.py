"""APG, CFG-Zero* and tangential guidance, against naive numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rule_table import COND, SCHEDULE, UNCOND, T, X, once, same

from scorekit import Prediction, predictions, samplers, schedules, solvers
from scorekit.guidance import apg, cfg_zero_star, classifier_free, init_denoiser_state, tangential

FLOW = schedules.rectified_flow()


def flat(x):
    return np.asarray(x, np.float64).reshape(len(x), -1)


class MomentumBuffer:
    """As published."""

    def __init__(self, momentum):
        self.momentum, self.running_average = momentum, 0

    def update(self, update):
        self.running_average = update + self.momentum * self.running_average


def published_apg(cond, uncond, scale, buffer, eta, threshold):
    difference = cond - uncond
    if buffer is not None:
        buffer.update(difference)
        difference = buffer.running_average
    if threshold > 0:
        norm = np.linalg.norm(difference, axis=1, keepdims=True)
        difference = difference * np.minimum(1.0, threshold / norm)
    unit = cond / np.linalg.norm(cond, axis=1, keepdims=True)
    parallel = (difference * unit).sum(axis=1, keepdims=True) * unit
    return cond + (scale - 1) * (difference - parallel + eta * parallel)


@pytest.mark.parametrize(
    ("eta", "momentum", "threshold"), [(0.0, None, 0.0), (0.3, None, 1.5), (1.0, -0.5, 0.0), (0.2, -0.75, 2.0)]
)
def test_apg_matches_the_published_code_over_several_calls(eta, momentum, threshold):
    rule = apg(COND, UNCOND, SCHEDULE, 4.0, parallel=eta, momentum=momentum, norm_threshold=threshold or jnp.inf)
    state, buffer = init_denoiser_state(rule, X), None if momentum is None else MomentumBuffer(momentum)
    predict = jax.jit(lambda rule, state, x, t: rule.predict(state, x, t))
    for k, t in enumerate((0.8, 0.6, 0.3)):
        x = X + 0.3 * k
        prediction, state = predict(rule, state, x, t)
        expected = published_apg(flat(COND(x, t).x0), flat(UNCOND(x, t).x0), 4.0, buffer, eta, threshold)
        np.testing.assert_allclose(flat(prediction.x0), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("momentum", [None, 0.0])
def test_apg_without_projection_is_classifier_free(momentum):
    rule = apg(COND, UNCOND, SCHEDULE, 4.0, parallel=1.0, momentum=momentum)
    same(once(rule, X, T), classifier_free(COND, UNCOND, 4.0)(X, T), rtol=1e-4, atol=1e-4)


def test_apg_has_a_gradient_where_the_branches_are_equal():
    loss = lambda x: once(apg(COND, COND, SCHEDULE, 4.0, momentum=0.3), x, T).x0.sum()
    plain = lambda x: COND(x, T).x0.sum()
    same(*jax.jit(lambda x: (jax.grad(loss)(x), jax.grad(plain)(x)))(X), atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tangential(COND, UNCOND, FLOW, 2.0, "x"), "target must be one of .* got 'x'"),
    ],
)
def test_invalid_arguments_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def from_velocity(value):
    return lambda x, t: predictions.Velocity().to_prediction(value, x, t, FLOW)


C, U = (jax.random.normal(jax.random.key(k), X.shape) for k in (1, 2))


def test_cfg_zero_star_matches_the_published_code():
    found = cfg_zero_star(from_velocity(C), from_velocity(U), FLOW, 3.0)(X, T)
    c, u = flat(C), flat(U)
    star = (c * u).sum(axis=1, keepdims=True) / ((u**2).sum(axis=1, keepdims=True) + 1e-8)
    np.testing.assert_allclose(flat(found.eps - found.x0), u * star + 3.0 * (c - u * star), rtol=1e-4, atol=1e-4)


def test_cfg_zero_star_of_parallel_velocities_is_conditional():
    """Where ``v_cond = 2 v_uncond`` the optimum is the conditional velocity, whatever the scale."""
    found = cfg_zero_star(from_velocity(2 * U), from_velocity(U), FLOW, 9.0)(X, T)
    same(found, from_velocity(2 * U)(X, T), rtol=1e-4, atol=1e-4)


def test_cfg_zero_star_has_zero_velocity_above_its_noise_level():
    rule = cfg_zero_star(from_velocity(C), from_velocity(U), FLOW, 3.0, zero_above=24.0)
    times = jnp.array([1.0, 0.97, 0.9601, 0.9599, 0.5])
    moved = jnp.abs((lambda p: p.eps - p.x0)(rule(X, times))).max(axis=(1, 2)) > 1e-3
    assert moved.tolist() == [False, False, False, True, True]
    x = samplers.sample(None, rule, FLOW, solvers.Euler(), X, jnp.array([1.0, 0.98, 0.965]))
    same(x, X)


@pytest.mark.parametrize("target", ["v", "eps", "x0", "velocity"])
def test_tangential_against_a_singular_value_decomposition(target):
    schedule = SCHEDULE
    found = tangential(COND, UNCOND, schedule, 3.0, target)(X, T)
    kind = predictions.as_target(target)
    c, u = (flat(kind.from_prediction(d(X, T), T, schedule)) for d in (COND, UNCOND))
    expected = np.empty_like(c)
    for i in range(len(c)):
        _, _, right = np.linalg.svd(np.stack([u[i], c[i]]), full_matrices=False)
        damped = right[0] * (right[0] @ u[i])
        expected[i] = damped + 3.0 * (c[i] - damped)
    np.testing.assert_allclose(flat(kind.from_prediction(found, T, schedule)), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_projections_are_taken_over_the_full_tree():
    x = {"a": X[..., 0], "b": X[..., 1]}
    split = lambda d: lambda tree, t: _split(d(jnp.stack([tree["a"], tree["b"]], axis=-1), t))
    builds = (
        lambda c, u: apg(c, u, SCHEDULE, 3.0, norm_threshold=1.0),
        lambda c, u: cfg_zero_star(c, u, SCHEDULE, 3.0),
        lambda c, u: tangential(c, u, SCHEDULE, 3.0),
    )
    trees = jax.jit(lambda: [build(split(COND), split(UNCOND))(x, T) for build in builds])()
    arrays = jax.jit(lambda: [_split(build(COND, UNCOND)(X, T)) for build in builds])()
    same(trees, arrays, rtol=1e-4, atol=1e-4)


def _split(prediction):
    return Prediction(*({"a": half[..., 0], "b": half[..., 1]} for half in prediction))
