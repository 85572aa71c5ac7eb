"""The loss of a classifier of noisy data, against numpy and the exact posterior of a mixture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from tables import in_float64

from scorekit import densities, losses, times
from scorekit.schedules import cosine, rectified_flow

K = 4
MEANS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
RING = lambda: densities.ring(K, 1.0, 0.5)  # whose modes these are


def posterior(schedule, scale=1.0, tilt=0.0):
    """``log p(y | x_t)`` of the ring up to a constant, times ``scale``; a mode is N(alpha m, alpha^2 s^2 + sigma^2)."""

    def logits(x, t):
        alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]
        variance = alpha**2 * 0.5**2 + sigma**2
        squares = jnp.sum((x[:, None] - alpha[..., None] * MEANS) ** 2, -1)
        return scale * (-0.5 * squares / variance) + tilt * jnp.arange(K)

    return logits


def test_classification_loss_matches_numpy():
    rng = np.random.default_rng(0)
    x0, eps, weights = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.normal(size=(3, K))
    t, importance, labels = np.linspace(0.1, 0.9, 5), rng.uniform(0.5, 2, 5), np.array([0, 3, 1, 2, 3])
    x_t = (1 - t)[:, None] * x0 + t[:, None] * eps
    logits = x_t @ weights + t[:, None]
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    with jax.enable_x64(True):
        drawn = times.Times(jnp.asarray(t), jnp.asarray(importance))
        loss, aux = losses.classification_loss_at(
            lambda x, t: x @ weights + t[:, None], rectified_flow(), x0, eps, drawn, labels
        )
        np.testing.assert_allclose(aux.cross_entropy, -log_p[np.arange(5), labels], rtol=1e-12)
        np.testing.assert_allclose(loss, -importance * log_p[np.arange(5), labels], rtol=1e-12)
        np.testing.assert_array_equal(aux.correct, log_p.argmax(1) == labels)
        np.testing.assert_allclose(aux.log_snr, 2 * np.log((1 - t) / t), rtol=1e-9)


@in_float64
def test_the_exact_posterior_is_the_minimum_at_every_noise_level():
    """The gradient of the expected loss vanishes there, in temperature and in bias; the expectation is a grid's."""
    schedule, side = cosine(), np.linspace(-8, 8, 161)
    grid = np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2)

    def expected_loss(scale, tilt, level):
        alpha, sigma = schedule.alpha(level), schedule.sigma(level)
        variance, drawn = alpha**2 * 0.25 + sigma**2, times.Times(jnp.full(len(grid), level), jnp.ones(len(grid)))

        def of_class(k):  # x0 = 0, so that eps = x_t / sigma puts the state on the grid
            density = jnp.exp(-0.5 * jnp.sum((grid - alpha * jnp.asarray(MEANS)[k]) ** 2, -1) / variance)
            labels = jnp.full(len(grid), k)
            loss, _ = losses.classification_loss_at(
                posterior(schedule, scale, tilt), schedule, 0 * grid, grid / sigma, drawn, labels
            )
            return jnp.sum(loss * density) / jnp.sum(density) / K

        return jnp.sum(jax.vmap(of_class)(jnp.arange(K)))

    gradient = jax.jit(jax.grad(expected_loss, (0, 1)))
    for level in (0.2, 0.6, 0.9):
        np.testing.assert_allclose(gradient(1.0, 0.0, level), 0.0, atol=1e-9)
        assert gradient(1.5, 0.0, level)[0] > 1e-5
        assert gradient(1.0, 0.2, level)[1] > 1e-2


@pytest.mark.slow
def test_classification_loss_draws_like_the_denoising_loss_and_is_chance_at_pure_noise():
    """The same key gives the same times and noise as the denoising loss: a classifier sees what the denoiser sees."""
    schedule, data = cosine(), RING()

    @jax.jit
    def run(key, data_key):
        x0, labels = data.sample_with_labels(data_key, (4000,))
        other = losses.denoising_loss(key, lambda x, t: x, schedule, x0)[1]
        return losses.classification_loss(key, posterior(schedule), schedule, x0, labels), other

    (loss, aux), other = jax.device_get(run(jax.random.key(0), jax.random.key(1)))
    np.testing.assert_array_equal(aux.t, other.t)
    np.testing.assert_array_equal(loss, aux.cross_entropy)
    accuracy = [float(aux.correct[(aux.t >= low) & (aux.t < low + 0.25)].mean()) for low in (0, 0.25, 0.5, 0.75)]
    assert accuracy == sorted(accuracy, reverse=True)
    assert accuracy[0] > 0.75
    at_noise = aux.cross_entropy[aux.t > 0.999]
    np.testing.assert_allclose(at_noise, np.log(K), atol=0.02)


def test_classification_loss_of_bfloat16_logits_and_trees_at_both_ends():
    x0 = {"a": np.ones((3, 2), jnp.bfloat16), "b": np.ones((3,), jnp.bfloat16)}
    drawn = times.Times(np.float32([0.0, 0.5, 1.0]), np.ones(3, np.float32))

    def run(w):
        loss, aux = losses.classification_loss_at(
            lambda x, t: w * x["a"], cosine(), x0, x0, drawn, jnp.array([0, 1, 1])
        )
        return loss.mean(), (loss, aux)

    (_, (loss, aux)), slope = jax.jit(jax.value_and_grad(run, has_aux=True))(jnp.bfloat16(1.0))
    assert loss.dtype == aux.cross_entropy.dtype == jnp.float32
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-3)
    assert np.isfinite(slope)


def test_classification_loss_is_independent_across_examples_and_linear_in_weights():
    x0, eps = np.arange(8, dtype=np.float32).reshape(4, 2), np.ones((4, 2), np.float32)
    drawn = times.Times(np.linspace(0.1, 0.9, 4, dtype=np.float32), np.float32([1.0, 2.0, 0.0, 3.0]))
    at = jax.jit(
        lambda x0: losses.classification_loss_at(
            lambda x, t: jnp.tanh(x), cosine(), x0, eps, drawn, np.array([0, 1, 0, 1])
        )
    )
    loss, aux = at(x0)
    np.testing.assert_allclose(loss, drawn.weight * np.asarray(aux.cross_entropy), rtol=1e-6)
    other = np.concatenate([np.full((1, 2), 100.0, np.float32), x0[1:]])
    np.testing.assert_array_equal(at(other)[0][1:], loss[1:])


def test_classification_loss_gradient_is_that_of_the_log_likelihood():
    """What classifier guidance needs, the score of p(y | x_t) of a mixture; the chain rule adds alpha."""
    schedule, level, x_t = cosine(), 0.5, np.array([[0.3, -0.2]])
    alpha, sigma = float(schedule.alpha(level)), float(schedule.sigma(level))
    x0, eps, drawn = np.float32(x_t / alpha), np.zeros((1, 2), np.float32), times.Times(np.float32([level]), np.ones(1))

    def loss(x0):
        found = losses.classification_loss_at(posterior(schedule), schedule, x0, eps, drawn, np.array([2]))
        return jnp.sum(found[0])

    variance = alpha**2 * 0.25 + sigma**2
    pull = (alpha * MEANS - x_t) / variance
    p = np.exp(-0.5 * np.sum(pull**2, 1) * variance)
    p /= p.sum()
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(x0)[0], -alpha * (pull[2] - p @ pull), rtol=1e-4)


def test_traced_labels_out_of_range_give_nan():
    x0, drawn = np.ones((4, 3), np.float32), times.Times(np.full(4, 0.5, np.float32), np.ones(4, np.float32))
    at = lambda labels: losses.classification_loss_at(lambda x, t: x, cosine(), x0, x0, drawn, labels)[0]
    labels = np.array([0, 2, -1, 3])
    np.testing.assert_array_equal(np.isnan(jax.jit(at)(labels)), [False, False, True, True])


def test_labels_of_small_integers_count_all_classes():
    x0, drawn = jnp.ones((2, 3)), times.Times(jnp.ones(2), jnp.ones(2))
    for dtype in (np.uint8, np.int8, np.uint32):
        labels = np.array([0, 3], dtype)
        loss, _ = losses.classification_loss_at(lambda x, t: jnp.zeros((2, 256)), cosine(), x0, x0, drawn, labels)
        np.testing.assert_allclose(loss, np.log(256), rtol=1e-6)


def at(classifier=lambda x, t: x, labels=np.ones(2, int), n=2):  # noqa: B008
    x0, drawn = jnp.ones((2, 3)), times.Times(jnp.ones(n), jnp.ones(n))
    return losses.classification_loss_at(classifier, cosine(), x0, x0, drawn, labels)


test_invalid_arguments_raise = raising(
    {
        r"labels must be integers of shape \(2,\), got int32 of shape \(3,\)": {"labels": jnp.ones(3, int)},
        r"classifier must return logits of shape \(2, K\), got \(2,\)": {"classifier": lambda x, t: x[:, 0]},
        r"times.t must have shape \(2,\)": {"n": 3},
    },
    lambda changes: at(**changes),
)
