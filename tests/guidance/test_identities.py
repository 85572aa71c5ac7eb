"""Contracts of every guidance rule, from its traits: identities, transformations, dtypes and pytrees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rule_table import CASES, COND, DATA, SCHEDULE, UNCOND, T, X, case, once, same, traits

from scorekit import Prediction, denoisers
from scorekit.guidance import branches

TIMES = jnp.linspace(0.1, 1.0, 5)
# With one condition, and without a bound on the noise, gamma = 1 is the conditional branch for these rules too.
ALSO_PLAIN_AT_ONE = ("cfg_zero_star", "compose", "negative")
PLAIN_AT_ONE = [name for name in CASES if traits(name).unguided_at_one or name in ALSO_PLAIN_AT_ONE]
# Rules whose result for two equal branches is that branch.
OF_TWO_BRANCHES = [*PLAIN_AT_ONE, "cfg_plus_plus"]


@jax.jit
def evaluated(gamma, x, t):  # with gamma and t of shape (5,)
    """Every rule on the two branches, and on one of them twice."""
    apart = {name: once(case(name, COND, UNCOND, SCHEDULE, gamma), x, t) for name in CASES}
    equal = {name: once(case(name, COND, COND, SCHEDULE, gamma), x, t) for name in OF_TWO_BRANCHES}
    return apart, equal


def full(gamma):
    return jnp.full(5, gamma, jnp.float32)


def every_rule(gamma, t):
    return {name: once(case(name, COND, UNCOND, SCHEDULE, gamma), X, t) for name in CASES}


at = jax.jit(every_rule)


def predictions(gamma, t):
    """Of every rule on the two branches; one compiled program for scalar times and one for times per example."""
    return at(jnp.float32(gamma), t) if jnp.ndim(t) == 0 else evaluated(full(gamma), X, t)[0]


def defined(name, t):
    """The examples whose prediction is finite: the x0 of a scaled score is infinite at alpha = 0."""
    return (np.broadcast_to(t, 5) < 1.0) | (CASES[name][0] != "temperature")


@pytest.mark.slow
@pytest.mark.parametrize("t", [T, TIMES], ids=["scalar", "per_example"])
def test_unguided_at_one_and_guidance_changes_the_prediction(t):
    branch = {"cond": COND(X, t), "uncond": UNCOND(X, t)}
    at_one, guided = (predictions(gamma, t) for gamma in (1.0, 7.0))
    for name in PLAIN_AT_ONE:
        same(at_one[name], branch[traits(name).unguided], rtol=1e-4, atol=1e-4)
    for name, prediction in guided.items():
        rows, plain = defined(name, t), branch[traits(name).unguided]
        assert max(np.abs(a - b)[rows].max() for a, b in zip(prediction, plain, strict=True)) > 0.05, name


def test_equal_branches_are_identities():
    _, equal = evaluated(full(7.0), X, TIMES)
    for name in OF_TWO_BRANCHES:
        same(equal[name], COND(X, TIMES), rtol=1e-4, atol=2e-4)


def test_x0_and_eps_make_up_x_t_unless_the_rule_splits():
    t = TIMES
    alpha, sigma = (jnp.reshape(f(t), (-1, 1, 1)) for f in (SCHEDULE.alpha, SCHEDULE.sigma))
    for name, (x0, eps) in predictions(4.0, t).items():
        if traits(name).splits:
            assert jnp.abs(alpha * x0 + sigma * eps - X).max() > 0.05, name
        else:
            rows = defined(name, t)
            found = (alpha * x0 + sigma * eps)[rows]
            np.testing.assert_allclose(found, X[rows], rtol=1e-5, atol=1e-5, err_msg=name)


def test_rules_are_independent_across_examples():
    scales = jnp.array([0.0, 1.0, 2.0, 3.0, -1.0])
    before, after = evaluated(scales, X, TIMES)[0], evaluated(scales, X.at[1].set(9.0), TIMES)[0]
    for name in CASES:
        for a, b in zip(before[name], after[name], strict=True):
            np.testing.assert_array_equal(np.delete(a, 1, axis=0), np.delete(b, 1, axis=0), err_msg=name)
        assert max(np.abs(a[1] - b[1]).max() for a, b in zip(before[name], after[name], strict=True)) > 0.1, name


@pytest.mark.parametrize("name", CASES)
def test_rules_preserve_dtypes_and_pytrees(name):
    """Shapes and dtypes only; nothing is compiled."""
    gain = lambda c: lambda x, t: Prediction(*[jax.tree.map(lambda leaf: c * leaf, x)] * 2)
    x = {"a": X.astype(jnp.bfloat16), "b": X}
    expected = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), x)

    def run(gamma):
        return once(case(name, gain(0.5), gain(0.2), SCHEDULE, gamma), x, T)

    x0, eps = jax.eval_shape(run, jnp.float32(0.7))
    assert x0 == expected
    assert eps == expected


def test_thresholds_of_bfloat16_states_are_those_of_float32():
    names = ("static_threshold", "dynamic_threshold")
    run = jax.jit(lambda x: [once(case(name, COND, UNCOND, SCHEDULE, 2.0), x, T) for name in names])
    half, full = run(X.astype(jnp.bfloat16)), run(X)
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(half))
    for (x0, eps), (x0_full, eps_full) in zip(jax.tree.map(jnp.float32, half), full, strict=True):
        np.testing.assert_allclose(x0, x0_full, rtol=0.02, atol=0.02)
        np.testing.assert_allclose(eps, eps_full, rtol=0.02, atol=0.05)


@pytest.mark.slow
def test_rules_vmap_over_the_guidance_scale():
    scales = jnp.array([0.5, 3.0])
    found = jax.jit(jax.vmap(every_rule, (0, None)))(scales, T)
    for i, gamma in enumerate(scales):
        same(jax.tree.map(lambda leaf, i=i: leaf[i], found), at(gamma, T), rtol=1e-4, atol=1e-4)


def test_a_scale_and_a_time_per_example_are_those_of_each_alone():
    scales = jnp.array([0.0, 1.0, 2.0, 3.0, -1.0])
    together, _ = evaluated(scales, X, TIMES)
    for i in range(5):
        alone = at(scales[i], TIMES[i])
        for name in CASES:
            if not defined(name, TIMES)[i]:
                continue
            for a, b in zip(together[name], alone[name], strict=True):
                np.testing.assert_allclose(a[i], b[i], rtol=1e-4, atol=1e-5, err_msg=name)


def test_both_ends_of_time_are_finite():
    for t in (0.0, 1.0):
        for name, leaves in at(jnp.float32(3.0), jnp.float32(t)).items():
            assert all(np.isfinite(leaf[defined(name, t)]).all() for leaf in leaves), (name, t)


@pytest.mark.slow
def test_one_batched_call_equals_two_calls():
    """Each rule has the same result for branches of one call and for two denoisers."""
    mean = jnp.array([DATA.component(k).mean for k in range(3)])

    def conditional(x, t, k):  # of Gaussians, whose denoisers are linear: row by row
        alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
        centred = x - alpha * mean[k][:, None]
        gain = 1.0 / (alpha**2 * 0.09 + sigma**2)
        return type(COND(x, t))(mean[k][:, None] + alpha * 0.09 * gain * centred, sigma * gain * centred)

    one, two = (denoisers.exact_denoiser(DATA.component(k), SCHEDULE) for k in (1, 2))
    cond, uncond = branches(conditional, jnp.full(5, 1), 2)

    @jax.jit
    def both(gamma, x):
        return [
            {name: once(case(name, *parts, SCHEDULE, gamma), x, T) for name in CASES}
            for parts in ((cond, uncond), (one, two))
        ]

    same(*both(jnp.float32(3.0), X), rtol=1e-4, atol=1e-4)
