"""What every rule of two branches has in common."""

import jax.numpy as jnp
import numpy as np
import pytest
from rule_cases import COND, DATA, PAIRS, SCHEDULE, UNCOND, T, X, once, same
from tables import quick_jit

from scorekit import denoisers
from scorekit.guidance import branches

TIMES = jnp.linspace(0.1, 1.0, 5)


@quick_jit
def evaluated(gamma, x, t):  # gamma (5,) throughout, so that it compiles once for each kind of time
    """Every rule on the two branches, and on one of them twice."""
    apart = {name: once(pair(COND, UNCOND, SCHEDULE, gamma), x, t) for name, pair in PAIRS.items()}
    equal = {name: once(pair(COND, COND, SCHEDULE, gamma), x, t) for name, pair in PAIRS.items()}
    return apart, equal


@pytest.mark.parametrize("t", [T, TIMES], ids=["scalar", "per_example"])
def test_scale_one_and_equal_branches_change_nothing(t):
    plain = COND(X, t)
    apart, equal = evaluated(jnp.full(5, 1.0, jnp.float32), X, t)
    for name in PAIRS:
        if name != "negative":
            same(apart[name], plain, rtol=1e-4, atol=1e-4)
    guided, equal = evaluated(jnp.full(5, 7.0, jnp.float32), X, t)
    for name in PAIRS:
        same(equal[name], plain, rtol=1e-4, atol=2e-4)
        assert max(float(jnp.abs(a - b).max()) for a, b in zip(guided[name], plain, strict=True)) > 0.05, name


@pytest.mark.parametrize("t", [T, TIMES], ids=["scalar", "per_example"])
def test_both_halves_still_make_up_x_t(t):
    """For all of them; not for CFG++ (see its test)."""
    alpha, sigma = (jnp.reshape(f(t), (-1, 1, 1)) for f in (SCHEDULE.alpha, SCHEDULE.sigma))
    for name, (x0, eps) in evaluated(jnp.full(5, 4.0, jnp.float32), X, t)[0].items():
        np.testing.assert_allclose(alpha * x0 + sigma * eps, X, rtol=1e-4, atol=1e-4, err_msg=name)


def test_batch_mates_do_not_mix():
    scales = jnp.array([0.0, 1.0, 2.0, 3.0, -1.0])
    before, after = evaluated(scales, X, TIMES)[0], evaluated(scales, X.at[1].set(9.0), TIMES)[0]
    for name in PAIRS:
        for a, b in zip(before[name], after[name], strict=True):
            np.testing.assert_array_equal(np.delete(a, 1, axis=0), np.delete(b, 1, axis=0), err_msg=name)
            assert np.abs(a[1] - b[1]).max() > 0.1


def test_both_ends_of_time_are_finite():
    @quick_jit
    def ends(t):
        return {name: once(pair(COND, UNCOND, SCHEDULE, 3.0), X, t) for name, pair in PAIRS.items()}

    for t in (0.0, 1.0):
        for name, leaves in ends(t).items():
            assert all(np.isfinite(leaf).all() for leaf in leaves), (name, t)


def test_one_batched_call_is_two():
    """Each rule gives the same from branches of one call as from two denoisers."""
    mean = jnp.array([DATA.component(k).mean for k in range(3)])

    def conditional(x, t, k):  # of Gaussians, whose denoisers are linear: row by row
        alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
        centred = x - alpha * mean[k][:, None]
        gain = 1.0 / (alpha**2 * 0.09 + sigma**2)
        return type(COND(x, t))(mean[k][:, None] + alpha * 0.09 * gain * centred, sigma * gain * centred)

    one, two = (denoisers.exact_denoiser(DATA.component(k), SCHEDULE) for k in (1, 2))
    cond, uncond = branches(conditional, jnp.full(5, 1), 2)

    @quick_jit
    def both(x):
        return [
            {name: once(pair(*parts, SCHEDULE, 3.0), x, T) for name, pair in PAIRS.items()}
            for parts in ((cond, uncond), (one, two))
        ]

    same(*both(X), rtol=1e-4, atol=1e-4)
