"""Classifier-free guidance and its interval."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from scorekit import Prediction, denoisers, densities, process, schedules, solvers
from scorekit.guidance import classifier_free, classifier_free_batched, interval

SCHEDULE = schedules.cosine()
DATA = densities.ring(num_modes=3, std=0.3)
UNCOND = denoisers.exact_denoiser(DATA, SCHEDULE)
COND = denoisers.exact_denoiser(DATA.component(1), SCHEDULE)
X = jax.random.normal(jax.random.key(0), (5, 2))
T = jnp.float32(0.4)


def same(one, other, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **{"rtol": 1e-5, "atol": 1e-6, **tolerance}), one, other)


def test_scale_zero_is_unconditional_and_one_is_conditional():
    same(classifier_free(COND, UNCOND, 0.0)(X, T), UNCOND(X, T))
    same(classifier_free(COND, UNCOND, 1.0)(X, T), COND(X, T))


@pytest.mark.parametrize("scale", [-1.0, 0.5, 3.0, 50.0])
def test_equal_branches_are_left_alone(scale):
    same(classifier_free(COND, COND, scale)(X, T), COND(X, T), atol=1e-4)


def test_the_guided_score_is_that_of_the_tilted_density():
    """grad log [p_t(x) (p_t(x | y) / p_t(x))^gamma]."""
    gamma, alpha, sigma = 2.5, SCHEDULE.alpha(T), SCHEDULE.sigma(T)
    p, p_y = DATA.marginal(alpha, sigma), DATA.component(1).marginal(alpha, sigma)
    tilted = lambda x: p.log_density(x) + gamma * (p_y.log_density(x) - p.log_density(x))
    expected = jax.vmap(jax.grad(tilted))(X)
    guided = classifier_free(COND, UNCOND, gamma)(X, T)
    np.testing.assert_allclose(process.score(guided, T, SCHEDULE), expected, rtol=1e-3, atol=1e-4)


def test_both_halves_still_make_up_x_t():
    x0, eps = classifier_free(COND, UNCOND, 4.0)(X, T)
    np.testing.assert_allclose(SCHEDULE.alpha(T) * x0 + SCHEDULE.sigma(T) * eps, X, rtol=1e-4, atol=1e-5)


def test_one_scale_per_example():
    scales = jnp.array([0.0, 1.0, 2.0, 3.0, -1.0])
    together = classifier_free(COND, UNCOND, scales)(X, T)
    for i, scale in enumerate(scales):
        alone = classifier_free(COND, UNCOND, scale)(X[i : i + 1], T)
        same(jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], together), alone, rtol=1e-4, atol=1e-5)


class Labelled:
    """A conditional denoiser that counts its calls and the rows of each."""

    def __init__(self):
        self.rows = []

    def __call__(self, x_t, t, label):
        self.rows.append(jax.tree.leaves(x_t)[0].shape[0])
        shift = label[:, None].astype(jnp.float32) * (1.0 + jnp.reshape(t, (-1, 1)))
        return Prediction(jax.tree.map(lambda x: x + shift, x_t), jax.tree.map(lambda x: x - shift, x_t))


@pytest.mark.parametrize("t", [T, jnp.linspace(0.1, 0.9, 5)])
def test_one_batched_call_equals_two(t):
    labels, null, conditional = jnp.arange(5), jnp.int32(9), Labelled()
    batched = classifier_free_batched(conditional, labels, null, 3.0)(X, t)
    assert conditional.rows == [10]
    at = lambda label: lambda x, t: conditional(x, t, jnp.broadcast_to(label, (5,)))
    two = classifier_free(at(labels), at(null), 3.0)(X, t)
    assert conditional.rows == [10, 5, 5]
    same(batched, two)


def test_batched_takes_trees():
    x = {"a": X, "b": 2 * X}
    out = classifier_free_batched(Labelled(), jnp.arange(5), jnp.int32(9), 1.0)(x, T)
    same(out.x0["b"], 2 * X + jnp.arange(5)[:, None] * 1.4)


def test_batched_takes_a_null_for_each_leaf_of_the_condition():
    condition = {"label": jnp.arange(5), "text": jnp.linspace(0.0, 1.0, 10).reshape(5, 2)}
    null = {"label": 9, "text": jnp.array([0.5, -0.5])}

    def conditional(x, t, c):
        assert c["label"].dtype == jnp.int32
        return Prediction(x + t + (0.1 * c["label"] + c["text"] @ jnp.array([1.0, 2.0]))[:, None], x)

    nulls = {"label": jnp.full(5, 9), "text": jnp.tile(null["text"], (5, 1))}
    branches = (lambda x, t, c=c: conditional(x, t, c) for c in (condition, nulls))
    same(classifier_free_batched(conditional, condition, null, 3.0)(X, T), classifier_free(*branches, 3.0)(X, T))


def counted(name, calls, value):
    def denoiser(x, t):
        jax.debug.callback(lambda: calls.append(name))
        return Prediction(x + value, x - value)

    return denoiser


@pytest.mark.parametrize(("noise", "expected"), [(0.4, "plain"), (0.51, "guided"), (2.0, "guided"), (2.1, "plain")])
def test_outside_the_interval_the_guided_call_is_not_made(noise, expected):
    calls, schedule = [], schedules.geometric_ve(0.01, 10.0)
    rule = interval(counted("guided", calls, 1.0), counted("plain", calls, 0.0), schedule, 0.5, 2.001)
    t = schedule.time_at(-2.0 * jnp.log(noise))
    out = jax.jit(lambda x, t: rule(x, t))(X, t)
    jax.effects_barrier()
    assert calls == [expected]
    same(out.x0, X + (expected == "guided"))


def test_the_interval_saves_calls_inside_a_sampler():
    calls, ts = [], solvers.grids.uniform(10)
    rule = interval(counted("guided", calls, 0.0), counted("plain", calls, 0.0), SCHEDULE, 0.3, 3.0)
    jax.block_until_ready(jax.jit(solvers.sample)(None, rule, SCHEDULE, solvers.Euler(), X, ts))
    jax.effects_barrier()
    noise = np.exp(-0.5 * np.asarray(SCHEDULE.log_snr(ts[:-1])))
    inside = int(np.sum((noise > 0.3) & (noise <= 3.0)))
    assert 0 < inside < 10
    assert calls.count("guided") == inside
    assert calls.count("plain") == 10 - inside


def constant(value, x, t):
    return Prediction(jnp.full_like(x, value), x)


GUIDED, PLAIN = Partial(constant, 1.0), Partial(constant, 0.0)


def test_the_lower_bound_is_out_and_the_upper_one_is_in():
    half = jnp.array([0.5, 0.5])  # where the noise of the rectified flow is exactly its signal
    for t in (half[0], half):
        for bounds, expected in (((0.5, 1.0), 1.0), ((1.0, 2.0), 0.0)):
            rule = interval(GUIDED, PLAIN, schedules.rectified_flow(), *bounds)
            assert np.all(rule(X[:2], t).x0 == expected)


@pytest.mark.parametrize("schedule", [SCHEDULE, schedules.rectified_flow(), schedules.edm(), schedules.sigmoid()])
def test_without_bounds_it_always_guides(schedule):
    for t in (1e-4, 0.5, 1.0):
        assert np.all(interval(GUIDED, PLAIN, schedule)(X, t).x0 == 1.0)


def test_a_batch_of_times_agrees_with_scalars():
    rule = interval(classifier_free(COND, UNCOND, 3.0), COND, SCHEDULE, 0.3, 3.0)
    times = jnp.array([0.05, 0.3, 0.5, 0.7, 0.95])
    together = rule(X, times)
    for i, t in enumerate(times):
        same(jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], together), rule(X[i : i + 1], t), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [((2.0, 1.0), "noise_max must be > noise_min = 2.0, got 1.0"), ((-1.0, 1.0), "noise_min must be >= 0, got -1.0")],
)
def test_an_interval_the_wrong_way_round_is_refused(bounds, message):
    with pytest.raises(ValueError, match=message):
        interval(COND, UNCOND, SCHEDULE, *bounds)


def test_numbers_do_not_recompile():
    traces = []

    def network(x, t):
        traces.append(1)
        return x * t

    def run(scale, low, high):
        plain = denoisers.denoiser_from_network(network, SCHEDULE)
        rule = interval(classifier_free(plain, plain, scale), plain, SCHEDULE, low, high)
        return compiled(rule)

    compiled = jax.jit(lambda rule: solvers.sample(None, rule, SCHEDULE, solvers.Euler(), X, solvers.grids.uniform(3)))
    run(jnp.float32(1.0), jnp.float32(0.1), jnp.float32(1.0))
    first = len(traces)
    run(jnp.float32(4.0), jnp.float32(0.2), jnp.float32(5.0))
    assert len(traces) == first > 0


def test_gradient_reaches_the_scale():
    def end(scale):
        rule = classifier_free(COND, UNCOND, scale)
        return solvers.sample(None, rule, SCHEDULE, solvers.DPMSolverPP2M(), X, solvers.grids.uniform(4)).sum()

    step = 1e-2
    slope = (end(2.0 + step) - end(2.0 - step)) / (2 * step)
    assert float(jax.grad(end)(2.0)) == pytest.approx(float(slope), rel=1e-2)


def test_guided_denoisers_cross_jit():
    rule = classifier_free(COND, UNCOND, 2.0)
    same(jax.jit(lambda d, x: d(x, T))(rule, X), rule(X, T))
    assert isinstance(rule, Partial)
