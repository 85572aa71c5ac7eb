"""Inverse problems through the synthesiser: of known pitch its sound is linear in the amplitudes, so that Gaussian
amplitudes that are observed through a degraded sound have a posterior in closed form."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from problems import posterior

from scorekit import denoisers, densities, samplers, schedules, solvers
from scorekit.audio import ddsp
from scorekit.guidance import mmps, operators, pigdm

RATE, HOP, LENGTH, FRAMES, NOISE = 1000.0, 16, 64, 5, 0.05
COSINE = schedules.cosine()
KEEP = np.ones((LENGTH, 1), np.float32)
KEEP[20:44] = 0.0
LOW_PASS = operators.low_pass_kernel(0.15, 4)
DEGRADED = {
    "low_pass": (
        operators.blur(jnp.asarray(LOW_PASS, jnp.float32), "zero"),
        np.stack([np.convolve(row, LOW_PASS, "same") for row in np.eye(LENGTH)], 1),
    ),
    "gap": (operators.mask(jnp.asarray(KEEP)), np.diag(KEEP[:, 0])),
}


def observe(f0, degraded, a):
    """Amplitudes ``(B, FRAMES * K)`` to the degraded sound ``(B, LENGTH, 1)``."""
    a = a.reshape(len(a), FRAMES, -1)
    silent = jnp.zeros((len(a), FRAMES, 2))
    f0 = jnp.broadcast_to(f0, (len(a), FRAMES))
    return degraded(ddsp.synthesise(jax.random.key(0), f0, a, silent, RATE, HOP, LENGTH)[..., None])


class Case(NamedTuple):
    operator: Partial
    matrix: np.ndarray
    covariance: np.ndarray
    y: np.ndarray


def make(partials, degraded, covariance=None):
    """The operator, and in float64 its matrix ``D hann sin(2 pi k phase)``; a pitch that glides."""
    function, after = DEGRADED[degraded]
    f0 = 230.0 / partials * (1.0 + 0.1 * np.arange(FRAMES))
    n, k = np.arange(LENGTH), np.arange(1, partials + 1)
    at = np.interp(n / HOP, np.arange(FRAMES), f0)
    phase = np.concatenate([[0.0], np.cumsum(at)[:-1]]) / RATE
    distance = np.abs(n[:, None] / HOP - np.arange(FRAMES))
    weights = np.where(distance < 1, np.cos(0.5 * np.pi * distance) ** 2, 0.0)
    matrix = after @ (weights[:, :, None] * np.sin(2 * np.pi * k * phase[:, None])[:, None]).reshape(LENGTH, -1)
    if covariance is None:  # smooth in time, and higher partials are weaker
        frames = np.exp(-0.5 * np.subtract.outer(*[np.arange(FRAMES)] * 2) ** 2) + 0.1 * np.eye(FRAMES)
        covariance = np.kron(frames, np.diag(1.0 / k) + 0.2 / partials)
    a = np.random.default_rng(1).multivariate_normal(np.full(len(covariance), MEAN), covariance)
    return Case(Partial(partial(observe, jnp.asarray(f0, jnp.float32)), function), matrix, covariance, matrix @ a)


MEAN = 0.5


def of_amplitudes(case):
    """Mean and covariance of the amplitudes given y."""
    return posterior(np.full(len(case.covariance), MEAN), case.covariance, case.matrix, case.y, NOISE)


def moments_of_flow(rule, case):
    """Mean and covariance of samples: the flow is affine, so that it is known from the origin and unit vectors."""
    size = len(case.covariance)
    y = jnp.tile(jnp.asarray(case.y, jnp.float32)[:, None], (size + 1, 1, 1))
    start = jnp.concatenate([jnp.zeros((1, size)), jnp.eye(size)]) * COSINE.sigma(1.0)
    ts = solvers.grids.uniform(48)
    run = jax.jit(lambda y, x: samplers.sample(rule(y), COSINE, solvers.AdamsBashforth(), x, ts))
    ends = np.asarray(run(y, start), np.float64)
    moved = ends[1:] - ends[0]
    return ends[0], moved.T @ moved


@pytest.mark.slow
@pytest.mark.parametrize("degraded", DEGRADED)
@pytest.mark.parametrize("partials", [1, 2, 12])
def test_the_adjoint_of_a_degraded_synthesiser_is_the_transpose_of_its_matrix(partials, degraded):
    case = make(partials, degraded)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, FRAMES * partials)), rng.normal(size=(3, LENGTH, 1))
    np.testing.assert_allclose(case.operator(jnp.asarray(x, jnp.float32))[..., 0], x @ case.matrix.T, atol=2e-4)
    back = operators.adjoint(case.operator, jnp.asarray(x, jnp.float32))(jnp.asarray(y, jnp.float32))
    np.testing.assert_allclose(back, y[..., 0] @ case.matrix, atol=2e-4)


OF_MMPS = [(mmps, 1, "gap"), (mmps, 2, "low_pass"), (mmps, 12, "gap"), (mmps, 12, "low_pass")]


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "partials", "degraded"), [*OF_MMPS, (pigdm, 2, "gap"), (pigdm, 12, "low_pass")])
def test_rules_sample_the_posterior_of_the_amplitudes(rule, partials, degraded):
    """Of independent amplitudes of one deviation for ``pigdm``, which assumes them."""
    size, std = FRAMES * partials, 0.7
    case = make(partials, degraded, std**2 * np.eye(size) if rule is pigdm else None)
    prior = densities.gaussian(jnp.full(size, MEAN), covariance=jnp.asarray(case.covariance))
    options = (
        {"data_std": std, "num_iterations": LENGTH} if rule is pigdm else {"num_iterations": min(2 * size, LENGTH)}
    )
    of = lambda y: rule(denoisers.exact_denoiser(prior, COSINE), COSINE, case.operator, y, NOISE, **options)
    found, spread = moments_of_flow(of, case)
    expected, covariance = of_amplitudes(case)
    deviation = np.sqrt(np.diag(covariance))
    if rule is mmps:  # much is observed
        assert np.linalg.norm(covariance) < 0.7 * np.linalg.norm(case.covariance)
        assert np.abs(expected - MEAN).max() > 3 * deviation.min()
    np.testing.assert_allclose((found - expected) / deviation, 0.0, atol=0.05)
    assert np.linalg.norm(spread - covariance) < 0.03 * np.linalg.norm(covariance)
