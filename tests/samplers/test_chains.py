"""Markov chains: linear recursions on Gaussians in closed form, and the exact invariance of the Metropolis test."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import denoisers, densities, schedules
from scorekit.samplers.chains import corrupt_denoise, langevin, metropolis_langevin, sgld
from scorekit.solvers import Ancestral, Heun, grids
from scorekit.trees import sum_per_example

KEY = jax.random.key(4)
CHAINS = 40_000
MEAN, VARIANCE = 0.7, 0.4
score = lambda x: jax.tree.map(lambda leaf: (MEAN - leaf) / VARIANCE, x)


def moments_agree(x, mean, variance, sigmas=4.5):
    """The sample's mean and variance are within Monte-Carlo error of these, for normal samples along axis 0."""
    n = len(x)
    np.testing.assert_allclose(np.mean(x, 0), mean, atol=sigmas * np.sqrt(np.max(variance) / n))
    np.testing.assert_allclose(np.var(x, 0), variance, rtol=sigmas * np.sqrt(2 / n))


@jax.jit
def chain(key, x, steps):
    """Three calls of two steps each: the last state, and the state after each call."""
    call = lambda x, inputs: 2 * (langevin(inputs[0], score, x, inputs[1], 2),)
    return jax.lax.scan(call, x, (jax.random.split(key, 3), steps.reshape(3, 2)))


STEPS = {"constant": np.full(6, 0.3, np.float32), "decreasing": np.float32(0.5) / (1 + np.arange(6, dtype=np.float32))}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_moments_follow_the_closed_form_recursion(steps):
    last, states = chain(KEY, jnp.full((CHAINS, 1), -2.0), steps)
    mean, variance = -2.0, 0.0
    for k, h in enumerate(steps.astype(float)):
        mean, variance = mean + h * (MEAN - mean) / VARIANCE, (1 - h / VARIANCE) ** 2 * variance + 2 * h
        if k % 2:
            moments_agree(np.asarray(states)[k // 2, :, 0], mean, variance)
    np.testing.assert_array_equal(last, states[-1])


def test_the_chain_adds_independent_normals():
    """Over chains, leaves and calls, and within a call: what the linear part does not explain is white."""
    _, states = chain(KEY, jnp.full((CHAINS, 2), MEAN), STEPS["constant"])
    x, shrink = np.concatenate([np.full((1, CHAINS, 2), MEAN), states]), 1 - 0.3 / VARIANCE
    z = (x[1:] - MEAN - shrink**2 * (x[:-1] - MEAN)) / np.sqrt(0.6 * (1 + shrink**2))
    z = z.transpose(0, 2, 1).reshape(6, CHAINS)
    np.testing.assert_allclose(z @ z.T / CHAINS, np.eye(6), atol=4.5 * np.sqrt(2 / CHAINS))


def test_a_noisy_score_adds_its_own_variance():
    """``h^2 tau^2 + 2 h``: the noise of the score is independent of the noise of the chain and of other steps."""
    steps, tau = np.array([0.3, 0.2, 0.1]), 3.0

    def noisy(key, x):
        return score(x) + tau * jax.random.normal(key, x.shape)

    run = jax.jit(lambda x, steps: sgld(KEY, noisy, x, steps))
    mean, variance = 0.0, 0.0
    for k, h in enumerate(steps):
        mean = mean + h * (MEAN - mean) / VARIANCE
        variance = (1 - h / VARIANCE) ** 2 * variance + 2 * h + (h * tau) ** 2
        x = run(jnp.zeros((CHAINS, 1)), jnp.asarray(steps[: k + 1], jnp.float32))
        moments_agree(np.asarray(x)[:, 0], mean, variance)


def test_sgld_of_an_exact_score_is_langevin():
    x, steps = jnp.zeros((3, 2)), jnp.array([0.2, 0.1])
    one = sgld(KEY, lambda key, x: score(x), x, steps)
    np.testing.assert_array_equal(one, langevin(KEY, score, x, steps, 2))


# ---- Metropolis ----------------------------------------------------------------------------------------------------

skewed = lambda x: -0.25 * x[..., 0] ** 4 + 0.8 * x[..., 0]  # neither symmetric nor Gaussian


@jax.jit
def one_proposal(key, x, h):
    return metropolis_langevin(key, skewed, x, h, 1)


@pytest.mark.parametrize("start", [-1.0, 0.3, 1.6])
def test_where_one_proposal_goes_is_the_integral_of_the_kernel(start):
    """Histogram of the accepted moves against ``q(y | x) min(1, p(y) q(x | y) / (p(x) q(y | x)))`` on a fine grid."""
    h = 0.35
    result = one_proposal(KEY, jnp.full((CHAINS, 1), start), h)
    y = np.linspace(-8, 8, 200_001)
    log_p, slope = lambda x: -0.25 * x**4 + 0.8 * x, lambda x: -(x**3) + 0.8
    log_q = lambda to, of: -((to - of - h * slope(of)) ** 2) / (4 * h) - 0.5 * np.log(4 * np.pi * h)
    ratio = log_p(y) + log_q(start, y) - log_p(start) - log_q(y, start)
    kernel = np.exp(log_q(y, start) + np.minimum(ratio, 0)) * (y[1] - y[0])
    edges = np.array([-8, -1, -0.5, 0, 0.4, 0.8, 1.2, 1.7, 8])
    expected, _ = np.histogram(y, edges, weights=kernel)
    x, accepted = np.asarray(result.x)[:, 0], np.asarray(result.acceptance) == 1
    measured = np.histogram(x[accepted], edges)[0] / CHAINS
    np.testing.assert_allclose(measured, expected, atol=4.5 * np.sqrt(0.25 / CHAINS))
    np.testing.assert_allclose(accepted.mean(), kernel.sum(), atol=4.5 * np.sqrt(0.25 / CHAINS))
    assert 0.1 < kernel.sum() < 0.95  # the ratio matters
    np.testing.assert_array_equal(x[~accepted], np.float32(start))


@pytest.mark.slow
def test_exact_samples_of_a_mixture_stay_exact_and_unadjusted_ones_do_not():
    first = densities.gaussian(jnp.array([-1.0, 0.0]), covariance=jnp.array([[0.5, 0.2], [0.2, 0.3]]))
    second = densities.gaussian(jnp.array([1.2, 0.5]), covariance=jnp.diag(jnp.array([0.2, 0.4])))
    data = densities.mixture([1.0, 2.0], [first, second])
    exact = data.sample(jax.random.key(1), (CHAINS,))

    @jax.jit
    def both(x):
        mala = metropolis_langevin(KEY, data.log_density, x, 0.12, 25)
        return mala, langevin(KEY, jax.vmap(jax.grad(data.log_density)), x, 0.12, 25)

    def statistics(x):
        log_p = np.asarray(data.log_density(x))[:, None]
        return np.concatenate([x, np.square(x), x[:, :1] * x[:, 1:], log_p, np.square(log_p)], axis=1)

    mala, ula = both(exact)
    fresh = statistics(data.sample(jax.random.key(2), (CHAINS,)))
    scale = fresh.std(0) * np.sqrt(2 / CHAINS)
    deviation = lambda x: np.abs(statistics(x).mean(0) - fresh.mean(0)) / scale
    assert deviation(mala.x).max() < 4.5
    assert deviation(ula).max() > 20
    assert 0.5 < float(mala.acceptance.mean()) < 0.95


@pytest.mark.slow
def test_proposals_outside_the_support_are_rejected():
    """The exponential law, with ``-inf`` or NaN below 0, keeps its mean and stays inside."""
    x = jax.random.exponential(jax.random.key(1), (CHAINS, 1))
    for outside in (-jnp.inf, jnp.nan):
        log_p = lambda x, outside=outside: jnp.where(x[:, 0] > 0, -x[:, 0], outside)
        result = jax.jit(lambda x, p=log_p: metropolis_langevin(KEY, p, x, 0.5, 10))(x)
        assert float(result.x.min()) > 0
        assert float(result.x.mean()) == pytest.approx(1.0, abs=4.5 / np.sqrt(CHAINS))
        assert float(jnp.square(result.x).mean()) == pytest.approx(2.0, abs=4.5 * np.sqrt(20 / CHAINS))


# ---- corrupt and denoise -------------------------------------------------------------------------------------------

GAUSSIAN = densities.gaussian(jnp.array([0.5, -1.0]), covariance=jnp.array([[0.8, 0.3], [0.3, 0.4]]))
SCHEDULE = schedules.Cosine()
EXACT = denoisers.exact_denoiser(GAUSSIAN, SCHEDULE)


@jax.jit
def rounds(solver, x, ts):
    return corrupt_denoise(KEY, EXACT, SCHEDULE, solver, x, ts, 8)


# The error of the stochastic solver is first order in the step, hence the fine grid and the allowance.
CASES = {
    "flow": (Heun(), grids.uniform(24, 0.7), 0.5, 0.005),
    "stochastic": (Ancestral(), grids.uniform(100, 0.7), 1, 0.02),
}


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "ts", "power", "bias"), CASES.values(), ids=CASES)
def test_rounds_of_corruption_and_denoising_reach_the_data(solver, ts, power, bias):
    n = 4000
    last = rounds(solver, jnp.full((n, 2), 4.0), ts)
    np.testing.assert_allclose(np.mean(last, 0), GAUSSIAN.mean, atol=4.5 * np.sqrt(0.8 / n) + bias)
    covariance = np.asarray(GAUSSIAN.covariance())
    np.testing.assert_allclose(np.cov(np.asarray(last).T), covariance, atol=(4.5 * np.sqrt(2 / n) + bias) * 0.8)
    # Two starts with one key differ by the correlation between rounds: r for the flow, r^2 when the noise is redrawn.
    other = rounds(solver, jnp.full((n, 2), 3.0), ts)
    variances, basis = np.linalg.eigh(covariance)
    alpha, sigma = float(SCHEDULE.alpha(0.7)), float(SCHEDULE.sigma(0.7))
    r = (alpha**2 * variances / (alpha**2 * variances + sigma**2)) ** power
    expected = basis @ np.diag(r**8) @ basis.T @ np.ones(2)
    np.testing.assert_allclose((last - other).mean(0), expected, atol=0.003)


# ---- contracts -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_trees_keep_their_dtypes():
    x = {"a": jnp.full((3, 2), 0.5), "b": jnp.ones(3, jnp.bfloat16)}
    log_p = lambda x: -0.5 * sum_per_example(jnp.square, x)
    ts, identity = grids.uniform(2, 0.5), denoisers.denoiser_from_network(lambda x, t: x, SCHEDULE, "x0")
    runs = {
        "langevin": lambda: langevin(KEY, score, x, 0.1, 5),
        "sgld": lambda: sgld(KEY, lambda key, x: score(x), x, jnp.full(5, 0.1)),
        "mala": lambda: metropolis_langevin(KEY, log_p, x, 0.1, 5).x,
        "rounds": lambda: corrupt_denoise(KEY, identity, SCHEDULE, Ancestral(), x, ts, 5),
    }
    for last in jax.jit(lambda: {name: run() for name, run in runs.items()})().values():
        chex.assert_trees_all_equal_shapes_and_dtypes(last, x)
        assert not np.array_equal(last["a"], x["a"])


@pytest.mark.slow
def test_examples_of_a_batch_are_independent_chains():
    log_p = lambda x: -0.5 * jnp.sum(jnp.square(x), -1)

    @jax.jit
    def all_of_them(x):
        return langevin(KEY, score, x, 0.1, 3), metropolis_langevin(KEY, log_p, x, 0.8, 6)

    x = jnp.array([[0.5, 1.0], [0.3, -0.2], [2.0, 0.1]])
    one, other = all_of_them(x), all_of_them(x.at[1].set(30.0))
    rows = lambda tree: jax.tree.map(lambda leaf: leaf[jnp.array([0, 2])], tree)
    chex.assert_trees_all_equal(rows(one), rows(other))
    assert len(set(np.asarray(one[0]).ravel().tolist())) == 6


def test_a_new_step_does_not_retrace_and_gradients_pass():
    @chex.assert_max_traces(n=1)
    def run(h, x):
        return langevin(KEY, score, x, h, 3).sum()

    gradient = jax.jit(jax.value_and_grad(run))
    x = jnp.ones((2, 1))
    (value, slope), (above, _), (below, _) = (gradient(h, x) for h in (0.1, 0.101, 0.099))
    assert float(slope) == pytest.approx(float(above - below) / 0.002, rel=1e-2)
    assert np.isfinite(value)
