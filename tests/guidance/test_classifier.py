"""Classifier guidance, against the exact conditional score."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rule_table import DATA
from tables import SCHEDULES

from scorekit import denoisers, process
from scorekit.guidance import classifier_guidance

X = jax.random.normal(jax.random.key(0), (5, 2))
LABELS = jnp.array([0, 1, 2, 1, 1])


def posterior(schedule, label, x, t):
    """``log p(label | x_t)`` of one example, exactly."""
    noisy = DATA.marginal(schedule.alpha(t), schedule.sigma(t))
    return jnp.log(noisy.responsibilities(x))[label]


def guided(schedule, scale, x, t):
    prior = denoisers.exact_denoiser(DATA, schedule)
    each = lambda x, t: jax.vmap(lambda k, x: posterior(schedule, k, x, t))(LABELS, x)
    return classifier_guidance(prior, each, schedule, scale)(x, t)


@pytest.mark.parametrize("name", ["cosine", "rectified_flow", "edm", "sub_vp", "ddpm_table"])
def test_scale_one_is_the_exact_conditional(name):
    schedule = SCHEDULES[name].make()

    @jax.jit
    def both(t):
        expected = jax.vmap(lambda k, x: DATA.component(k).predict(x, schedule.alpha(t), schedule.sigma(t)))
        return guided(schedule, 1.0, X, t), expected(LABELS, X)

    for t in (0.0, 0.05, 0.5, 0.95, 0.9999, 1.0):
        found, expected = both(t)
        np.testing.assert_allclose(found.x0, expected.x0, rtol=2e-3, atol=2e-3, err_msg=str(t))
        np.testing.assert_allclose(found.eps, expected.eps, rtol=2e-3, atol=2e-3, err_msg=str(t))


def test_the_score_is_that_of_the_tilted_density():
    schedule, gamma, t = SCHEDULES["cosine"].make(), 2.5, 0.4
    noisy = DATA.marginal(schedule.alpha(t), schedule.sigma(t))
    tilted = lambda k, x: noisy.log_density(x) + gamma * posterior(schedule, k, x, t)

    @jax.jit
    def both():
        expected = jax.vmap(jax.grad(tilted, argnums=1))(LABELS, X)
        return process.score(guided(schedule, gamma, X, t), t, schedule), expected

    np.testing.assert_allclose(*both(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("t", [0.3, np.linspace(0.1, 1.0, 5, dtype=np.float32)], ids=["scalar", "per_example"])
def test_classifier_of_one_example_of_a_batch_and_of_a_sum_agree(t):
    schedule = SCHEDULES["rectified_flow"].make()
    prior, single = denoisers.exact_denoiser(DATA, schedule), lambda x, t: posterior(schedule, 1, x, t)
    each = lambda x, t: jax.vmap(single)(x, jnp.broadcast_to(t, 5))
    forms = [(single, False), (each, True), (lambda x, t: each(x, t).sum(), True)]
    rules = [classifier_guidance(prior, f, schedule, 3.0, batched=batched) for f, batched in forms]
    one, *others = jax.jit(lambda: [rule(X, t) for rule in rules])()
    for other in others:
        np.testing.assert_allclose(one.x0, other.x0, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(one.eps, other.eps, rtol=1e-5, atol=1e-5)


def test_classifier_guidance_of_trees_and_of_a_constant_classifier():
    schedule = SCHEDULES["cosine"].make()
    prior = denoisers.denoiser_from_network(lambda x, t: jax.tree.map(jnp.sin, x), schedule)
    x = {"a": X.astype(jnp.bfloat16), "b": X[:, 0]}
    flat = classifier_guidance(prior, lambda x, t: jnp.zeros(5), schedule, 5.0)(x, 0.4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(np.float32(a), np.float32(b), atol=0.02), flat, prior(x, 0.4))
    steep = classifier_guidance(prior, lambda x, t: x["b"], schedule, 5.0)(x, 0.4)
    assert steep.x0["a"].dtype == jnp.bfloat16
    strength = 5.0 * schedule.sigma(0.4) ** 2 / schedule.alpha(0.4)
    np.testing.assert_allclose(steep.x0["b"] - prior(x, 0.4).x0["b"], jnp.full(5, strength), rtol=1e-4)
