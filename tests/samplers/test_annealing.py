"""Annealed posteriors: exact for Gaussians through every operator, and for mixtures against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import densities, process, schedules, solvers
from scorekit.denoisers import denoiser_from_network, exact_denoiser
from scorekit.guidance import operators
from scorekit.samplers import annealed_posterior
from scorekit.typing import Prediction

COUNT, KEY, TS = 2000, jax.random.key(0), solvers.grids.uniform(24)
MODES = [densities.gaussian(jnp.array([-1.0, 0.4]), std=0.25), densities.gaussian(jnp.array([1.2, 0.0]), std=0.4)]
DATA = densities.mixture([0.35, 0.65], MODES)


@jax.jit(static_argnames=("operator", "num_stages", "steps"))
def run(prior, schedule, x_init, operator, y, noise_std, num_stages=8, steps=16):
    arguments = schedule, solvers.DPMSolverPP2M(), x_init, TS, operator, y, noise_std
    return annealed_posterior(jax.random.key(1), prior, *arguments, num_stages=num_stages, steps=steps)


def noise(schedule, *shape, count=COUNT):
    return process.sample_prior(KEY, schedule, jnp.zeros((count, *shape)))


OPERATORS = {
    "identity": lambda x: x,
    "mask": operators.mask(jnp.array([True, False, False])),
    "singular": lambda x: jnp.stack([x[:, 0] + x[:, 1], 2 * x[:, 0] + 2 * x[:, 1]], -1),
    "ill-conditioned": lambda x: x @ jnp.diag(jnp.array([2.0, 0.3, 1e-3])),
}


@pytest.mark.parametrize("name", ["mask", "singular", "ill-conditioned"])
def test_gaussian_posterior_and_evidence(name):
    schedule = schedules.EDM() if name == "mask" else schedules.Cosine()
    operator, s = OPERATORS[name], 0.4
    covariance = np.array([[1.0, 0.8, 0.3], [0.8, 1.0, 0.5], [0.3, 0.5, 1.0]])
    mean = np.array([0.3, -0.5, 0.1])
    prior = exact_denoiser(densities.gaussian(jnp.asarray(mean), covariance=jnp.asarray(covariance)), schedule)
    a = np.asarray(operator(jnp.eye(3))).T
    y = a @ np.array([1.0, 0.2, -0.4]) + 0.2 * a.any(1)
    found = run(prior, schedule, noise(schedule, 3), operator, jnp.asarray(y), s)
    gain = covariance @ a.T @ np.linalg.inv(a @ covariance @ a.T + s**2 * np.eye(len(a)))
    exact = covariance - gain @ a @ covariance
    scale = np.sqrt(np.diag(exact))
    np.testing.assert_allclose((found.x.mean(0) - mean - gain @ (y - a @ mean)) / scale, 0.0, atol=0.12)
    np.testing.assert_allclose((np.cov(found.x.T) - exact) / np.outer(scale, scale), 0.0, atol=0.15)
    left, value, _ = np.linalg.svd(a)
    seen = left[:, : np.sum(value > 1e-5)].T  # the components of y that are observed
    total = seen @ (a @ covariance @ a.T + s**2 * np.eye(len(a))) @ seen.T
    gap = seen @ (y - a @ mean)
    log_p = -0.5 * (gap @ np.linalg.solve(total, gap) + np.linalg.slogdet(2 * np.pi * total)[1])
    assert abs(float(found.log_evidence) - log_p) < 0.2
    assert float(found.levels[-1]) == pytest.approx(s / value[0], rel=1e-3)
    assert found.misfit < 1.6


def test_mixture_posterior_by_quadrature():
    """The second coordinate alone leaves both modes."""
    schedule, s, observed = schedules.Cosine(), 0.3, (False, True)
    y = jnp.where(jnp.array(observed), jnp.array([0.1, 0.25]), 0.0)
    found = run(exact_denoiser(DATA, schedule), schedule, noise(schedule, 2), operators.mask(jnp.array(observed)), y, s)
    line = jnp.linspace(-3.5, 3.5, 281)
    grid = jnp.stack(jnp.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    log_p = DATA.log_density(grid) - 0.5 * jnp.sum(jnp.where(jnp.array(observed), grid - y, 0.0) ** 2, -1) / s**2
    weights = jax.nn.softmax(log_p)
    integral = jnp.exp(jax.nn.logsumexp(log_p)) * (line[1] - line[0]) ** 2 / (2 * np.pi * s**2) ** (sum(observed) / 2)
    assert abs(float(found.log_evidence - jnp.log(integral))) < 0.1
    for f in (
        lambda x: x[:, 0] > 0.1,
        lambda x: x[:, 0],
        lambda x: x[:, 1],
        lambda x: x[:, 0] ** 2,
        lambda x: x[:, 1] < 0,
    ):
        assert abs(float(f(found.x).mean() - weights @ f(grid))) < 0.06, f
    assert found.ess.min() > 0.1 * COUNT


@pytest.mark.slow
def test_bias_of_few_steps():
    """The variance of a Gaussian posterior; where all of x is observed, one draw has no other error."""
    schedule, data = schedules.Cosine(), densities.gaussian(jnp.zeros(1), std=1.0)
    x_init, errors = noise(schedule, 1, count=20_000), []
    for steps in (4, 6, 16):
        problem = exact_denoiser(data, schedule), schedule, x_init, OPERATORS["identity"], jnp.ones(1), 1.0
        errors.append(float(run(*problem, num_stages=1, steps=steps).x.var()) / 0.5 - 1.0)
    np.testing.assert_allclose(errors, [-0.34, -0.065, 0.0], atol=0.03)


@pytest.mark.slow
def test_trees_of_arrays_and_mapped_observations():
    schedule, data = schedules.Cosine(), densities.gaussian(jnp.zeros(1), std=1.0)
    prior = exact_denoiser(data, schedule)

    def both(x, t):
        a, b = prior(x["a"], t), prior(x["b"], t)
        return Prediction(*({"a": first, "b": second} for first, second in zip(a, b, strict=True)))

    x_init = {"a": noise(schedule, 1, count=400), "b": noise(schedule, 1, count=400)[::-1]}
    mapped = jax.vmap(
        lambda y: run(jax.tree_util.Partial(both), schedule, x_init, lambda x: x["a"], y, 0.5, num_stages=3, steps=6).x
    )
    x = mapped(jnp.array([[0.0], [2.0]]))
    np.testing.assert_allclose(x["a"].mean((1, 2)), [0.0, 1.6], atol=0.15)
    np.testing.assert_allclose(x["b"].var((1, 2)), 1.0, atol=0.3)


@pytest.mark.slow
def test_particles_in_half_precision_are_annealed_in_single():
    x_init, y = noise(schedules.Cosine(), 2, count=400), jnp.array([1.0, 0.0])
    half, single = (
        run(exact_denoiser(DATA, schedules.Cosine()), schedules.Cosine(), x, OPERATORS["identity"], y, 0.5).x
        for x in (x_init.astype(jnp.bfloat16), x_init)
    )
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32).mean(0), single.mean(0), atol=0.02)


_POINT = denoiser_from_network(lambda x, t: jnp.zeros_like(x), schedules.Cosine(), "x0")


def test_a_traced_noise_that_is_impossible_or_out_of_reach_gives_nan():
    schedule = schedules.Cosine()
    given = schedule, solvers.DPMSolverPP2M(), noise(schedule, 2, count=16), TS, OPERATORS["identity"]
    run = lambda s: annealed_posterior(KEY, _POINT, *given, jnp.array([3.0, 0.0]), s, num_stages=2, steps=2)
    found = jax.jit(jax.vmap(run))(jnp.array([-1.0, 0.0, 1e-9, 1e-4]))
    assert all(bool(jnp.isnan(leaf).all()) for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("operator", [jnp.abs, jnp.square, lambda x: x + 1.0, lambda x: 0.0 * x])
def test_a_traced_operator_that_is_not_linear_or_observes_nothing_gives_nan(operator):
    schedule = schedules.Cosine()
    given = exact_denoiser(DATA, schedule), schedule, noise(schedule, 2, count=16), operator, jnp.ones(2), 0.5
    assert all(bool(jnp.isnan(leaf).all()) for leaf in jax.tree.leaves(run(*given, num_stages=2, steps=2)))
