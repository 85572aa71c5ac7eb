"""Distribution matching: the gradient of the reverse KL divergence, and the loss of the fake score."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import SCHEDULES, in_float64

from scorekit import denoisers, densities, flow_maps, losses, schedules, weightings
from scorekit.times import Times


def normal(mean, std, schedule):
    return denoisers.exact_denoiser(densities.gaussian(jnp.reshape(mean, 1), std=std), schedule)


KL = {"weighting": weightings.eps, "normalise": False}


SLOW = ("linear_vp", "geometric_ve", "rectified_flow", "sub_vp")


@pytest.mark.parametrize("name", ["cosine", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
@in_float64
def test_matching_loss_has_the_gradient_of_the_reverse_kl_divergence(name):
    """The difference of the scores times alpha and the importance weight."""
    schedule, rng = SCHEDULES[name].make(), np.random.default_rng(0)
    fake, real = normal(1.0, 0.5, schedule), normal(-1.0, 0.8, schedule)
    x, eps = (jnp.asarray(rng.normal(size=(4, 1))) for _ in range(2))
    t, w = jnp.array([0.1, 0.4, 0.6, 0.95]), jnp.array([1.0, 2.0, 0.5, 0.0])
    x_t = schedule.alpha(t)[:, None] * x + schedule.sigma(t)[:, None] * eps
    scores = [-d(x_t, t).eps / schedule.sigma(t)[:, None] for d in (fake, real)]
    one = schedule.alpha(t)[:, None] * (scores[0] - scores[1])
    loss = lambda x, **o: flow_maps.matching_loss(fake, real, schedule, x, eps, Times(t, w), **o).sum()
    np.testing.assert_allclose(jax.grad(loss)(x, **KL), w[:, None] * one, rtol=1e-9)
    dmd = jax.grad(loss)(x)
    towards = real(x_t, t).x0
    np.testing.assert_allclose(dmd, w[:, None] * (fake(x_t, t).x0 - towards) / np.abs(x - towards), rtol=1e-9)


def test_fake_score_loss_is_the_denoising_loss():
    schedule, x = schedules.Cosine(), jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    times, eps = Times(jnp.linspace(0.1, 0.9, 4), jnp.arange(4.0)), x[::-1]
    network = lambda a: lambda x, t: jnp.tanh(a * x)
    run = jax.jit(lambda a, x: flow_maps.fake_score_loss(network(a), schedule, x, eps, times)[0].sum())
    expected, _ = jax.jit(lambda: losses.denoising_loss_at(network(0.7), schedule, x, eps, times))()
    np.testing.assert_allclose(run(0.7, x), expected.sum(), rtol=1e-6)


def test_matching_loss_of_trees_and_invalid_times():
    schedule, times = schedules.Cosine(), Times(jnp.array([0.3, 0.6]), jnp.ones(2))
    d = lambda scale: denoisers.denoiser_from_network(lambda x, t: jax.tree.map(lambda a: scale * a, x), schedule)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5)), jnp.float32)
    tree = lambda x: {"p": x[:, :2], "q": x[:, 2:].reshape(2, 3, 1)}
    run = lambda x: flow_maps.matching_loss(d(0.1), d(0.6), schedule, x, x, times)
    np.testing.assert_allclose(run(tree(x)), run(x), rtol=1e-5)
    with pytest.raises(ValueError, match=r"times.t must have shape \(2,\), one per example, got \(\)"):
        flow_maps.matching_loss(d(0.1), d(0.6), schedule, x, x, Times(jnp.array(0.5), jnp.ones(2)))
