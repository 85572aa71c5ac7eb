"""Every statistic on Gaussians, where it has a closed form, and under jit, vmap and other trees."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorekit as sk
from scorekit import typicality
from scorekit.typicality.complexity import _paeth

D, B = 5, 4
SCHEDULE = sk.schedules.Cosine()
RNG = np.random.default_rng(0)
FACTOR = RNG.normal(size=(D, D)) / 2
COVARIANCE, MEAN = FACTOR @ FACTOR.T + 0.2 * np.eye(D), RNG.normal(size=D)
DATA = sk.densities.gaussian(jnp.asarray(MEAN, jnp.float32), covariance=jnp.asarray(COVARIANCE, jnp.float32))
DENOISER = sk.denoisers.exact_denoiser(DATA, SCHEDULE)
X = RNG.normal(size=(B, D)).astype(np.float32)
TS = jnp.array([0.2, 0.5, 0.9])


def at(t):
    """alpha, sigma and the covariance of the noisy data in float64."""
    alpha, sigma = float(SCHEDULE.alpha(t)), float(SCHEDULE.sigma(t))
    return alpha, sigma, alpha**2 * COVARIANCE + sigma**2 * np.eye(D)


def test_score_norms():
    found = jax.jit(typicality.score_norms)(DENOISER, SCHEDULE, X, TS)
    for column, t in zip(found.T, TS, strict=True):
        alpha, sigma, k = at(t)
        score = -np.linalg.solve(k, alpha * (X - MEAN).T).T
        np.testing.assert_allclose(column, sigma * np.linalg.norm(score, axis=1), rtol=1e-4)


@pytest.mark.slow
def test_score_norms_of_noisy_data():
    """E|eps|^2 = sigma^2 tr(K^-1) when x is data and noise is added."""
    x = DATA.sample(jax.random.key(0), (5000,))
    found = jax.jit(typicality.score_norms)(DENOISER, SCHEDULE, x, TS, key=jax.random.key(1))
    expected = [at(t)[1] ** 2 * np.trace(np.linalg.inv(at(t)[2])) for t in TS]
    np.testing.assert_allclose(np.mean(np.square(found), axis=0), expected, rtol=0.06)


def test_reconstruction_in_one_step():
    """The mean squared error of the posterior mean is tr(sigma^2 C K^-1) / D."""
    x = DATA.sample(jax.random.key(0), (5000,))
    found = jax.jit(typicality.reconstruction_errors)(jax.random.key(1), DENOISER, SCHEDULE, x, TS)
    expected = [at(t)[1] ** 2 * np.trace(COVARIANCE @ np.linalg.inv(at(t)[2])) / D for t in TS]
    np.testing.assert_allclose(np.mean(found, axis=0), expected, rtol=0.06)


@pytest.mark.slow
def test_reconstruction_in_many_steps():
    """The ODE maps the noisy point back by sqrt(C / K); the noise is that of the one-step version."""
    key = jax.random.key(1)
    run = functools.partial(typicality.reconstruction_errors, solver=sk.solvers.AdamsBashforth(), steps=40)
    found = jax.jit(run)(key, DENOISER, SCHEDULE, X, TS)
    for column, t, k in zip(found.T, TS, jax.random.split(key, 3), strict=True):
        alpha, sigma, _ = at(t)
        noisy = alpha * X + sigma * jax.random.normal(jax.random.split(k)[0], X.shape)
        back = DATA.flow(noisy, (alpha, sigma), (1.0, 0.0))
        np.testing.assert_allclose(column, np.mean((back - X) ** 2, axis=1), rtol=1e-2)


def test_path_statistics():
    """By a naive loop over the exact eps; the powers of sums of signed values keep their signs."""
    ts = np.linspace(1.0, 0.0, 9)
    below = X - 3.0
    found = jax.jit(typicality.path_statistics)(DENOISER, SCHEDULE, below, ts)
    x, path = below.astype(float), []
    for t, s in zip(ts[::-1], [*ts[::-1][1:], None], strict=True):
        alpha, sigma, k = at(t)
        centred = np.linalg.solve(k, (x - alpha * MEAN).T).T
        eps, x0 = sigma * centred, MEAN + alpha * centred @ COVARIANCE
        path.append(eps)
        if s is not None:
            x = at(s)[0] * x0 + at(s)[1] * eps
    path = np.stack(path, axis=1)  # (B, n, D)
    slope = np.diff(path, axis=1) / np.diff(ts[::-1])[:, None]
    total = lambda v, p: np.sum(v**p, axis=(1, 2))
    expected = [*(total(path, p) for p in (1, 2, 3)), total(slope, 1), np.sqrt(total(slope, 2)), total(slope, 3)]
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-3, atol=1e-3)
    assert np.all(expected[2] < 0)  # and a negative sum stays negative


@pytest.mark.slow
def test_score_curvature_exact_and_by_probes():
    exact = jax.jit(typicality.score_curvature)(DENOISER, SCHEDULE, X, TS)
    for column, t in zip(exact.T, TS, strict=True):
        alpha, _, k = at(t)
        score = np.linalg.solve(k, alpha * (X - MEAN).T).T
        np.testing.assert_allclose(column, np.sum(score**2, 1) / np.trace(np.linalg.inv(k)), rtol=1e-4)
    estimate = functools.partial(typicality.score_curvature, num_probes=1000)
    found = jax.jit(estimate)(DENOISER, SCHEDULE, X, TS, key=jax.random.key(0))
    np.testing.assert_allclose(found, exact, rtol=0.1)


@pytest.mark.slow
def test_statistics_are_independent_across_examples_and_accept_trees():
    tree = {"a": X[:, :2], "b": X[:, 2:].reshape(B, 3, 1)}
    as_row = lambda x: jnp.concatenate([x["a"], x["b"].reshape(-1, 3)], axis=1)
    as_tree = lambda x: {"a": x[:, :2], "b": x[:, 2:].reshape(-1, 3, 1)}
    on_trees = lambda x, t: sk.Prediction(*map(as_tree, DENOISER(as_row(x), t)))

    @functools.partial(jax.jit, static_argnums=0)
    def all_of(denoiser, x):
        grid = jnp.linspace(1.0, 0.0, 5)
        return (
            typicality.score_norms(denoiser, SCHEDULE, x, TS),
            typicality.path_statistics(denoiser, SCHEDULE, x, grid),
            typicality.score_curvature(denoiser, SCHEDULE, x, TS),
        )

    plain = lambda x, t: DENOISER(x, t)
    each = jax.vmap(lambda x: all_of(plain, x[None]))(X)
    for whole, of_tree, alone in zip(all_of(plain, X), all_of(on_trees, tree), each, strict=True):
        np.testing.assert_allclose(of_tree, whole, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(alone[:, 0], whole, rtol=1e-4, atol=1e-4)


def residuals(image, kind):
    """What a filter of PNG leaves of an image ``(H, W, C)``, pixel by pixel."""
    left = np.zeros_like(image, dtype=np.uint8)
    for i, j, c in np.ndindex(*image.shape):
        a, b, d = (int(image[p, q, c]) if p >= 0 <= q else 0 for p, q in ((i, j - 1), (i - 1, j), (i - 1, j - 1)))
        nearest = min((abs(b - d), 0, a), (abs(a - d), 1, b), (abs(a + b - 2 * d), 2, d))[2]
        predicted = {"none": 0, "left": a, "above": b, "mean": (a + b) // 2, "paeth": nearest}[kind]
        left[i, j, c] = (int(image[i, j, c]) - predicted) % 256
    return left


def test_the_filter_of_paeth_resolves_ties_as_png_does():
    """A decoder undoes it: the encoder must choose the same neighbour."""
    image = np.random.default_rng(0).integers(0, 4, (12, 13, 2), dtype=np.uint8)  # with many ties
    wide = np.pad(image.astype(int), ((1, 0), (1, 0), (0, 0)))
    predicted = _paeth(wide[1:, :-1], wide[:-1, 1:], wide[:-1, :-1])
    np.testing.assert_array_equal((image - predicted).astype(np.uint8), residuals(image, "paeth"))


@pytest.mark.parametrize("best", ["none", "left", "above", "mean", "paeth"])
def test_code_length_is_that_of_the_best_filter(best):
    """On images of which one filter leaves little but threes, made by undoing it."""
    rng, image = np.random.default_rng(0), np.zeros((16, 16, 1), np.uint8)
    rare = np.where(rng.random((16, 16, 1)) < 0.1, rng.integers(0, 256, (16, 16, 1)), 3).astype(np.uint8)
    for i, j, c in np.ndindex(*image.shape):  # what is left of a black pixel is minus its prediction
        image[i, j, c] = 0
        image[i, j, c] = (int(rare[i, j, c]) - int(residuals(image[: i + 1, : j + 1], best)[i, j, c])) % 256
    np.testing.assert_array_equal(residuals(image, best), rare)
    bits = {
        kind: 8 * len(zlib.compress(residuals(image, kind).tobytes(), 9))
        for kind in ("none", "left", "above", "mean", "paeth")
    }
    assert min(bits, key=lambda kind: bits[kind]) == best
    assert typicality.code_length(image[None]) == [bits[best]]
