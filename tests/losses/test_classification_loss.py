"""The loss of a classifier of noisy data, against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
from errors import raising

from scorekit import losses, times
from scorekit.schedules import Cosine, RectifiedFlow


def test_classification_loss_matches_numpy():
    rng = np.random.default_rng(0)
    x0, eps, weights = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.normal(size=(3, 4))
    t, importance, labels = np.linspace(0.1, 0.9, 5), rng.uniform(0.5, 2, 5), np.array([0, 3, 1, 2, 3])
    x_t = (1 - t)[:, None] * x0 + t[:, None] * eps
    logits = x_t @ weights + t[:, None]
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    with jax.enable_x64(True):
        drawn = times.Times(jnp.asarray(t), jnp.asarray(importance))
        loss, aux = losses.classification_loss_at(
            lambda x, t: x @ weights + t[:, None], RectifiedFlow(), x0, eps, drawn, labels
        )
        np.testing.assert_allclose(aux.cross_entropy, -log_p[np.arange(5), labels], rtol=1e-12)
        np.testing.assert_allclose(loss, -importance * log_p[np.arange(5), labels], rtol=1e-12)
        np.testing.assert_array_equal(aux.correct, log_p.argmax(1) == labels)
        np.testing.assert_allclose(aux.log_snr, 2 * np.log((1 - t) / t), rtol=1e-9)


def test_classification_loss_draws_like_the_denoising_loss():
    """A classifier sees what the denoiser sees."""

    @jax.jit
    def run(key, x0):
        seen = []
        network = lambda x, t: (seen.append((x, t)), x)[1]
        losses.denoising_loss(key, network, Cosine(), x0)
        loss, aux = losses.classification_loss(key, network, Cosine(), x0, np.arange(6) % 3)
        return seen, loss, aux.cross_entropy

    (plain, classified), loss, cross_entropy = run(jax.random.key(0), np.random.default_rng(0).normal(size=(6, 3)))
    np.testing.assert_array_equal(plain[0], classified[0])
    np.testing.assert_array_equal(plain[1], classified[1])
    np.testing.assert_array_equal(loss, cross_entropy)


def test_classification_loss_of_bfloat16_logits_and_trees_at_both_ends():
    x0 = {"a": np.ones((3, 2), jnp.bfloat16), "b": np.ones((3,), jnp.bfloat16)}
    drawn = times.Times(np.float32([0.0, 0.5, 1.0]), np.ones(3, np.float32))

    def run(w):
        loss, aux = losses.classification_loss_at(
            lambda x, t: w * x["a"], Cosine(), x0, x0, drawn, jnp.array([0, 1, 1])
        )
        return loss.mean(), (loss, aux)

    (_, (loss, aux)), slope = jax.jit(jax.value_and_grad(run, has_aux=True))(jnp.bfloat16(1.0))
    assert loss.dtype == aux.cross_entropy.dtype == jnp.float32
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-3)
    assert np.isfinite(slope)


def test_traced_labels_out_of_range_give_nan():
    x0, drawn = np.ones((4, 3), np.float32), times.Times(np.full(4, 0.5, np.float32), np.ones(4, np.float32))
    at = lambda labels: losses.classification_loss_at(lambda x, t: x, Cosine(), x0, x0, drawn, labels)[0]
    labels = np.array([0, 2, -1, 3])
    np.testing.assert_array_equal(np.isnan(jax.jit(at)(labels)), [False, False, True, True])


def test_labels_of_small_integers_count_all_classes():
    x0, drawn = jnp.ones((2, 3)), times.Times(jnp.ones(2), jnp.ones(2))
    for dtype in (np.uint8, np.int8, np.uint32):
        labels = np.array([0, 3], dtype)
        loss, _ = losses.classification_loss_at(lambda x, t: jnp.zeros((2, 256)), Cosine(), x0, x0, drawn, labels)
        np.testing.assert_allclose(loss, np.log(256), rtol=1e-6)


def at(classifier=lambda x, t: x, labels=np.ones(2, int), n=2):  # noqa: B008
    x0, drawn = jnp.ones((2, 3)), times.Times(jnp.ones(n), jnp.ones(n))
    return losses.classification_loss_at(classifier, Cosine(), x0, x0, drawn, labels)


test_invalid_arguments_raise = raising(
    {
        "labels must": {"labels": jnp.ones(3, int)},
        "classifier must": {"classifier": lambda x, t: x[:, 0]},
        "times.t must": {"n": 3},
    },
    lambda changes: at(**changes),
)
