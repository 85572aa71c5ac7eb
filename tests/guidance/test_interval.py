"""The guidance interval."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from rule_table import COND, SCHEDULE, UNCOND, same

from scorekit import Prediction, samplers, schedules, solvers
from scorekit.guidance import classifier_free, interval

X = jax.random.normal(jax.random.key(0), (5, 2))
T = jnp.float32(0.4)


def counted(name, calls, value):
    def denoiser(x, t):
        jax.debug.callback(lambda: calls.append(name))
        return Prediction(x + value, x - value)

    return denoiser


@pytest.mark.parametrize(("noise", "expected"), [(0.4, "plain"), (0.51, "guided"), (2.0, "guided"), (2.1, "plain")])
def test_interval_skips_the_guided_call_outside(noise, expected):
    calls, schedule = [], schedules.geometric_ve(0.01, 10.0)
    rule = interval(counted("guided", calls, 1.0), counted("plain", calls, 0.0), schedule, 0.5, 2.001)
    t = schedule.time_at(-2.0 * jnp.log(noise))
    out = jax.jit(lambda x, t: rule(x, t))(X, t)
    jax.effects_barrier()
    assert calls == [expected]
    same(out.x0, X + (expected == "guided"))


def test_interval_saves_calls_in_sample():
    calls, ts = [], solvers.grids.uniform(10)
    rule = interval(counted("guided", calls, 0.0), counted("plain", calls, 0.0), SCHEDULE, 0.3, 3.0)
    jax.block_until_ready(jax.jit(samplers.sample)(None, rule, SCHEDULE, solvers.Euler(), X, ts))
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
            rule = interval(GUIDED, PLAIN, schedules.rectified_flow(), *bounds)
            assert np.all(rule(X[:2], t).x0 == expected)


@pytest.mark.parametrize("schedule", [SCHEDULE, schedules.rectified_flow(), schedules.edm(), schedules.sigmoid()])
def test_interval_without_bounds_always_guides(schedule):
    for t in (1e-4, 0.5, 1.0):
        assert np.all(interval(GUIDED, PLAIN, schedule)(X, t).x0 == 1.0)


def test_a_batch_of_times_agrees_with_scalars():
    rule = jax.jit(interval(classifier_free(COND, UNCOND, 3.0), COND, SCHEDULE, 0.3, 3.0))
    times = jnp.array([0.05, 0.3, 0.5, 0.7, 0.95])
    together = rule(X, times)
    for i, t in enumerate(times):
        same(jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], together), rule(X[i : i + 1], t), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [((2.0, 1.0), "noise_max must be > noise_min = 2.0, got 1.0"), ((-1.0, 1.0), "noise_min must be >= 0, got -1.0")],
)
def test_interval_invalid_bounds_raise(bounds, message):
    with pytest.raises(ValueError, match=message):
        interval(COND, UNCOND, SCHEDULE, *bounds)
