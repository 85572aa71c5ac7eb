"""The loss with a level for each frame, and guidance at such levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from problems import lagged

from scorekit import denoisers, forcing, guidance, losses, predictions, schedules, weightings
from scorekit.densities import gaussian
from scorekit.times import Times, Uniform
from scorekit.typing import Prediction

SCHEDULE = schedules.Cosine()
FRAMES, CHANNELS = 3, 2
C = np.kron(lagged(FRAMES, 0.8), [[1.0, 0.5], [0.5, 2.0]])
DENSITY = gaussian(jnp.zeros(FRAMES * CHANNELS), covariance=jnp.asarray(C, jnp.float32))
T = jnp.array([0.15, 0.5, 0.8])
KEY = jax.random.key(0)


@pytest.mark.parametrize(("causal", "target"), [(True, "v"), pytest.param(False, "eps", marks=pytest.mark.slow)])
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

    def loss(change):
        def network(x, t):
            moved = jnp.einsum("ij,bj->bi", change * mask, x.reshape(len(x), -1)).reshape(x.shape)
            return predictions.as_target(target).from_prediction(exact(x, t), t, SCHEDULE) + moved

        times = Times(t, jnp.ones_like(t))
        return forcing.denoising_loss_at(network, SCHEDULE, x0, eps, times, target=target)[0].mean()

    zero, direction = jnp.zeros((size, size)), jax.random.normal(KEY, (size, size))
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(loss)))(jnp.stack([zero, 0.1 * direction, -0.1 * direction]))
    assert float(jnp.abs(slopes[0]).max()) < 1e-4 * float(values[0])
    assert float(values[0]) > 0.1
    assert float(values[1:].min()) > 1.001 * float(values[0])


def network(x, t):
    return x * jnp.sin(3 * t)[..., None]


@pytest.mark.slow
def test_equal_levels_are_the_ordinary_loss():
    x0, eps = jax.random.normal(KEY, (2, 4, 3, 2))
    options = {"target": "v", "weighting": weightings.min_snr()}
    t, one = jnp.array([0.1, 0.3, 0.6, 0.9]), jnp.ones(4)

    @jax.jit
    def both(x0, eps):
        of_examples = lambda x, t: network(x, jnp.broadcast_to(t[:, None], x.shape[:2]))
        times = Times(jnp.repeat(t[:, None], 3, axis=1), jnp.ones((4, 3)))
        ordinary = losses.denoising_loss_at(of_examples, SCHEDULE, x0, eps, Times(t, one), **options)
        return ordinary, forcing.denoising_loss_at(network, SCHEDULE, x0, eps, times, **options)

    (expected, aux), (found, each) = both(x0, eps)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(each.eps_mse.mean(1), aux.eps_mse, rtol=1e-5)


def test_masked_frames_are_noise_and_do_not_count():
    x0, eps = np.random.default_rng(0).normal(size=(2, 4, 3, 2)).astype(np.float32)
    mask = np.array([[True, True, False], [True, False, False], [True] * 3, [False] * 3])
    times = Times(jnp.full((4, 3), 0.4), jnp.ones((4, 3)))

    @jax.jit
    def masked(x0, eps):
        seen = []
        watched = lambda x, t: (seen.append((x, t)), network(x, t))[1]
        return forcing.denoising_loss_at(watched, SCHEDULE, x0, eps, times, mask=mask), seen[0]

    (found, each), (x, t) = masked(np.where(mask[..., None], x0, 1e3), eps)
    per_frame = np.where(mask, each.weight * each.eps_mse, 0.0)
    np.testing.assert_allclose(found, per_frame.sum(1) / np.array([2, 1, 3, 1]), rtol=1e-5)
    np.testing.assert_allclose(per_frame, each.weight * each.eps_mse)
    binned, present = each.by_noise_level, np.asarray(each.eps_mse)[mask]
    np.testing.assert_allclose(binned.count.sum(), len(present))
    np.testing.assert_allclose(binned.sum.sum(), present.sum(), rtol=1e-5)
    assert (np.asarray(t)[~mask] == 1.0).all()
    np.testing.assert_allclose(np.asarray(x)[~mask], eps[~mask], atol=1e-3)  # sigma(1) = 1


test_a_mask_without_frames_is_an_error = raising(
    {"mask must leave at least one frame to predict, got none": np.zeros((2, 3), bool)},
    lambda mask: forcing.denoising_loss(KEY, network, SCHEDULE, jnp.zeros((2, 3, 1)), mask=mask),
)


def test_levels_of_frames_are_independent_and_stratified():
    t = np.asarray(forcing.draw_times(KEY, Uniform(t_min=0.0), SCHEDULE, 400, 3).t)
    assert np.abs(np.corrcoef(t.T) - np.eye(3)).max() < 0.12
    assert np.array_equal(np.sort((t.reshape(-1) * 1200).astype(int)), np.arange(1200))


def test_history_guidance_is_that_of_the_history_as_a_condition():
    exact = forcing.exact_denoiser(DENSITY, SCHEDULE, FRAMES)
    later = gaussian(jnp.zeros(2 * CHANNELS), covariance=jnp.asarray(C[CHANNELS:, CHANNELS:], jnp.float32))
    t, scales = jnp.broadcast_to(jnp.array([0.0, 0.4, 1.0]), (4, FRAMES)), (0.0, 1.0, 2.5)

    @jax.jit
    def predictions_of(x, noise):
        guided = [forcing.history_guidance(exact, SCHEDULE, noise, scale)(x, t) for scale in scales]
        return guided, exact(x, t), forcing.exact_denoiser(later, SCHEDULE, 2)(x[:, 1:], t[:, 1:])

    guided, full, without = predictions_of(*jax.random.normal(KEY, (2, 4, FRAMES, CHANNELS)))
    for scale, found in zip(scales, guided, strict=True):
        for f, c, u in zip(found, full, without, strict=True):
            np.testing.assert_allclose(f[:, 1:], u + scale * (c[:, 1:] - u), atol=2e-4)
            np.testing.assert_allclose(f[:, 0], c[:, 0], atol=1e-6)  # the history itself


def test_rules_take_a_level_for_each_frame():
    conditional = lambda x, t, c: Prediction(x * t[..., None] + c[:, None, None], x)
    cond, uncond = guidance.branches(conditional, jnp.ones(2), 0.0)
    guided = guidance.classifier_free(cond, uncond, 3.0)
    inside = guidance.interval(guided, cond, SCHEDULE, noise_max=1.0)
    x, t = jnp.ones((2, 3, 4)), jnp.array([[0.1, 0.4, 0.9], [0.9, 0.2, 0.6]])
    rules = (guided, inside, guidance.static_threshold(guided, SCHEDULE, 1.0))
    plain, in_interval, clipped = jax.jit(lambda x, t: [rule(x, t).x0 for rule in rules])(x, t)
    np.testing.assert_allclose(plain, t[..., None] + 3.0 + 0 * x, rtol=1e-6)
    scale = np.where(t < 0.5, 3.0, 1.0)  # of the cosine schedule log_snr is 0 at 0.5
    np.testing.assert_allclose(in_interval, (t + scale)[..., None] + 0 * x, rtol=1e-6)
    np.testing.assert_allclose(clipped, 1.0)
    with pytest.raises(ValueError, match=r"or \(2, 3\), one per frame, got \(2, 4\)"):
        guided(x, jnp.zeros((2, 4)))


def test_a_network_of_frames_is_a_denoiser():
    denoiser = denoisers.denoiser_from_network(network, SCHEDULE, "v")
    x, t = jax.random.normal(KEY, (2, 3, 4)), jnp.array([[0.1, 0.4, 0.9], [0.9, 0.2, 0.6]])
    of_one = denoisers.denoiser_from_network(lambda x, t: x * jnp.sin(3 * t), SCHEDULE, "v")
    both = jax.jit(lambda x, t: (denoiser(x, t).x0, jax.vmap(jax.vmap(of_one))(x, t).x0))
    np.testing.assert_allclose(*both(x, t), rtol=2e-5, atol=1e-6)
