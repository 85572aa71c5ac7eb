"""Random fields against dense circulant matrices built by numpy, on grids of even and odd sizes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import samples_agree
from scipy import stats
from tables import in_float64

from scorekit.denoisers import exact_denoiser
from scorekit.densities import random_fields
from scorekit.schedules import Cosine, RectifiedFlow

RNG = np.random.default_rng(0)
GRIDS = {"signal": (5,), "image": (3, 4), "tall_image": (4, 3), "volume": (2, 2, 3)}
LEVELS = [(1.0, 1e-3), (0.8, 0.6), (0.0, 1.0), (1.0, 30.0)]
each_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=list(GRIDS))


def even_power(grid):
    """A random positive spectrum that is the same at f and -f."""
    power = RNG.uniform(0.2, 3.0, grid)
    axes = tuple(range(len(grid)))
    return (power + np.roll(np.flip(power, axes), 1, axes)) / 2


def dense(power):
    """The covariance of one channel by the naive sum ``C(x, y) = mean_f P(f) exp(2 pi i f (x - y))``."""
    grid = power.shape
    points = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), -1).reshape(-1, len(grid))
    waves = np.exp(2j * np.pi * (points / grid) @ points.T)
    return (waves @ np.diag(power.ravel()) @ waves.conj().T).real / power.size


def make(grid, channels=2):
    power, mean = even_power(grid), RNG.normal(size=(*grid, channels))
    covariance = np.kron(dense(power), np.eye(channels))
    return random_fields.random_field(power, mean, channels), mean, covariance


@jax.jit
def everything(field, x, levels):
    at = lambda level: (field.predict(x, *level), field.marginal(*level).log_density(x))
    return field.log_density(x), field.entropy(), jax.vmap(at)(levels)


@each_grid
@in_float64
def test_densities_and_denoiser_are_dense_linear_algebra(grid):
    field, mean, covariance = make(grid)
    assert field.shape == (*grid, 2)
    x = RNG.normal(size=(2, 2, *grid, 2))
    log_density, entropy, (predictions, marginals) = everything(field, x, tuple(np.array(LEVELS).T))
    rows, oracle = x.reshape(4, -1), stats.multivariate_normal(mean.ravel(), covariance)
    np.testing.assert_allclose(log_density.ravel(), oracle.logpdf(rows), rtol=1e-10)
    assert log_density.shape == (2, 2)
    np.testing.assert_allclose(entropy, oracle.entropy(), rtol=1e-10)
    for i, (alpha, sigma) in enumerate(LEVELS):
        k = alpha**2 * covariance + sigma**2 * np.eye(len(covariance))
        solved = np.linalg.solve(k, (rows - alpha * mean.ravel()).T).T
        x0, eps = (np.asarray(leaf[i]).reshape(4, -1) for leaf in predictions)
        np.testing.assert_allclose(x0, mean.ravel() + alpha * solved @ covariance, atol=1e-9)
        np.testing.assert_allclose(eps, sigma * solved, atol=1e-9)
        np.testing.assert_allclose(alpha * x0 + sigma * eps, rows, atol=1e-9)
        oracle = stats.multivariate_normal(alpha * mean.ravel(), k)
        np.testing.assert_allclose(marginals[i].ravel(), oracle.logpdf(rows), rtol=1e-9)


@in_float64
def test_the_flow_pushes_marginal_to_marginal():
    field, _, _ = make((3, 2), 1)
    start, end = (0.8, 0.6), (0.3, 2.0)

    @jax.jit
    def there_and_back(field, x):
        y = field.flow(x, start, end)
        jacobian = jax.jacfwd(lambda x: field.flow(x, start, end).ravel())(x).reshape(6, 6)
        ends = field.marginal(*start).log_density(x), field.marginal(*end).log_density(y)
        return field.flow(y, end, start), jacobian, *ends

    x = RNG.normal(size=field.shape)
    back, jacobian, before, after = there_and_back(field, x)
    np.testing.assert_allclose(after + np.linalg.slogdet(np.asarray(jacobian))[1], before, rtol=1e-9)
    np.testing.assert_allclose(back, x, rtol=1e-9)


@pytest.mark.slow
def test_samples_have_the_mean_and_covariance():
    field, mean, covariance = make((2, 3), 1)
    n = 40_000
    x = np.asarray(jax.jit(lambda key: field.sample(key, (n // 4, 4)))(jax.random.key(0))).reshape(n, -1)
    samples_agree(x, mean.ravel(), covariance)
    assert field.sample(jax.random.key(0)).shape == (2, 3, 1)


@in_float64
def test_power_law_has_the_given_exponent():
    for grid in ((9,), (6, 10)):
        field = random_fields.power_law(grid, exponent=1.5, variance=2.0)
        radius = np.sqrt(sum(np.square(f) for f in np.meshgrid(*map(np.fft.fftfreq, grid), indexing="ij")))
        power = np.asarray(field.power)
        origin = (0,) * len(grid)
        inside = radius > 0
        ratio = power[inside] / power[inside].max()
        np.testing.assert_allclose(ratio, (radius[inside] / radius[inside].min()) ** -1.5, rtol=1e-12)
        assert power[origin] == power[inside].max()
        assert power.mean() == pytest.approx(2.0)


@pytest.mark.slow
def test_exact_denoiser_of_a_field_is_a_jit_argument():
    @jax.jit
    @chex.assert_max_traces(n=3)  # at one time, at two, and in bfloat16
    def run(denoiser, x, t):
        return denoiser(x, t)

    x = jax.random.normal(jax.random.key(0), (2, 4, 6, 3))
    make = lambda exponent: exact_denoiser(random_fields.power_law((4, 6), exponent, channels=3), Cosine())
    one, two = run(make(1.0), x, jnp.float32(0.3)), run(make(2.0), x, jnp.float32(0.3))
    assert np.abs(one.x0 - two.x0).max() > 1e-3
    each = run(make(1.0), x, jnp.array([0.3, 0.6]))
    np.testing.assert_allclose(each.x0[0], one.x0[0], atol=1e-6)
    assert np.abs(each.x0[1] - one.x0[1]).max() > 1e-3
    assert run(make(1.0), x.astype(jnp.bfloat16), jnp.float32(0.3)).x0.dtype == jnp.bfloat16
    for end in (0.0, 1.0):
        assert all(np.isfinite(leaf).all() for leaf in run(make(1.0), x, jnp.float32(end)))


def test_parameters_vmap_and_differentiate():
    def loss(exponent):
        denoiser = exact_denoiser(random_fields.power_law((6,), exponent), RectifiedFlow())
        return denoiser(jnp.ones((1, 6, 1)).at[0, 2].set(3.0), jnp.float32(0.4)).x0.var()

    step = 1e-2
    exponents = jnp.array([0.0, 1.0, 1.0 - step, 1.0 + step])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(loss)))(exponents)
    assert values[0] > values[1]
    assert float(slopes[1]) == pytest.approx(float(values[3] - values[2]) / (2 * step), rel=1e-2)
