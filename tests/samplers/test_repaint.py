"""RePaint: its path, the observed part, its history, and the conditional that it approaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import denoisers, densities, samplers, schedules, solvers
from scorekit.samplers import repaint, repaint_path
from scorekit.solvers import grids

SCHEDULE, TS = schedules.cosine(), grids.uniform(6)
COVARIANCE = jnp.array([[1.0, 0.9], [0.9, 1.0]])
PRIOR = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(2), covariance=COVARIANCE), SCHEDULE)
NOISE = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
KNOWN, Y = np.array([True, False]), np.full((5, 2), 2.0, np.float32)


def published(steps, jump_length, resamples):
    """The schedule of app. B with the times counted down to -1, clean data, and one forward move for each jump."""
    jumps = dict.fromkeys(range(0, steps - jump_length, jump_length), resamples - 1)
    t, times = steps - 1, [steps - 1]
    while t >= 0:
        t -= 1
        times.append(t)
        if jumps.get(t, 0) > 0:
            jumps[t] -= 1
            t += jump_length
            times.append(t)
    return [steps - 1 - t for t in times]


@pytest.mark.parametrize("setting", [(10, 1, 4), (10, 3, 2), (12, 4, 3), (5, 5, 3), (5, 9, 3), (7, 2, 1)])
def test_repaint_path_is_that_of_the_paper(setting):
    assert repaint_path(*setting) == published(*setting)
    assert repaint_path(*setting)[-1] == setting[0]


def test_repaint_without_jumps_and_observation_is_sample():
    @jax.jit
    def both(x):
        nothing = np.zeros(2, np.float32)
        found = repaint(jax.random.key(1), PRIOR, SCHEDULE, solvers.Euler(), x, TS, nothing, Y, resamples=1)
        return found, samplers.sample(None, PRIOR, SCHEDULE, solvers.Euler(), x, TS)

    found, expected = both(NOISE)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_repaint_keeps_the_observation_exactly_and_does_not_recompile():
    traces = []

    def prior(x, t):
        traces.append(t)
        return PRIOR(x, t)

    @jax.jit
    def run(key, solver, known, y):
        return repaint(key, prior, SCHEDULE, solver, NOISE, TS, known, y, jump_length=2, resamples=2)

    for solver in (solvers.Ancestral(), solvers.DPMSolverPP2M()):
        x = run(jax.random.key(1), solver, KNOWN, Y)
        np.testing.assert_array_equal(x[:, 0], Y[:, 0])
        assert np.all(np.isfinite(x))
    count = len(traces)
    other = run(jax.random.key(2), solver, ~KNOWN, 2 * Y)
    np.testing.assert_array_equal(other[:, 1], 2 * Y[:, 1])
    assert len(traces) == count > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver", [solvers.AdamsBashforth(order=3), solvers.UniPC(), solvers.SASolver(steps=3)], ids=repr
)
def test_multistep_history_restarts_after_every_jump(solver):
    """A loop over the descending runs, each of which is planned anew."""
    key, path = jax.random.key(4), repaint_path(6, 3, 3)
    ends = [i for i in range(1, len(path)) if i + 1 == len(path) or path[i + 1] < path[i]]  # of the descending runs
    level = lambda t: (SCHEDULE.alpha(t), SCHEDULE.sigma(t))

    @jax.jit
    def looped(x):
        keys, move = jax.random.split(key, len(path) - 1), 0
        for end in ends:
            first = move if move == 0 else move + 1
            if first:  # q(x_t | x_s) of the jump
                (a_s, b_s), (a_t, b_t) = level(TS[path[move]]), level(TS[path[first]])
                z = jax.random.normal(keys[move], x.shape)
                x = a_t / a_s * x + jnp.sqrt(b_t**2 - (a_t / a_s * b_s) ** 2) * z
            run = TS[path[first] : path[end] + 1]
            rows, state = solver.plan(SCHEDULE, run), solver.init(x)

            def step(k, carry, rows=rows, first=first, run=run):
                x, state = carry
                for_step, for_known = jax.random.split(keys[first + k])
                row = jax.tree.map(lambda leaf: leaf[k], rows)
                x, state = solver.step(for_step if solver.stochastic else None, state, x, row, PRIOR)
                a, b = level(run[k + 1])
                return jnp.where(KNOWN, a * Y + b * jax.random.normal(for_known, x.shape), x), state

            x, _ = jax.lax.fori_loop(0, len(run) - 1, step, (x, state))
            move = end
        return x

    run = lambda x: repaint(key, PRIOR, SCHEDULE, solver, x, TS, KNOWN, Y, jump_length=3, resamples=3)
    np.testing.assert_allclose(jax.jit(run)(NOISE), looped(NOISE), rtol=2e-4, atol=2e-5)


def test_repaint_needs_single_rows():
    solver = solvers.precomputed(solvers.Euler(), SCHEDULE, TS)
    with pytest.raises(ValueError, match="solver must compute its coefficients for single steps"):
        repaint(jax.random.key(0), PRIOR, SCHEDULE, solver, NOISE, TS, KNOWN, Y)


@pytest.mark.slow
def test_repaint_takes_trees():
    tree = lambda x: {"a": x, "b": x.astype(jnp.bfloat16)}

    def both(x, t):
        a, b = PRIOR(x["a"], t), PRIOR(x["b"], t)
        return type(a)({"a": a.x0, "b": b.x0}, {"a": a.eps, "b": b.eps})

    mask = {"a": KNOWN, "b": ~KNOWN}
    start, known = tree(NOISE), tree(Y)
    x = jax.jit(lambda: repaint(jax.random.key(1), both, SCHEDULE, solvers.Ancestral(), start, TS, mask, known))()
    assert x["b"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(x["a"][:, 0], Y[:, 0])
    np.testing.assert_array_equal(x["b"][:, 1], Y[:, 1].astype(jnp.bfloat16))


@pytest.mark.slow
def test_repaint_with_resampling_approaches_the_conditional():
    """p(x_2 | x_1 = 2) = N(1.8, 0.19); plain replacement is far from it, resampling near."""
    noise, y, ts = jax.random.normal(jax.random.key(0), (20_000, 2)), jnp.full((20_000, 2), 2.0), grids.uniform(40)
    run = jax.jit(repaint, static_argnames=("jump_length", "resamples"))
    means, stds = {}, {}
    for resamples in (1, 20):
        x = run(jax.random.key(1), PRIOR, SCHEDULE, solvers.Ancestral(), noise, ts, KNOWN, y, jump_length=1,
                resamples=resamples)  # fmt: skip
        means[resamples], stds[resamples] = float(x[:, 1].mean()), float(x[:, 1].std())
    assert abs(means[20] - 1.8) < 0.3 * abs(means[1] - 1.8)
    assert abs(means[20] - 1.8) < 0.05
    assert abs(stds[20] - 0.19**0.5) < 0.1  # 40 ancestral steps lose variance


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"jump_length": 0}, "jump_length must be an integer >= 1, got 0"),
        ({"resamples": 1.5}, "resamples must be an integer >= 1, got 1.5"),
    ],
)
def test_repaint_validates_its_arguments(given, message):
    with pytest.raises(ValueError, match=message):
        repaint(jax.random.key(0), PRIOR, SCHEDULE, solvers.Ancestral(), NOISE, TS, KNOWN, Y, **given)
