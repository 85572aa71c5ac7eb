"""The loss with a level for each frame, and guidance at such levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import denoisers, forcing, guidance, losses, predictions, schedules, solvers, weightings
from scorekit.densities import gaussian
from scorekit.times import Times, uniform
from scorekit.typing import Prediction

SCHEDULE = schedules.cosine()
FRAMES, CHANNELS = 3, 2
C = np.kron(0.8 ** np.abs(np.subtract.outer(np.arange(FRAMES), np.arange(FRAMES))), [[1.0, 0.5], [0.5, 2.0]])
DENSITY = gaussian(jnp.zeros(FRAMES * CHANNELS), covariance=jnp.asarray(C, jnp.float32))
T = jnp.array([0.15, 0.5, 0.8])
KEY = jax.random.key(0)


@pytest.mark.parametrize("causal", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("target", ["v", pytest.param("eps", marks=pytest.mark.slow)])
def test_the_exact_denoiser_is_the_minimum_of_the_loss(causal, target):
    """Of a linear denoiser the loss is quadratic in x0 and eps, so that points with their covariance give its mean."""
    size = FRAMES * CHANNELS
    factor = np.sqrt(2 * size) * np.linalg.cholesky(
        np.kron([[1, 0], [0, 0]], C) + np.kron([[0, 0], [0, 1]], np.eye(size))
    )
    x0, eps = (jnp.asarray(half.T.reshape(2 * size, FRAMES, CHANNELS), jnp.float32) for half in np.split(factor, 2))
    t = jnp.broadcast_to(T, (2 * size, FRAMES))
    exact = forcing.exact_denoiser(DENSITY, SCHEDULE, FRAMES, causal)
    of_frame = np.arange(size) // CHANNELS
    mask = of_frame[:, None] >= of_frame if causal else np.ones((size, size))

    @jax.jit
    def loss(change):
        def network(x, t):
            moved = jnp.einsum("ij,bj->bi", change * mask, x.reshape(len(x), -1)).reshape(x.shape)
            return predictions.as_target(target).from_prediction(exact(x, t), t, SCHEDULE) + moved

        times = Times(t, jnp.ones_like(t))
        return forcing.denoising_loss_at(network, SCHEDULE, x0, eps, times, target=target)[0].mean()

    zero, direction = jnp.zeros((size, size)), jax.random.normal(KEY, (size, size))
    least, slope = jax.jit(jax.value_and_grad(loss))(zero)
    assert float(jnp.abs(slope).max()) < 1e-4 * float(least)
    assert float(least) > 0.1
    assert min(float(loss(0.1 * direction)), float(loss(-0.1 * direction))) > 1.001 * float(least)


def network(x, t):
    return x * jnp.sin(3 * t)[..., None]


def test_equal_levels_are_the_ordinary_loss_and_masked_frames_do_not_count():
    x0, eps = jax.random.normal(KEY, (2, 4, 3, 2))
    options = {"target": "v", "weighting": weightings.min_snr}
    t, one = jnp.array([0.1, 0.3, 0.6, 0.9]), jnp.ones(4)
    of_examples = lambda x, t: network(x, jnp.broadcast_to(t[:, None], x.shape[:2]))
    expected, aux = losses.denoising_loss_at(of_examples, SCHEDULE, x0, eps, Times(t, one), **options)
    times = Times(jnp.repeat(t[:, None], 3, axis=1), jnp.ones((4, 3)))
    found, each = forcing.denoising_loss_at(network, SCHEDULE, x0, eps, times, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(each.eps_mse.mean(1), aux.eps_mse, rtol=1e-5)

    mask = jnp.array([[True, True, False], [True, False, False], [True] * 3, [False] * 3])
    seen = []
    watched = lambda x, t: (seen.append((x, t)), network(x, t))[1]
    hidden = jnp.where(mask[..., None], x0, 1e3)
    found, each = forcing.denoising_loss_at(watched, SCHEDULE, hidden, eps, times, **options, mask=mask)
    per_frame = jnp.where(mask, each.weight * each.eps_mse, 0.0)
    np.testing.assert_allclose(found, per_frame.sum(1) / jnp.array([2, 1, 3, 1]), rtol=1e-5)
    x, t = seen[0]
    assert bool((t[~mask] == 1.0).all())
    np.testing.assert_allclose(x[~mask], SCHEDULE.sigma(1.0) * eps[~mask], atol=1e-4)


def test_levels_of_frames_are_independent_and_stratified():
    t = np.asarray(forcing.draw_times(KEY, 400, 3, uniform(t_min=0.0), SCHEDULE).t)
    assert np.abs(np.corrcoef(t.T) - np.eye(3)).max() < 0.12
    assert np.array_equal(np.sort((t.reshape(-1) * 1200).astype(int)), np.arange(1200))


def test_history_guidance_is_that_of_the_history_as_a_condition():
    exact = forcing.exact_denoiser(DENSITY, SCHEDULE, FRAMES)
    x, noise = jax.random.normal(KEY, (2, 4, FRAMES, CHANNELS))
    t = jnp.broadcast_to(jnp.array([0.0, 0.4, 1.0]), (4, FRAMES))
    full = exact(x, t)
    later = gaussian(jnp.zeros(2 * CHANNELS), covariance=DENSITY.covariance()[CHANNELS:, CHANNELS:])
    without = forcing.exact_denoiser(later, SCHEDULE, 2)(x[:, 1:], t[:, 1:])
    for scale in (0.0, 1.0, 2.5):
        found = forcing.history_guidance(exact, SCHEDULE, noise, scale)(x, t)
        for f, c, u in zip(found, full, without, strict=True):
            np.testing.assert_allclose(f[:, 1:], u + scale * (c[:, 1:] - u), atol=2e-4)
            np.testing.assert_allclose(f[:, 0], c[:, 0], atol=1e-6)  # the history itself


def test_rules_take_a_level_for_each_frame():
    conditional = lambda x, t, c: Prediction(x * t[..., None] + c[:, None, None], x)
    cond, uncond = guidance.branches(conditional, jnp.ones(2), 0.0)
    guided = guidance.classifier_free(cond, uncond, 3.0)
    inside = guidance.interval(guided, cond, SCHEDULE, noise_max=1.0)
    x, t = jnp.ones((2, 3, 4)), jnp.array([[0.1, 0.4, 0.9], [0.9, 0.2, 0.6]])
    np.testing.assert_allclose(guided(x, t).x0, t[..., None] + 3.0 + 0 * x, rtol=1e-6)
    scale = jnp.where(SCHEDULE.log_snr(t) > 0, 3.0, 1.0)
    np.testing.assert_allclose(inside(x, t).x0, (t + scale)[..., None] + 0 * x, rtol=1e-6)
    clipped = guidance.static_threshold(guided, SCHEDULE, 1.0)(x, t)
    np.testing.assert_allclose(clipped.x0, 1.0)
    with pytest.raises(ValueError, match=r"or \(2, 3\), one per frame, got \(2, 4\)"):
        guided(x, jnp.zeros((2, 4)))


def test_a_network_of_frames_is_a_denoiser():
    denoiser = denoisers.denoiser_from_network(network, SCHEDULE, "v")
    x, t = jax.random.normal(KEY, (2, 3, 4)), jnp.array([[0.1, 0.4, 0.9], [0.9, 0.2, 0.6]])
    found = denoiser(x, t)
    of_one = denoisers.denoiser_from_network(lambda x, t: x * jnp.sin(3 * t), SCHEDULE, "v")
    for b in range(2):
        for i in range(3):
            np.testing.assert_allclose(found.x0[b, i], of_one(x[b, i], t[b, i]).x0, rtol=2e-5, atol=1e-6)
    levels = forcing.pyramid(solvers.grids.uniform(4), 3, 1)
    assert jax.jit(forcing.sample)(None, denoiser, SCHEDULE, solvers.Euler(), x, levels).shape == x.shape
