"""Score matching without noise against the Fisher divergence: by quadrature, and by samples in many dimensions."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from tables import in_float64

from scorekit import densities, losses, schedules, times, weightings
from scorekit.denoisers import score_from_log_density
from scorekit.losses import score_matching as sm
from scorekit.process import perturb

STEP = 0.02


def data(kind, dim):
    """A correlated Gaussian or a mixture of two."""
    mean, covariance = 0.3 * np.arange(dim) / dim, 0.7 * np.eye(dim) + 0.2
    if kind == "gaussian":
        return densities.gaussian(jnp.asarray(mean), covariance=covariance)
    return densities.mixture(
        np.array([1, 2]), [densities.gaussian(jnp.asarray(m), std=0.6) for m in (mean - 0.8, mean + 0.5)]
    )


def log_density(x):
    """A wrong one, far from a Gaussian."""
    return jnp.sum(-0.4 * x**2 + 0.3 * jnp.sin(2 * x), axis=-1) + 0.2 * jnp.prod(jnp.tanh(x[..., :2]), axis=-1)


score = score_from_log_density(log_density)
OBJECTIVES = {
    "implicit": lambda key, x: sm.implicit_loss(score, x),
    "hutchinson": lambda key, x: sm.implicit_loss(score, x, divergence="rademacher", key=key),
    "gaussian": lambda key, x: sm.implicit_loss(score, x, divergence="gaussian", num_probes=2, key=key),
    "sliced": lambda key, x: sm.sliced_loss(key, score, x),
    "sliced gaussian": lambda key, x: sm.sliced_loss(key, score, x, probes="gaussian", num_probes=3),
    "finite difference": lambda key, x: sm.finite_difference_loss(key, log_density, x, step=STEP),
}


def fisher(density, x):
    """``|s - grad log p|^2 / 2`` of each example, without its constant."""
    exact = score_from_log_density(density.log_density)(x)
    return 0.5 * jnp.sum((score(x) - exact) ** 2 - exact**2, axis=-1)


def quadrature(density, dim, n=60):
    """Points and weights whose sums are expectations: Gauss and Hermite's of each component."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    z = np.array(list(itertools.product(nodes, repeat=dim)))
    w = np.prod(list(itertools.product(weights / weights.sum(), repeat=dim)), axis=1)
    mixed = isinstance(density, densities.Mixture)
    parts, shares = [density.component(k) for k in range(2)] if mixed else [density], [1 / 3, 2 / 3] if mixed else [1.0]
    x = [np.asarray(p.mean) + z @ np.linalg.cholesky(np.asarray(p.covariance(), float)).T for p in parts]
    return np.concatenate(x), np.concatenate([share * w for share in shares])


@pytest.mark.parametrize(("dim", "bits"), [(1, 64), (2, 32)])
@pytest.mark.parametrize("kind", ["gaussian", pytest.param("mixture", marks=pytest.mark.slow)])
def test_implicit_is_the_fisher_divergence_without_its_constant(kind, dim, bits):
    with jax.enable_x64(bits == 64):
        density = data(kind, dim)
        x, w = (jnp.asarray(v, f"float{bits}") for v in quadrature(density, dim))
        names = ["implicit", *(OBJECTIVES if dim == 1 and bits == 64 else ())]  # in 1-D every sign gives the same
        for name in [name for name in names if "gaussian" not in name]:
            found = jnp.sum(w * (OBJECTIVES[name](jax.random.key(0), x) - fisher(density, x)))
            tolerance = 2e-3 if name == "finite difference" else 1e-7 if bits == 64 else 1e-5
            assert abs(found) < tolerance, name


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "bits"), [(1, 32), (2, 64), (16, 32)])
@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
def test_every_objective_is_the_fisher_divergence_within_monte_carlo_error(kind, dim, bits):
    with jax.enable_x64(bits == 64):
        density = data(kind, dim)
        x = density.sample(jax.random.key(1), (8000,)).astype(f"float{bits}")
        gaps = jax.jit(lambda key, x: {k: each(key, x) - fisher(density, x) for k, each in OBJECTIVES.items()})
        for name, gap in gaps(jax.random.key(2), x).items():
            error = np.std(gap) / np.sqrt(len(gap))
            assert abs(np.mean(gap)) < 4 * error + (2e-3 * dim if name == "finite difference" else 0.0), name
            assert error < 0.08 * dim, name


@pytest.mark.slow
@in_float64
def test_finite_differences_are_of_second_order():
    x = data("mixture", 3).sample(jax.random.key(1), (50,))
    exact = jax.jit(lambda x: sm.sliced_loss(jax.random.key(2), score, x))(x)
    found = jax.jit(lambda step: sm.finite_difference_loss(jax.random.key(2), log_density, x, step=step))
    of = lambda step: jnp.mean(jnp.abs(found(step) - exact))
    assert abs(np.log2(of(0.02) / of(0.01)) - 2) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("dim", [1, 16])
def test_denoising_is_implicit_score_matching_of_noisy_data(dim):
    """``E|s + eps / sigma|^2 / 2 = E loss(x_t) + D / (2 sigma^2)``, of the loss of the library and of FD-DSM."""
    schedule, n = schedules.RectifiedFlow(), 40_000
    x0 = data("mixture", dim).sample(jax.random.key(1), (n,))
    eps, t = jax.random.normal(jax.random.key(2), x0.shape), jnp.full(n, 0.4)
    sigma, drawn = schedule.sigma(t), times.Times(t, jnp.ones(n))
    at = functools.partial(losses.denoising_loss_at, lambda x, t: score(x), schedule)
    denoising = 0.5 * dim * at(x0, eps, drawn, target="score", weighting=weightings.eps)[0] / sigma**2
    implicit = sm.implicit_loss(score, perturb(schedule, x0, eps, t)) + dim / (2 * sigma**2)
    differences = sm.finite_difference_denoising_loss(
        jax.random.key(3), log_density, schedule.alpha(0.4) * x0, schedule.sigma(0.4), step=STEP
    )
    for gap in (denoising - implicit, differences - implicit):
        assert abs(np.mean(gap)) < 4 * np.std(gap) / np.sqrt(n)
        assert np.std(gap) < 6 * dim


@in_float64
def test_contractive_is_denoising_for_little_noise():
    """Equal for a linear autoencoder; for the best one the gap of the means is of order std^8, for others std^2."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    density = data("mixture", 1)
    x, w = quadrature(density, 1, 40)
    exact = score_from_log_density(density.log_density)

    @functools.partial(jax.jit, static_argnums=0)
    def gap(make, std):
        r = make(std)
        noisy = jnp.asarray(x[None] + std * nodes[:, None, None])
        denoising = jnp.einsum("k,kn->n", weights, jax.vmap(lambda y: jnp.sum((r(y) - x) ** 2, axis=-1))(noisy))
        return jnp.abs(jnp.sum(w * (denoising - sm.contractive_loss(r, jnp.asarray(x), std))))

    slope = lambda make: np.log2(gap(make, 0.2) / gap(make, 0.1))
    assert gap(lambda std: lambda y: 0.8 * y + 0.1, 0.5) < 1e-10
    assert 7 < slope(lambda std: lambda y: y + std**2 * exact(y)) < 8.5
    assert abs(slope(lambda std: lambda y: jnp.sin(y)) - 2) < 0.2


def test_trees_and_gradients():
    """A tree has the loss of its values in one array; a linear score has a closed-form minimum at the precision."""
    x = data("gaussian", 3).sample(jax.random.key(1), (5,))
    split = lambda x: {"a": x[:, :1], "b": x[:, 1:]}
    joined = lambda tree: jnp.concatenate([tree["a"], tree["b"]], axis=1)
    found = sm.implicit_loss(lambda tree: split(score(joined(tree))), split(x))
    np.testing.assert_allclose(found, sm.implicit_loss(score, x), rtol=1e-5)
    loss = lambda precision: sm.implicit_loss(lambda x: -precision * x, x).mean()
    np.testing.assert_allclose(jax.grad(loss)(3.0 / jnp.mean(jnp.sum(x**2, axis=-1))), 0.0, atol=1e-5)


X = jnp.ones((2, 3))
test_errors_name_the_argument = raising(
    {
        "key must": lambda: sm.implicit_loss(score, X, divergence="gaussian"),
        "log_density must": lambda: sm.finite_difference_loss(jax.random.key(0), lambda x: x, X),
        "score must": lambda: sm.implicit_loss(lambda x: x[:, :1], X),
        "x must": lambda: sm.implicit_loss(score, X[:0]),
    }
)


def test_finite_differences_of_bfloat16_data_are_float32():
    x, key = jnp.ones((3, 2), jnp.bfloat16), jax.random.key(0)
    density = lambda x: -0.5 * jnp.sum(x**2, -1)
    assert sm.finite_difference_loss(key, density, x).dtype == jnp.float32
    assert sm.finite_difference_denoising_loss(key, density, x, 0.5).dtype == jnp.float32
