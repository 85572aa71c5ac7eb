"""The Gibbs sampler of Lévy signals, against quadrature over one and two increments, and over a chain of many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from scipy import stats

from experiments.projects.posteriors.levy import LEVY_LAWS, gibbs, levy

STD, FREEDOM, PROBABILITY = 0.8, 4.0, 0.3
GRID = np.linspace(-9, 9, 601)
WIDTH = GRID[1] - GRID[0]


def masses(law):
    """Of increments near the points of the grid; the middle one has the mass of 0."""
    sparse = {"scale": STD / (2 * PROBABILITY) ** 0.5}
    density = {
        "gaussian": stats.norm.pdf(GRID, scale=STD),
        "laplace": stats.laplace.pdf(GRID, scale=STD / 2**0.5),
        "student": stats.t.pdf(GRID, FREEDOM, scale=STD * ((FREEDOM - 2) / FREEDOM) ** 0.5),
        "bernoulli_laplace": PROBABILITY * stats.laplace.pdf(GRID, **sparse),
    }[law]
    mass = density * WIDTH
    mass[300] += 1 - PROBABILITY if law == "bernoulli_laplace" else 0.0
    return mass


def signals(law, dim):
    return levy(law, dim, std=STD, freedom=FREEDOM, probability=PROBABILITY)


@pytest.fixture(scope="module")
def draws():
    """``(chains, draws, D)`` in double precision."""
    run = jax.jit(
        lambda keys, law, matrix, y, noise, n: jax.vmap(lambda k: gibbs(k, law, matrix, y, noise, draws=n))(keys),
        static_argnums=5,
    )

    def chains(law, matrix, y, noise, n=300, count=20):
        with jax.enable_x64(True):
            keys = jax.random.split(jax.random.key(0), count)
            return np.asarray(run(keys, law, jnp.asarray(matrix), jnp.asarray(y), noise, n))

    return chains


def agree(values, weights, found, error=5.0):
    """Moments and quantiles of chains ``(C, N)`` agree with a weighted grid within some standard errors of chains."""
    weights = weights / weights.sum()
    for f in (lambda v: v, np.square, *(lambda v, q=q: v < q for q in (-0.4, -1e-9, 1e-9, 0.7, 1.3))):
        exact, each = np.sum(weights * f(values)), f(found).mean(1)
        assert abs(each.mean() - exact) < error * each.std(ddof=1) / len(each) ** 0.5 + 8e-3, f


@pytest.mark.slow
@pytest.mark.parametrize("law", LEVY_LAWS)
def test_one_increment(law, draws):
    weights = masses(law) * np.exp(-0.5 * ((0.7 * GRID - 0.5) / 0.4) ** 2)
    agree(GRID, weights, draws(signals(law, 1), [[0.7]], [0.5], 0.4)[..., 0])


@pytest.mark.slow
@pytest.mark.parametrize("law", LEVY_LAWS)
def test_two_increments_through_a_matrix(law, draws):
    matrix, y, noise = np.array([[1.0, 0.5], [0.0, 0.7]]), np.array([0.4, 0.9]), 0.5
    first, second = np.meshgrid(GRID, GRID, indexing="ij")
    x = np.stack([first, first + second])
    square = np.sum((np.tensordot(matrix, x, 1) - y[:, None, None]) ** 2, 0)
    weights = masses(law)[:, None] * masses(law) * np.exp(-0.5 * square / noise**2)
    found = draws(signals(law, 2), matrix, y, noise)
    for i in range(2):
        agree(x[i], weights, found[..., i])
    agree(second, weights, found[..., 1] - found[..., 0])


def smoothed_means(law, y, noise):
    """``E[x | y]`` of a chain observed at every value, by messages forwards and backwards on the grid."""
    size = len(GRID)
    step = np.fft.rfft(np.roll(np.pad(masses(law), (0, size)), -(size // 2)))  # circular, of twice the length
    blurred = lambda m: np.maximum(np.fft.irfft(np.fft.rfft(np.pad(m, (0, size))) * step)[:size], 0.0)
    seen = np.exp(-0.5 * ((GRID - y[:, None]) / noise) ** 2)
    forward, backward = [masses(law) * seen[0]], [np.ones(size)]
    for k in range(1, len(y)):
        forward.append(blurred(forward[-1]) * seen[k])
        forward[-1] /= forward[-1].sum()
        backward.append(blurred(backward[-1] * seen[-k]))
        backward[-1] /= backward[-1].sum()
    both = np.stack(forward) * np.stack(backward[::-1])
    return both @ GRID / both.sum(1)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["laplace", "bernoulli_laplace"])
def test_a_long_chain_and_the_means_given_the_variances(law, draws):
    y = np.asarray(signals(law, 12).sample(jax.random.key(3))) + 0.3 * np.random.default_rng(0).normal(size=12)
    exact = smoothed_means(law, y, 0.3)
    found = draws(signals(law, 12), np.eye(12), y, 0.3)
    chains = found.mean(1)
    np.testing.assert_array_less(abs(chains.mean(0) - exact), 5 * chains.std(0, ddof=1) / len(chains) ** 0.5 + 8e-3)
    with jax.enable_x64(True):
        means = gibbs(jax.random.key(1), signals(law, 12), jnp.eye(12), jnp.asarray(y), 0.3, draws=1000, mean=True)
        means = np.asarray(means)
    np.testing.assert_allclose(means.mean(0), exact, atol=0.03)


@pytest.mark.slow
def test_samples_have_the_law():
    for law in LEVY_LAWS:
        x = np.asarray(signals(law, 3).sample(jax.random.key(0), (20_000,)), np.float64)
        np.testing.assert_allclose(np.cov(x.T), signals(law, 3).covariance(), atol=0.1)
        for i in range(3):
            increments = np.diff(x, prepend=0.0, axis=1)[:, i]
            for k in (283, 307, 350):
                assert abs(np.mean(increments <= GRID[k] + 0.5 * WIDTH) - masses(law)[: k + 1].sum()) < 0.015


KEY, TWO = jax.random.key(0), signals("laplace", 2)
test_bad_arguments = raising(
    {
        r"matrix must have shape \(2, 2\)": lambda: gibbs(KEY, TWO, np.eye(3), np.zeros(2), 1.0),
        "observation must be finite": lambda: gibbs(KEY, TWO, np.eye(2), np.array([0.0, np.nan]), 1.0),
    }
)
