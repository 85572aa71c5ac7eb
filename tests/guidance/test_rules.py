"""Network calls: how many there are, with how many rows, what XLA merges, and what the interval skips."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from rule_table import CASES, RULES, SCHEDULE, case, once, same, takes

from scorekit import Prediction, guidance, predictions, samplers, schedules, solvers
from scorekit.arguments import Fraction
from scorekit.guidance import apg, branches, classifier_free, classifier_free_batched, compose, interval, rescale, rule
from scorekit.typing import Number

X = jax.random.normal(jax.random.key(0), (5, 2))
T = jnp.float32(0.4)


class Labelled:
    """A conditional denoiser that counts its calls and the rows of each."""

    def __init__(self):
        self.rows = []

    def __call__(self, x_t, t, label):
        self.rows.append(jax.tree.leaves(x_t)[0].shape[0])
        shift = label[:, None].astype(jnp.float32) * (1.0 + jnp.reshape(t, (-1, 1)))
        return Prediction(jax.tree.map(lambda x: x + shift, x_t), jax.tree.map(lambda x: x - shift, x_t))


def test_batched_takes_a_null_for_each_leaf_of_the_condition():
    condition = {"label": jnp.arange(5), "text": jnp.linspace(0.0, 1.0, 10).reshape(5, 2)}
    null = {"label": 9, "text": jnp.array([0.5, -0.5])}

    def conditional(x, t, c):
        assert c["label"].dtype == jnp.int32
        return Prediction(x + t + (0.1 * c["label"] + c["text"] @ jnp.array([1.0, 2.0]))[:, None], x)

    nulls = {"label": jnp.full(5, 9), "text": jnp.tile(null["text"], (5, 1))}
    branches = (lambda x, t, c=c: conditional(x, t, c) for c in (condition, nulls))
    same(classifier_free_batched(conditional, condition, null, 3.0)(X, T), classifier_free(*branches, 3.0)(X, T))


NOT_RULES = {
    "StatefulDenoiser", "Traits", "branches", "classifier_free_batched", "classifier_free_log_density",
    "classifier_guided_log_density", "dps", "guidance_rule", "init_denoiser_state", "log_product", "mmps",
    "operators", "pigdm", "predict", "replacement", "rule", "sequences", "several_observations",
    "weight_schedule", "windowed", "windows",
    "with_state",
}  # fmt: skip


def test_every_public_rule_has_traits():
    assert set(guidance.__all__) - set(RULES) == NOT_RULES


def test_guidance_rule_attaches_traits_and_checks_the_arguments_of_the_function():
    def new_rule(cond, weight: Fraction[Number] = 0.5):
        return cond

    marked = guidance.guidance_rule(unguided="uncond", unguided_at_one=False, splits=True)(new_rule)
    assert inspect.unwrap(marked) is new_rule
    with pytest.raises(ValueError, match=r"weight must be in \[0, 1\], got 2.0"):
        marked(None, weight=2.0)
    assert marked.traits == guidance.Traits("uncond", False, True)
    assert guidance.Traits() == guidance.guidance_rule()(new_rule).traits


@pytest.mark.parametrize("name", CASES)
def test_every_rule_of_two_branches_makes_one_call(name):
    """With twice the rows; a rule of two unrelated denoisers evaluates each once, even if it uses one of them twice."""
    x, network = jnp.ones((5, 4, 2)), Labelled()
    conditional = lambda x, t, label: network(x[..., 0], t, label).x0[..., None] * jnp.ones(2)
    conditional = Partial(_as_v, conditional)
    cond, uncond = branches(conditional, jnp.arange(5), 9)
    of_branches = case(name, cond, uncond, SCHEDULE, 0.5)
    apart = [Partial(conditional, **{"label": jnp.full(5, k)}) for k in (1, 9)]
    of_two = case(name, *apart, SCHEDULE, 0.5)
    # Inside a lax.cond a call is a program of its own: the guided one, and the plain one.
    expected = ([10, 5], [5, 5, 5]) if CASES[name][0] == "interval" else ([10], [5, 5])
    if not any(takes(name, part) for part in ("cond", "conds", "denoiser")):  # of the unconditional branch alone
        expected = ([5], [5])
    for built, rows in zip((of_branches, of_two), expected, strict=True):
        network.rows.clear()
        jax.make_jaxpr(lambda x, built=built: once(built, x, T))(x)
        assert sorted(network.rows) == sorted(rows)


def test_a_rule_around_an_interval_evaluates_its_own_branch():
    """Inside a lax.cond a call is a program of its own: the guided one, the plain one, and a plain one around it."""
    network = Labelled()
    cond, uncond = branches(network, jnp.arange(5), 9)
    inner = guidance.interval(apg(cond, uncond, SCHEDULE, 3.0), cond, SCHEDULE)
    jax.make_jaxpr(lambda x: rescale(inner, cond, SCHEDULE)(x, T))(X)
    assert sorted(network.rows) == [5, 5, 10]


def _as_v(network, x, t, label):
    return predictions.V().to_prediction(network(x, t, label), x, t, SCHEDULE)


def test_rules_evaluate_only_the_branches_that_they_use():
    network = Labelled()
    a, b, c, null = branches(network, 1, 2, 3, jnp.int32(9))
    compose(null, [a, c], [2.0, -1.0])(X, T)
    b(X, T)
    classifier_free(b, compose(null, [a, b], [1.0, 1.0]), 2.0)(X, T)
    assert network.rows == [15, 5, 15]


def test_calls_stay_shared_through_jit_and_nesting():
    network = Labelled()
    cond, uncond = branches(Partial(_as_v, Partial(lambda x, t, label: network(x, t, label).x0)), jnp.arange(5), 9)
    built = rescale(apg(cond, uncond, SCHEDULE, 3.0, norm_threshold=0.5), cond, SCHEDULE)
    assert len(jax.jit(lambda d, x: d(x, T))(built, X)) == 2
    jax.make_jaxpr(samplers.sample)(built, SCHEDULE, solvers.Heun(), X, solvers.grids.uniform(3))
    assert network.rows == [10, 10]


def test_a_plain_function_in_several_rules_is_one_call():
    calls = []
    cond = lambda x, t: calls.append(t) or Prediction(x, x)
    rescale(classifier_free(cond, lambda x, t: Prediction(0.5 * x, x), 2.0), cond, SCHEDULE)(X, T)
    assert len(calls) == 1


def dense(weights, x, t, label):
    out = jnp.tanh((x + jnp.reshape(label, (-1, 1)) + t) @ weights) @ weights
    return predictions.V().to_prediction(out, x, t, SCHEDULE)


@pytest.mark.slow
def test_xla_merges_the_same_call_in_one_program():
    """Even where identity was lost, because the parts crossed ``jit`` one by one; not out of the branch of a cond."""
    weights, x = 0.1 * jnp.ones((96, 96)), jnp.ones((8, 96))
    conditional = Partial(dense, weights)
    cond, uncond = branches(conditional, jnp.ones(8), 0.0)
    network = 2 * 2 * 8 * 96 * 96  # of one branch

    def calls(build, *parts):
        program = jax.jit(lambda x, *parts: build(*parts)(x, T)).lower(x, *parts).compile()
        return program.cost_analysis()["flops"] / network

    guided = lambda c, u: apg(c, u, SCHEDULE, 2.0)
    assert calls(lambda: cond) == pytest.approx(1.0, abs=0.15)
    assert calls(lambda: classifier_free(cond, uncond, 2.0)) == pytest.approx(2.0, abs=0.15)
    assert calls(lambda: rescale(guided(cond, uncond), cond, SCHEDULE)) == pytest.approx(2.0, abs=0.25)
    assert calls(lambda c, u: rescale(guided(c, u), c, SCHEDULE), cond, uncond) == pytest.approx(2.0, abs=0.25)
    inside = lambda c, u: guidance.interval(guided(c, u), c, SCHEDULE)
    assert calls(lambda: rescale(inside(cond, uncond), cond, SCHEDULE)) > 2.9


def test_rows_of_an_example_are_adjacent():
    """So that a batch that is split over devices needs no communication."""
    seen = []

    def conditional(x, t, label):
        seen.append((x[:, 0], t, label))
        return Prediction(x, x)

    times = jnp.linspace(0.1, 0.5, 5)
    classifier_free_batched(conditional, jnp.arange(5), 9, 2.0)(X, times)
    x, t, label = seen[0]
    np.testing.assert_array_equal(x, np.repeat(X[:, 0], 2))
    np.testing.assert_array_equal(t, np.repeat(times, 2))
    np.testing.assert_array_equal(label, [0, 9, 1, 9, 2, 9, 3, 9, 4, 9])


def warmer(predictions, x_t, t, amount):
    (prediction,) = predictions
    return Prediction(prediction.x0 + amount, prediction.eps)


def test_custom_rules_nest_like_the_others():
    network = Labelled()
    cond, uncond = branches(network, jnp.arange(5), 9)
    built = rescale(rule(warmer, (classifier_free(cond, uncond, 2.0),), 0.5), cond, SCHEDULE, 0.0)
    same(built(X, T).x0, classifier_free(cond, uncond, 2.0)(X, T).x0 + 0.5)
    assert network.rows == [10, 10]


# ---- the guidance interval -------------------------------------------------------------------------------------------


def counted(name, calls, value):
    def denoiser(x, t):
        jax.debug.callback(lambda: calls.append(name))
        return Prediction(x + value, x - value)

    return denoiser


def test_interval_saves_calls_in_sample():
    calls, ts = [], solvers.grids.uniform(10)
    rule = interval(counted("guided", calls, 0.0), counted("plain", calls, 0.0), SCHEDULE, 0.3, 3.0)
    jax.block_until_ready(jax.jit(samplers.sample)(rule, SCHEDULE, solvers.Euler(), X, ts))
    jax.effects_barrier()
    noise = np.exp(-0.5 * np.asarray(SCHEDULE.log_snr(ts[:-1])))
    inside = int(np.sum((noise > 0.3) & (noise <= 3.0)))
    assert 0 < inside < 10
    assert calls.count("guided") == inside
    assert calls.count("plain") == 10 - inside


def constant(value, x, t):
    return Prediction(jnp.full_like(x, value), x)


GUIDED, PLAIN = Partial(constant, 1.0), Partial(constant, 0.0)


def test_interval_excludes_the_lower_and_includes_the_upper_bound():
    half = jnp.array([0.5, 0.5])  # where the noise of the rectified flow is exactly its signal
    for t in (half[0], half):
        for bounds, expected in (((0.5, 1.0), 1.0), ((1.0, 2.0), 0.0)):
            rule = interval(GUIDED, PLAIN, schedules.RectifiedFlow(), *bounds)
            assert np.all(rule(X[:2], t).x0 == expected)


@pytest.mark.parametrize("schedule", [SCHEDULE, schedules.RectifiedFlow(), schedules.EDM(), schedules.Sigmoid()])
def test_interval_without_bounds_always_guides(schedule):
    for t in (1e-4, 0.5, 1.0):
        assert np.all(interval(GUIDED, PLAIN, schedule)(X, t).x0 == 1.0)
