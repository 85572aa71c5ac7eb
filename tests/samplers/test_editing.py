"""SDEdit, translation by inversion, RePaint and the normalised steps of DPS, against closed forms and numpy."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import level, moved, of_leaves
from tables import in_float64

from scorekit import denoisers, densities, samplers, schedules, solvers
from scorekit.samplers import repaint, repaint_path, sdedit, translate
from scorekit.solvers import DPS, grids

RNG = np.random.default_rng(0)
D = 3
FACTORS = [RNG.normal(size=(D, D)) for _ in range(2)]
ONE, OTHER = ((RNG.normal(size=D), f @ f.T / D + 0.1 * np.eye(D)) for f in FACTORS)
X = RNG.normal(size=(4, D))
SCHEDULE = schedules.Cosine()


def exact(mean, covariance):
    return densities.gaussian(jnp.asarray(mean), covariance=jnp.asarray(covariance))


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(values) @ vectors.T


@pytest.mark.slow
@in_float64
def test_a_bridge_between_gaussians_is_the_known_affine_map():
    """x -> m' + C'^(1/2) C^(-1/2) (x - m), through noise in which nothing is left of either."""
    (m, c), (m_, c_) = ONE, OTHER
    expected = m_ + (X - m) @ np.linalg.inv(root(c)) @ root(c_)
    source, target = (denoisers.exact_denoiser(exact(*data), SCHEDULE) for data in (ONE, OTHER))
    run = jax.jit(translate)
    errors = []
    for steps in (32, 64):
        found = run(source, target, SCHEDULE, solvers.Heun(), jnp.asarray(X), grids.uniform(steps))
        errors.append(np.abs(found - expected).max())
    assert errors[1] < 5e-3
    assert errors[1] < 0.4 * errors[0]  # second order
    there_and_back = run(source, source, SCHEDULE, solvers.Heun(), jnp.asarray(X), grids.uniform(64))
    np.testing.assert_allclose(there_and_back, X, atol=1e-2)


@in_float64
def test_a_bridge_that_turns_back_early_is_known_too():
    t, one, other = 0.5, exact(*ONE), exact(*OTHER)
    expected = moved(other, SCHEDULE, moved(one, SCHEDULE, jnp.asarray(X), 0.0, t), t, 0.0)
    denoise = [denoisers.exact_denoiser(data, SCHEDULE) for data in (one, other)]
    found = jax.jit(translate)(*denoise, SCHEDULE, solvers.Heun(), jnp.asarray(X), grids.uniform(64, t))
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.slow
@in_float64
def test_sdedit_has_the_moments_of_its_gaussian():
    """The flow from t0 is affine, so that the result is normal around the image of alpha x."""
    t, data = 0.5, exact(*OTHER)
    alpha, sigma = level(SCHEDULE, t)
    x, denoiser = jnp.broadcast_to(jnp.asarray(X[0]), (20_000, D)), denoisers.exact_denoiser(data, SCHEDULE)
    found = jax.jit(sdedit)(jax.random.key(0), denoiser, SCHEDULE, solvers.Heun(), x, grids.uniform(24, t))
    end = lambda x: np.asarray(moved(data, SCHEDULE, x, t, 0.0))
    linear = end(jnp.eye(D)) - end(jnp.zeros(D))
    np.testing.assert_allclose(found.mean(0), end(alpha * jnp.asarray(X[0])), atol=0.02)
    np.testing.assert_allclose(np.cov(found.T), sigma**2 * linear.T @ linear, atol=0.02)


@in_float64
def test_dps_is_the_algorithm_of_the_paper():
    """DDPM steps and a normalised gradient, written out for Gaussian data, where the denoiser is a matrix."""
    mean, covariance = ONE
    matrix, y, zeta = RNG.normal(size=(2, D)), RNG.normal(size=(4, 2)), 0.3
    ts = np.asarray(grids.uniform(5, 0.9))
    solver = DPS(operator=lambda x: x @ matrix.T, observation=jnp.asarray(y), base=solvers.Euler(), step_size=zeta)
    denoiser = denoisers.exact_denoiser(exact(mean, covariance), SCHEDULE)
    found = jax.jit(samplers.sample)(denoiser, SCHEDULE, solver, jnp.asarray(X), ts)
    x = X
    for t, s in itertools.pairwise(ts):
        (a, b), (a_, b_) = level(SCHEDULE, t), level(SCHEDULE, s)
        jacobian = a * covariance @ np.linalg.inv(a**2 * covariance + b**2 * np.eye(D))
        x0 = mean + (x - a * mean) @ jacobian.T
        gap = y - x0 @ matrix.T
        gradient = -(gap / np.linalg.norm(gap, axis=1, keepdims=True)) @ matrix @ jacobian
        x = a_ * x0 + b_ * (x - a * x0) / b - zeta * gradient
    np.testing.assert_allclose(found, x, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_dps_takes_any_operator_solver_and_a_perfect_fit():
    denoiser = denoisers.exact_denoiser(exact(*ONE), SCHEDULE)
    x, y = jnp.asarray(X, jnp.float32), jnp.tanh(jnp.asarray(X, jnp.float32)[:, :1])
    ts, key, squashed = grids.uniform(40), jax.random.key(0), lambda x: jnp.tanh(x[:, :1])
    run = jax.jit(samplers.sample)
    make = lambda inner, size: DPS(operator=squashed, observation=y, base=inner, step_size=size)
    for inner in (solvers.Ancestral(), solvers.DPMSolverPP2M()):
        given = key if inner.stochastic else None
        made = (inner, make(inner, 0.0), make(inner, 0.1))
        plain, zero, guided = (run(denoiser, SCHEDULE, solver, x, ts, key=given) for solver in made)
        np.testing.assert_allclose(zero, plain, rtol=1e-4, atol=1e-5)
        miss = lambda x: float(jnp.abs(squashed(x) - y).mean())
        assert miss(guided) < 0.5 * miss(plain)
    perfect = DPS(operator=lambda x: 0 * x, observation=jnp.zeros_like(x), base=solvers.Euler())
    assert bool(jnp.isfinite(samplers.sample(denoiser, SCHEDULE, perfect, x, grids.uniform(2))).all())


# ---- RePaint ---------------------------------------------------------------------------------------------------------

TS = grids.uniform(6)
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


@pytest.mark.slow
def test_repaint_keeps_the_observation_exactly_and_does_not_recompile():
    @jax.jit
    @chex.assert_max_traces(n=2)  # one of each solver
    def run(key, solver, known, y):
        return repaint(key, PRIOR, SCHEDULE, solver, NOISE, TS, known, y, jump_length=2, num_resamples=2)

    for solver in (solvers.Ancestral(), solvers.DPMSolverPP2M()):
        x = run(jax.random.key(1), solver, KNOWN, Y)
        np.testing.assert_array_equal(x[:, 0], Y[:, 0])
        assert np.all(np.isfinite(x))
    other = run(jax.random.key(2), solver, ~KNOWN, 2 * Y)
    np.testing.assert_array_equal(other[:, 1], 2 * Y[:, 1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver", [solvers.AdamsBashforth(order=3), solvers.UniPC(), solvers.SASolver(steps=3)], ids=repr
)
def test_multistep_history_restarts_after_every_jump(solver):
    """A loop over the descending runs, each of which is planned anew."""
    key, path = jax.random.key(4), repaint_path(6, 3, 3)
    ends = [i for i in range(1, len(path)) if i + 1 == len(path) or path[i + 1] < path[i]]  # of the descending runs

    @jax.jit
    def looped(x):
        keys, move = jax.random.split(key, len(path) - 1), 0
        for end in ends:
            first = move if move == 0 else move + 1
            if first:  # q(x_t | x_s) of the jump
                (a_s, b_s), (a_t, b_t) = level(SCHEDULE, TS[path[move]]), level(SCHEDULE, TS[path[first]])
                z = jax.random.normal(keys[move], x.shape)
                x = a_t / a_s * x + jnp.sqrt(b_t**2 - (a_t / a_s * b_s) ** 2) * z
            run = TS[path[first] : path[end] + 1]
            rows, state = solver.plan(SCHEDULE, run), solver.init(x)

            def step(k, carry, rows=rows, first=first, run=run):
                x, state = carry
                for_step, for_known = jax.random.split(keys[first + k])
                row = jax.tree.map(lambda leaf: leaf[k], rows)
                x, state = solver.step(state, x, row, PRIOR, key=for_step if solver.stochastic else None)
                a, b = level(SCHEDULE, run[k + 1])
                return jnp.where(KNOWN, a * Y + b * jax.random.normal(for_known, x.shape), x), state

            x, _ = jax.lax.fori_loop(0, len(run) - 1, step, (x, state))
            move = end
        return x

    run = lambda x: repaint(key, PRIOR, SCHEDULE, solver, x, TS, KNOWN, Y, jump_length=3, num_resamples=3)
    np.testing.assert_allclose(jax.jit(run)(NOISE), looped(NOISE), rtol=2e-4, atol=2e-5)


def test_repaint_takes_trees():
    tree, both = lambda x: {"a": x, "b": x.astype(jnp.bfloat16)}, of_leaves(a=PRIOR, b=PRIOR)
    mask = {"a": KNOWN, "b": ~KNOWN}
    start, known = tree(NOISE), tree(Y)
    x = jax.jit(lambda: repaint(jax.random.key(1), both, SCHEDULE, solvers.Ancestral(), start, TS, mask, known))()
    assert x["b"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(x["a"][:, 0], Y[:, 0])
    np.testing.assert_array_equal(x["b"][:, 1], Y[:, 1].astype(jnp.bfloat16))
