"""Density distillation against the closed form for Gaussians, and a student that becomes its teacher."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scorekit import autoregressive as ar
from scorekit.densities import gaussian
from scorekit.networks.flows import AutoregressiveFlow

LENGTH = 6
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
def test_a_student_becomes_its_teacher_and_draws_all_positions_at_once():
    flow = AutoregressiveFlow(channels=16, depth=3, cycle=3, layers=2, parallel="sampling", alternate=False)
    z = jax.random.normal(jax.random.key(0), (128, LENGTH, 1))
    params = jax.jit(flow.init)(jax.random.key(1), z)
    optimizer = optax.adam(1e-2)

    def loss(params, z):
        x, log_scale = flow.apply(params, z, method="scales")
        return ar.density_distillation_loss(TEACHER, x, z, log_scale).mean()

    @jax.jit
    def train(params):
        def step(carry, key):
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params, jax.random.normal(key, z.shape))
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), value

        start = params, optimizer.init(params)
        return jax.lax.scan(step, start, jax.random.split(jax.random.key(2), 300))

    (trained, _), values = train(params)
    assert values[0] > 0.5
    assert values[-20:].mean() < 0.02
    x, log_scale = flow.apply(trained, z, method="scales")
    np.testing.assert_allclose(x, flow.apply(trained, z, method="inverse")[0])
    exact = gaussian(jnp.zeros(LENGTH), covariance=jnp.asarray(teacher_covariance()))
    own = -0.5 * jnp.square(z).sum((1, 2)) - 0.5 * LENGTH * np.log(2 * np.pi) - log_scale.sum((1, 2))
    assert abs(float((own - exact.log_density(x[..., 0])).mean())) < 0.05  # an independent estimate of the divergence
