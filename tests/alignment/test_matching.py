"""Losses of the forward process, whose minima are known at every state: of a few points, and of Gaussians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_quadratic import KEY, SCHEDULE
from problems import agrees
from tables import in_float64

from scorekit import alignment, densities, weightings
from scorekit.denoisers import exact_denoiser
from scorekit.losses import denoising_loss
from scorekit.times import Uniform

OPTIONS = {"target": "x0", "weighting": weightings.x0, "times": Uniform(t_min=0.1, t_max=0.9)}
POINTS, INDEX = jnp.array([[-1.0, 0.5], [0.3, -0.4], [0.8, 1.2]]), jnp.tile(jnp.arange(3), 50_000)


def mean(values, x, t):
    """``E[values | x_t]`` for data that are the points with equal probability."""
    alpha, sigma = SCHEDULE.alpha(t)[:, None], SCHEDULE.sigma(t)[:, None]
    squares = jnp.sum(jnp.square(x[:, None] - alpha[..., None] * POINTS), axis=-1)
    return jax.nn.softmax(-squares / (2 * sigma**2)) @ values


def covariance(values, x, t):
    return mean(values[:, None] * POINTS, x, t) - mean(values[:, None], x, t) * mean(POINTS, x, t)


def slopes(loss, network):
    """Of each example, the derivative of the loss at a network in a direction of each value, ``(B, D)``."""
    moved = lambda w: loss(lambda x, t: network(x, t) + w * (1.2 + jnp.sin(3 * x + t[:, None])))[0]
    return jax.jit(jax.jacfwd(moved))(jnp.zeros(POINTS.shape[1]))


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_a_round_of_nft_moves_by_the_covariance_with_the_optimality(beta):
    p, old, args = jnp.array([0.0, 0.2, 1.0]), lambda x, t: mean(POINTS, x, t), (SCHEDULE, POINTS[INDEX])
    loss = lambda network: alignment.nft_loss(KEY, network, old, *args, p[INDEX], beta=beta, **OPTIONS)
    assert agrees(slopes(loss, lambda x, t: old(x, t) + 2 / beta * covariance(p, x, t)))
    assert not agrees(slopes(loss, lambda x, t: old(x, t) + 1 / beta * covariance(p, x, t)), errors=15)


@in_float64
def test_nft_is_the_formula_of_the_paper_with_the_weights_of_the_denoising_loss():
    x0, p = jnp.asarray(np.random.default_rng(1).normal(size=(6, 2))), jnp.linspace(0.0, 1.0, 6)
    new, old = (lambda x, t, k=k: jnp.tanh(k * x + t[:, None]) for k in (1.0, 2.0))
    mirrored = lambda s: lambda x, t: (1 - s) * old(x, t) + s * new(x, t)
    better, worse, plain = (denoising_loss(KEY, mirrored(s), SCHEDULE, x0) for s in (0.3, -0.3, 1.0))
    loss, aux = alignment.nft_loss(KEY, new, old, SCHEDULE, x0, p, beta=0.3)
    np.testing.assert_allclose(loss, p * better[0] + (1 - p) * worse[0], rtol=1e-12)
    np.testing.assert_allclose(aux.target_mse, plain[1].target_mse, rtol=1e-12)
    assert jax.grad(lambda k: alignment.nft_loss(KEY, new, lambda x, t: k * x, SCHEDULE, x0, p)[0].sum())(1.0) == 0.0


def test_weights_of_the_reward_give_the_denoiser_of_the_tilted_law():
    """Of data ``N(1, 0.6^2)``, a reward ``-(x - 2)^2 / 2`` in each of two dimensions, and a temperature of 0.5."""
    prior = densities.gaussian(jnp.ones(2), std=0.6)
    tilted = densities.gaussian(jnp.full(2, 1 + 0.36 / 0.86), std=(0.36 * 0.5 / 0.86) ** 0.5)
    x0 = prior.sample(KEY, (150_000,))
    weights = jnp.exp(-0.5 * jnp.sum(jnp.square(x0 - 2.0), axis=-1) / 0.5)
    loss = lambda network: alignment.advantage_weighted_loss(KEY, network, SCHEDULE, x0, weights, **OPTIONS)
    right, wrong = (lambda x, t, p=p: exact_denoiser(p, SCHEDULE)(x, t).x0 for p in (tilted, prior))
    assert agrees(slopes(loss, right))
    assert not agrees(slopes(loss, wrong), errors=20)


def test_advantages_move_the_reference_by_their_covariance_and_need_enough_of_it():
    a, ref, args = jnp.array([-0.9, 0.2, 0.7]), lambda x, t: mean(POINTS, x, t), (SCHEDULE, POINTS[INDEX])
    loss = lambda network, c=1.5: alignment.advantage_weighted_loss(
        KEY, network, *args, a[INDEX], reference=ref, kl=c, **OPTIONS
    )
    best = lambda x, t: ref(x, t) + covariance(a, x, t) / (mean(a[:, None], x, t) + 1.5)
    assert agrees(slopes(loss, best))
    assert not agrees(slopes(loss, ref), errors=15)
    assert float(jnp.min(loss(lambda x, t: ref(x, t) + 1e3, c=0.8)[0])) < -1e4


def test_rewards_are_standardised_in_groups():
    r = np.array([1.0, 2.0, 6.0, 0.1, 0.1, 0.1], np.float32)
    a, p = alignment.advantages(1e25 * r, num_groups=2), alignment.optimality(r, num_groups=2, scale=0.9)
    expected = np.append((r[:3] - 3) / r[:3].std(), [0, 0, 0])
    np.testing.assert_allclose(a, expected, rtol=1e-5)
    np.testing.assert_allclose(p, 0.5 + 0.5 * np.clip(expected / 0.9, -1, 1), rtol=1e-5)
    assert jax.jit(alignment.advantages)(jnp.array([[0.1, 0.1, 0.1], [1.0, jnp.nan, 2.0]])[0]).tolist() == [0.0] * 3
    assert np.all(np.isnan(jax.jit(alignment.advantages)(jnp.array([1.0, jnp.nan]))))
    wrong = {"be finite, but 1 of 2": [1.0, np.nan], "hold real numbers, got": [1j, 0.0], "differ within": [0.1, 0.1]}
    for words, values in {**wrong, r"have shape \(2,\)": [[1.0], [2.0]], "be a multiple of num_groups": []}.items():
        with pytest.raises(ValueError, match=f"^rewards must {words}"):
            alignment.advantages(np.array(values))
