"""Density distillation against the closed form for Gaussians, and the scales of a student."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import autoregressive as ar
from scorekit.networks.flows import AutoregressiveFlow

KEY, LENGTH = jax.random.key(1), 6
TEACHER = ar.ar_process([0.9, -0.5], 0.7)


def triangular():
    """A Gaussian student ``x = m + L z``: the mean and L."""
    rng = np.random.default_rng(0)
    return rng.normal(size=LENGTH), np.tril(0.3 * rng.normal(size=(LENGTH, LENGTH)), -1) + np.diag([0.5, 1, 2, 1, 1, 3])


def teacher_covariance():
    """From its conditionals: rows of predictions from the values before, and their variances, in float64."""
    first = np.asarray(TEACHER.outputs(jnp.zeros((1, LENGTH, 1))), np.float64)[0]
    at = lambda i: np.asarray(TEACHER.outputs(jnp.eye(LENGTH)[i][None, :, None]), np.float64)[0, :, 0] - first[:, 0]
    prediction = np.stack([at(i) for i in range(LENGTH)], axis=1)
    inner = np.linalg.inv(np.eye(LENGTH) - prediction)
    return inner @ np.diag(np.exp(2 * first[:, 1])) @ inner.T


def divergence(mean, factor):
    """KL of N(mean, L L^T) from the teacher."""
    p, q = teacher_covariance(), factor @ factor.T
    squares = np.trace(np.linalg.solve(p, q)) + mean @ np.linalg.solve(p, mean) - LENGTH
    return 0.5 * (squares + np.linalg.slogdet(p)[1] - np.linalg.slogdet(q)[1])


@pytest.mark.parametrize("x64", [False, True])
def test_the_mean_over_latents_is_the_divergence_of_gaussians(x64):
    mean, factor = triangular()
    points = LENGTH**0.5 * np.concatenate([np.eye(LENGTH), -np.eye(LENGTH)])  # exact for quadratic functions
    with jax.enable_x64(x64):
        z = jnp.asarray(points)[..., None]
        x = jnp.asarray(mean + points @ factor.T)[..., None]
        log_scale = jnp.broadcast_to(jnp.log(jnp.asarray(np.diag(factor)))[:, None], x.shape)
        teacher = ar.ar_process([0.9, -0.5], 0.7)
        found = jax.jit(ar.density_distillation_loss)(teacher, x, z, log_scale).mean()
        more = ar.density_distillation_loss(teacher, x, z, log_scale, 2.0).mean() - found
        log_std = np.asarray(teacher.outputs(x))[0, :, 1]
    np.testing.assert_allclose(found, divergence(mean, factor), rtol=1e-6 if x64 else 1e-5)
    np.testing.assert_allclose(more, 2.0 * np.square(log_std - np.log(np.diag(factor))).sum(), rtol=1e-4)


@pytest.mark.slow
def test_scales_of_a_flow_are_those_of_its_inverse():
    flow = AutoregressiveFlow(channels=8, depth=3, cycle=3, layers=2, parallel="sampling", alternate=False)
    z, rng = jax.random.normal(jax.random.key(0), (5, LENGTH, 1)), np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape), jax.jit(flow.init)(KEY, z))
    x, log_scale = flow.apply(params, z, method="scales")
    inverse, log_det = flow.apply(params, z, method="inverse")
    np.testing.assert_allclose(x, inverse, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(log_scale.sum((1, 2)), log_det, rtol=1e-5, atol=1e-5)
    assert np.abs(log_scale).max() > 0.01
