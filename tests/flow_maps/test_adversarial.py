"""Adversarial losses: the optimal discriminator of two mixtures has the gradient of the reverse KL divergence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from problems import level
from tables import in_float64

from scorekit import denoisers, densities, flow_maps, schedules
from scorekit.process import perturb, score


def pair(dim, kind):
    """Data and fake samples: two Gaussians, or two mixtures of unequal weights and widths, in ``dim`` dimensions."""
    rng = np.random.default_rng(dim)
    one = lambda spread, std: densities.gaussian(jnp.asarray(spread * rng.normal(size=dim)), std=std)
    if kind == "gaussian":
        return one(1.0, 0.6), one(0.5, 1.2)
    return (
        densities.mixture([0.3, 0.7], [one(1.0, 0.5), one(1.0, 0.8)]),
        densities.mixture([0.6, 0.1, 0.3], [one(0.7, 0.9), one(0.7, 0.4), one(1.5, 0.7)]),
    )


def optimal_logits(real, fake, schedule, x_t, t):
    """``log p_t(x_t) - log q_t(x_t)``."""
    log_p = lambda density: jax.vmap(lambda x, t: density.marginal(*level(schedule, t)).log_density(x))(x_t, t)
    return log_p(real) - log_p(fake)


@in_float64
@pytest.mark.parametrize("kind", [pytest.param("gaussian", marks=pytest.mark.slow), "mixture"])
@pytest.mark.parametrize("dim", [1, pytest.param(2, marks=pytest.mark.slow), 16])
def test_adversarial_gradient_of_the_optimal_discriminator_is_the_reverse_kl_gradient(dim, kind):
    """To rounding, for a divergence of -D; for softplus, weighted by q / (p + q)."""
    real, fake = pair(dim, kind)
    schedule = schedules.Cosine()
    rng = np.random.default_rng(1)
    x, eps = jnp.asarray(rng.normal(size=(2, 6, dim)))
    t = jnp.linspace(0.02, 0.98, 6)

    def gradient(form):
        logits = lambda x: optimal_logits(real, fake, schedule, perturb(schedule, x, eps, t), t)
        return jax.grad(lambda x: flow_maps.adversarial_loss(logits(x), form).sum())(x)

    @jax.jit
    def run():
        x_t = perturb(schedule, x, eps, t)
        of = lambda density: score(schedule, denoisers.exact_denoiser(density, schedule)(x_t, t), t)
        expected = schedule.alpha(t)[:, None] * (of(fake) - of(real))
        ratio = optimal_logits(real, fake, schedule, x_t, t)
        return gradient("hinge"), gradient("softplus"), expected, jax.nn.sigmoid(-ratio)

    hinge, softplus, expected, share = run()
    scale = np.abs(expected).max(axis=1, keepdims=True)
    np.testing.assert_allclose(hinge / scale, expected / scale, rtol=0, atol=1e-9)
    np.testing.assert_allclose(softplus / scale, share[:, None] * expected / scale, rtol=0, atol=1e-9)


P, Q = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.4, 0.3, 0.2, 0.1])
"""Two distributions on four points, on which expectations are sums."""
TV = 0.5 * np.abs(P - Q).sum()
JS = 0.5 * (P * np.log(2 * P / (P + Q))).sum() + 0.5 * (Q * np.log(2 * Q / (P + Q))).sum()


def expected_loss(logits, form):
    """``E_p real term + E_q fake term``, from the loss of pairs: its two terms are separable."""
    pairs = jnp.stack(jnp.meshgrid(logits, logits, indexing="ij"), -1).reshape(-1, 2)
    loss = flow_maps.discriminator_loss(pairs[:, :1], pairs[:, 1:], form)
    return jnp.sum(loss * np.outer(P, Q).ravel())


@in_float64
@pytest.mark.parametrize(
    ("form", "best", "least"),
    [("softplus", np.log(P / Q), 2 * np.log(2) - 2 * JS), ("hinge", np.sign(P - Q), 2 - 2 * TV)],
)
def test_least_loss_of_a_discriminator(form, best, least):
    """Its value is a divergence of p and q, and it is a minimum: stationary, and lower than around it."""
    run = jax.jit(lambda logits: expected_loss(logits, form))
    np.testing.assert_allclose(run(best), least, rtol=1e-12)
    if form == "softplus":
        np.testing.assert_allclose(jax.grad(run)(jnp.asarray(best)), 0.0, atol=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert run(best + rng.normal(size=4)) > least


def test_losses_are_means_over_positions_and_sums_over_discriminators():
    rng = np.random.default_rng(0)
    a, b, c, d = rng.normal(size=(4, 3, 2, 5)).astype(np.float32)
    c, d = c[:, :1, :1], d[:, :1, :1]
    softplus = lambda x: np.logaddexp(0, x)
    mean = lambda x: x.reshape(3, -1).mean(1)
    got = flow_maps.discriminator_loss([a, c], [b, d])
    np.testing.assert_allclose(
        got, mean(softplus(-a)) + mean(softplus(b)) + mean(softplus(-c)) + mean(softplus(d)), rtol=1e-5
    )
    np.testing.assert_allclose(flow_maps.adversarial_loss((b, d)), mean(softplus(-b)) + mean(softplus(-d)), rtol=1e-5)
    np.testing.assert_allclose(flow_maps.adversarial_loss((b, d), "hinge"), -mean(b) - mean(d), rtol=1e-5)
    hinge = mean(np.maximum(1 - a, 0)) + mean(np.maximum(1 + b, 0))
    np.testing.assert_allclose(flow_maps.discriminator_loss(a, b, "hinge"), hinge, rtol=1e-5)


@in_float64
def test_gradient_penalty_in_closed_form():
    """Of a linear discriminator; of a quadratic one; of several positions and discriminators; of trees."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(4, 3)), rng.normal(size=(3, 2))
    norm = lambda v: (v**2).sum(-1)
    np.testing.assert_allclose(flow_maps.gradient_penalty(lambda x: x @ w[:, 0], x), np.full(4, norm(w[:, 0]) / 2))
    np.testing.assert_allclose(flow_maps.gradient_penalty(lambda x: (x**2).sum(-1), x), 2 * norm(x))
    of_two = flow_maps.gradient_penalty(lambda x: x @ w, x)  # the mean of two logits
    np.testing.assert_allclose(of_two, np.full(4, norm(w.mean(1)) / 2))
    np.testing.assert_allclose(flow_maps.gradient_penalty(lambda x: [x @ w[:, 0], x @ w[:, 1]], x), 4 * of_two)
    heads = flow_maps.gradient_penalty(lambda f: [f["a"] @ w[:, 0], 2 * f["b"] @ w[:, 1]], {"a": x, "b": x})
    np.testing.assert_allclose(heads, np.full(4, norm(w[:, 0]) / 2 + 2 * norm(w[:, 1])))
    slope = jax.grad(lambda a: flow_maps.gradient_penalty(lambda x: a * x[:, 0], jnp.ones((1, 1))).sum())(3.0)
    np.testing.assert_allclose(slope, 3.0, rtol=1e-6)  # it can be trained: of a x it is a^2 / 2, of derivative a


def test_feature_matching_is_zero_of_equal_features_and_exact_of_shifted_ones():
    rng = np.random.default_rng(0)
    real = [rng.normal(size=(3, 4, 2)).astype(np.float32), rng.normal(size=(3, 7)).astype(np.float32)]
    assert (flow_maps.feature_matching_loss(real, real) == 0).all()
    shift = np.array([0.5, -1.0, 2.0], np.float32)
    moved = [real[0] + shift[:, None, None], real[1] - 3 * shift[:, None]]
    np.testing.assert_allclose(flow_maps.feature_matching_loss(real, moved), 4 * np.abs(shift), rtol=1e-5)
    of_real, of_fake = jax.grad(lambda a, b: flow_maps.feature_matching_loss(a, b).sum(), argnums=(0, 1))(real, moved)
    assert all((leaf == 0).all() for leaf in of_real)
    np.testing.assert_allclose(np.sign(of_fake[0][:, 0, 0]), np.sign(shift))


LOGITS = jnp.ones((3, 2))
test_invalid_logits_are_named = raising(
    {
        "fake_logits must have the structure and the shapes of real": lambda: flow_maps.discriminator_loss(
            LOGITS, LOGITS[:, :1]
        ),
        r"fake_logits must be arrays \(B, ...\) of one B, got shapes": lambda: flow_maps.adversarial_loss(
            [LOGITS, LOGITS[:1]]
        ),
        r"logits must be arrays \(B, ...\) of one B": lambda: flow_maps.gradient_penalty(jnp.sum, LOGITS),
    }
)


def test_losses_of_bfloat16_logits_are_float32():
    real, fake = jnp.asarray([[300.0], [1.0]], jnp.bfloat16), jnp.asarray([[-1.0078125], [2.0]], jnp.bfloat16)
    losses = {
        "discriminator": flow_maps.discriminator_loss(real, fake, "hinge"),
        "generator": flow_maps.adversarial_loss(fake),
        "features": flow_maps.feature_matching_loss(real, fake),
    }
    assert {name: loss.dtype for name, loss in losses.items()} == dict.fromkeys(losses, jnp.float32)
    assert float(losses["features"][0]) == 301.0078125  # 302 in bfloat16
