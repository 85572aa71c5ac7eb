"""The variational bound against exact entropies."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import Prediction, denoisers, densities, schedules
from scorekit.likelihood import variational_bound

SCHEDULES = {"cosine": schedules.cosine(), "linear_vp": schedules.linear_vp(), "flow": schedules.rectified_flow()}
COVARIANCE = np.array([[0.5, 0.3], [0.3, 0.8]])
DATA = densities.gaussian(jnp.array([0.3, -0.2]), covariance=COVARIANCE)
T_MIN, T_MAX = 0.02, 0.97


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_part_with_the_exact_denoiser_of_a_gaussian(name):
    """With K = alpha^2 C + sigma^2 the exact eps-MSE is tr(alpha^2 C K^-1); the parts are then integrals of it."""
    schedule = SCHEDULES[name]
    x0 = DATA.sample(jax.random.key(0), (3000,))
    bound = jax.jit(
        lambda key: variational_bound(
            key, denoisers.exact_denoiser(DATA, schedule), schedule, x0, num_times=32, t_min=T_MIN, t_max=T_MAX
        )
    )(jax.random.key(1))
    first, last = (float(schedule.log_snr(t)) for t in (T_MIN, T_MAX))
    levels = np.linspace(last, first, 4001)
    variances = np.linalg.eigvalsh(COVARIANCE)
    snr = np.exp(levels)[:, None]
    errors = (snr * variances / (snr * variances + 1)).sum(1)
    diffusion = 0.5 * np.trapezoid(errors, levels)
    second = np.square(np.asarray(x0)).sum(1)
    np.testing.assert_allclose(bound.prior, 0.5 * math.exp(last) * second, rtol=2e-3)
    np.testing.assert_allclose(bound.reconstruction, math.log(2 * math.pi) + 1 - first, rtol=1e-4)
    spread = float(bound.diffusion.std()) / math.sqrt(3000)
    assert float(bound.diffusion.mean()) == pytest.approx(diffusion, abs=5 * spread)
    entropy = float(DATA.entropy())
    assert float(bound.total.mean()) > entropy - 5 * spread  # a bound
    # What it loses: the KL to the prior at the noise end, and the decoder that ignores the data at the other.
    gap = bound.prior.mean() - 0.5 * np.log1p(np.exp(last) * variances).sum()
    gap += 0.5 * np.log1p(np.exp(-first) / variances).sum()
    assert float(bound.total.mean()) == pytest.approx(entropy + float(gap), abs=5 * spread + 1e-3)


def test_a_known_error_is_integrated_over_stratified_times_of_each_example():
    """At x0 = 0 the noise is known, so a denoiser can be wrong by ``sqrt(log_snr - last)``: the integral is W^2 / 2."""
    schedule, n, dim = schedules.cosine(), 16, 3
    first, last = (float(schedule.log_snr(t)) for t in (T_MIN, T_MAX))

    def denoiser(x, t):
        error = jnp.sqrt(jnp.maximum(schedule.log_snr(t) - last, 0.0))
        return Prediction(x, x / schedule.sigma(t)[:, None] + error[:, None])

    diffusion = variational_bound(
        jax.random.key(0), denoiser, schedule, jnp.zeros((50, dim)), num_times=n, t_min=T_MIN, t_max=T_MAX
    ).diffusion
    exact = 0.5 * dim * (first - last) ** 2 / 2
    assert np.abs(diffusion / exact - 1).max() < 1.01 / n  # independent times would be off by 0.58 / sqrt(n)
    assert float(diffusion.mean()) == pytest.approx(exact, rel=0.01)
    assert float(diffusion.std()) > 1e-3 * exact


def discrete_denoiser(schedule, levels):
    """The exact denoiser of independent values, uniform on ``linspace(-1, 1, levels)``."""
    values = jnp.linspace(-1.0, 1.0, levels)

    def network(x, t):
        alpha, sigma = (f(t).reshape(-1, *[1] * x.ndim) for f in (schedule.alpha, schedule.sigma))
        return jax.nn.softmax(-0.5 * jnp.square((x[..., None] - alpha * values) / sigma)) @ values

    return denoisers.denoiser_from_network(network, schedule, "x0")


@pytest.mark.parametrize("levels", [2, 5])
@pytest.mark.parametrize("t_min", [1e-3, 0.1])
def test_discrete_data_cost_their_entropy(levels, t_min):
    schedule = schedules.cosine()
    values = np.linspace(-1, 1, levels)
    x0 = jnp.asarray(np.random.default_rng(0).choice(values, (4000, 2)), jnp.float32)
    bound = jax.jit(
        lambda key: variational_bound(
            key, discrete_denoiser(schedule, levels), schedule, x0, num_times=32, t_min=t_min, levels=levels
        )
    )(jax.random.key(0))
    spread = float(bound.total.std()) / math.sqrt(4000)
    assert float(bound.total.mean()) == pytest.approx(2 * math.log(levels), abs=5 * spread)
    assert float(bound.reconstruction.mean()) >= 0


def test_the_discrete_decoder_against_quadrature():
    """At t = 0.3 the levels overlap: -E log p(x0 | x_t) by numerical integration."""
    schedule, levels, t = schedules.cosine(), 3, 0.3
    noise = math.exp(-0.5 * float(schedule.log_snr(t)))
    values, eps = np.linspace(-1, 1, levels), np.linspace(-8, 8, 4001)
    density = np.exp(-0.5 * eps**2) / math.sqrt(2 * math.pi)
    logits = -0.5 * np.square((values[0] + noise * eps)[:, None] - values) / noise**2
    log_p = logits[:, 0] - np.log(np.exp(logits).sum(1))
    expected = -np.trapezoid(density * log_p, eps)
    x0 = jnp.full((20000, 1), -1.0)
    found = variational_bound(
        jax.random.key(0), discrete_denoiser(schedule, levels), schedule, x0, num_times=1, t_min=t, levels=levels
    )
    spread = float(found.reconstruction.std()) / math.sqrt(20000)
    assert float(found.reconstruction.mean()) == pytest.approx(expected, abs=5 * spread)


def test_trees():
    schedule = schedules.cosine()
    denoiser = denoisers.denoiser_from_network(lambda x, t: jax.tree.map(jnp.zeros_like, x), schedule, "v")
    x = DATA.sample(jax.random.key(0), (5,))
    tree = variational_bound(jax.random.key(1), denoiser, schedule, {"a": x[:, :1], "b": x[:, 1:]}, num_times=2)
    plain = variational_bound(jax.random.key(1), denoiser, schedule, x, num_times=2)
    assert tree.total.shape == (5,)
    np.testing.assert_allclose(tree.prior, plain.prior, rtol=1e-5)
    np.testing.assert_allclose(tree.reconstruction, plain.reconstruction, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_times": 0}, "num_times must be >= 1, got 0"),
        ({"levels": 1}, "levels must be >= 2, got 1"),
        ({"t_min": 0.9, "t_max": 0.1}, "t_max must be > t_min = 0.9"),
        ({"t_min": 0.0}, r"log_snr\(t_min\) must be finite"),
    ],
)
def test_refusals(changes, message):
    schedule = schedules.cosine()
    with pytest.raises(ValueError, match=message):
        variational_bound(jax.random.key(0), lambda x, t: (x, x), schedule, jnp.zeros((2, 1)), **changes)
