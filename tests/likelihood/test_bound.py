"""The variational bounds against exact entropies and integrals."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import COVARIANCE, plane

from scorekit import Prediction, denoisers, densities, schedules
from scorekit.likelihood import boundary_terms, discrete_variational_bound, variational_bound
from scorekit.trees import normal_like

SCHEDULES = {"cosine": schedules.Cosine(), "linear_vp": schedules.LinearVP(), "flow": schedules.RectifiedFlow()}
DATA = plane()
T_MIN, T_MAX = 0.02, 0.97


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULES)
def test_variational_bound_terms_match_the_exact_denoiser_of_a_gaussian(name):
    """With K = alpha^2 C + sigma^2 the exact eps-MSE is tr(alpha^2 C K^-1); the parts are then integrals of it."""
    schedule = SCHEDULES[name]

    @jax.jit
    def run(key):
        x0, denoiser = DATA.sample(key, (3000,)), denoisers.exact_denoiser(DATA, schedule)
        key = jax.random.fold_in(key, 1)
        bound = variational_bound(key, denoiser, schedule, x0, num_times=32, t_min=T_MIN, t_max=T_MAX)
        return x0, bound, schedule.log_snr(T_MIN), schedule.log_snr(T_MAX)

    x0, bound, first, last = jax.device_get(run(jax.random.key(0)))
    bins = np.linspace(last, first, 4001)
    variances = np.linalg.eigvalsh(COVARIANCE)
    snr = np.exp(bins)[:, None]
    errors = (snr * variances / (snr * variances + 1)).sum(1)
    diffusion = 0.5 * np.trapezoid(errors, bins)
    second = np.square(x0).sum(1)
    np.testing.assert_allclose(bound.prior, 0.5 * math.exp(last) * second, rtol=2e-3)
    np.testing.assert_allclose(bound.reconstruction, math.log(2 * math.pi) + 1 - first, rtol=1e-4)
    spread = mean_is(bound.diffusion, diffusion)
    entropy = float(DATA.entropy())
    assert float(bound.total.mean()) > entropy - 5 * spread  # a bound
    # What it loses: the KL to the prior at the noise end, and the decoder that ignores the data at the other.
    gap = bound.prior.mean() - 0.5 * np.log1p(np.exp(last) * variances).sum()
    gap += 0.5 * np.log1p(np.exp(-first) / variances).sum()
    assert float(bound.total.mean()) == pytest.approx(entropy + float(gap), abs=5 * spread + 1e-3)


@pytest.mark.slow
def test_variational_bound_integrates_a_given_error_over_stratified_times():
    """At x0 = 0 the noise is known, so a denoiser can be wrong by ``sqrt(log_snr - last)``: the integral is W^2 / 2."""
    schedule, n, dim = schedules.Cosine(), 16, 3
    first, last = (float(schedule.log_snr(t)) for t in (T_MIN, T_MAX))

    def denoiser(x, t):
        error = jnp.sqrt(jnp.maximum(schedule.log_snr(t) - last, 0.0))
        return Prediction(x, x / schedule.sigma(t)[:, None] + error[:, None])

    run = jax.jit(lambda key, x: variational_bound(key, denoiser, schedule, x, num_times=n, t_min=T_MIN, t_max=T_MAX))
    diffusion = np.asarray(run(jax.random.key(0), np.zeros((50, dim), np.float32)).diffusion)
    exact = 0.5 * dim * (first - last) ** 2 / 2
    assert np.abs(diffusion / exact - 1).max() < 1.01 / n  # independent times would be off by 0.58 / sqrt(n)
    assert float(diffusion.mean()) == pytest.approx(exact, rel=0.01)
    assert float(diffusion.std()) > 1e-3 * exact


def mean_is(values, expected, more=0.0):
    """Within five standard errors, which are returned."""
    spread = float(np.std(values)) / math.sqrt(len(values))
    assert float(np.mean(values)) == pytest.approx(expected, abs=5 * spread + more)
    return spread


def discrete_denoiser(schedule, bins):
    """The exact denoiser of independent values, uniform on ``linspace(-1, 1, bins)``."""
    values = jnp.linspace(-1.0, 1.0, bins)

    def network(x, t):
        alpha, sigma = (f(t).reshape(-1, *[1] * x.ndim) for f in (schedule.alpha, schedule.sigma))
        return jax.nn.softmax(-0.5 * jnp.square((x[..., None] - alpha * values) / sigma)) @ values

    return denoisers.denoiser_from_network(network, schedule, "x0")


@functools.cache
def bound_of_discrete_data(bins):
    """``(key, x0, t_min) -> bound``, compiled once for all times."""
    schedule = schedules.Cosine()

    @jax.jit
    def run(key, x0, t_min):
        denoiser = discrete_denoiser(schedule, bins)
        return variational_bound(key, denoiser, schedule, x0, num_times=32, t_min=t_min, bins=bins)

    return run


@pytest.mark.parametrize("bins", [2, 5])
@pytest.mark.parametrize("t_min", [1e-3, 0.1, None])
def test_variational_bound_of_discrete_data_is_their_entropy(bins, t_min):
    values = np.linspace(-1, 1, bins)
    x0 = np.random.default_rng(0).choice(values, (4000, 2)).astype(np.float32)
    bound = jax.device_get(bound_of_discrete_data(bins)(jax.random.key(0), x0, t_min))
    mean_is(bound.total, 2 * math.log(bins))
    assert float(bound.reconstruction.mean()) >= 0


def test_discrete_data_begin_where_a_bin_is_four_standard_deviations_wide():
    """The bins are 0.5 apart, so that noise over signal is 1 / 8 there: tan(pi t / 2) of the cosine schedule."""
    x0, run = np.zeros((16, 2), np.float32), bound_of_discrete_data(5)
    chosen, given = (run(jax.random.key(0), x0, t) for t in (None, 2 / math.pi * math.atan(1 / 8)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), chosen, given)


@pytest.mark.slow
def test_discrete_decoder_matches_quadrature():
    """At t = 0.3 the bins overlap: -E log p(x0 | x_t) by numerical integration."""
    schedule, bins, t = schedules.Cosine(), 3, 0.3
    noise = math.exp(-0.5 * float(schedule.log_snr(t)))
    values, eps = np.linspace(-1, 1, bins), np.linspace(-8, 8, 4001)
    density = np.exp(-0.5 * eps**2) / math.sqrt(2 * math.pi)
    logits = -0.5 * np.square((values[0] + noise * eps)[:, None] - values) / noise**2
    log_p = logits[:, 0] - np.log(np.exp(logits).sum(1))
    expected = -np.trapezoid(density * log_p, eps)
    denoiser = discrete_denoiser(schedule, bins)
    run = jax.jit(lambda key, x0: variational_bound(key, denoiser, schedule, x0, num_times=1, t_min=t, bins=bins))
    found = jax.device_get(run(jax.random.key(0), np.full((20000, 1), -1.0, np.float32)))
    mean_is(found.reconstruction, expected)


@pytest.mark.slow
def test_variational_bound_of_trees():
    schedule = schedules.Cosine()
    denoiser = denoisers.denoiser_from_network(lambda x, t: jax.tree.map(jnp.zeros_like, x), schedule, "v")
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    run = jax.jit(lambda key, x0: variational_bound(key, denoiser, schedule, x0, num_times=2))
    tree, plain = (run(jax.random.key(1), x0) for x0 in ({"a": x[:, :1], "b": x[:, 1:]}, x))
    assert tree.total.shape == (5,)
    np.testing.assert_allclose(tree.prior, plain.prior, rtol=1e-5)
    np.testing.assert_allclose(tree.reconstruction, plain.reconstruction, rtol=1e-5)


def exact_terms(bins):
    """The KL terms of DATA between descending noise: ``1/2 (SNR(s) - SNR(t)) tr Cov[x0 | x_t]``."""
    snr, variances = np.exp(bins), np.linalg.eigvalsh(COVARIANCE)
    return 0.5 * np.diff(snr) * (variances / (snr[:-1, None] * variances + 1)).sum(1)


@pytest.mark.parametrize("steps", [3, 40])
def test_the_discrete_bound_is_the_sum_of_the_kl_terms(steps):
    """From alpha = 0 on, so that both forms of a term are used."""
    schedule = schedules.Cosine()
    ts = np.linspace(1.0, 0.1, steps + 1)

    @jax.jit
    def run(key):
        x0, denoiser = DATA.sample(key, (4000,)), denoisers.exact_denoiser(DATA, schedule)
        bound = discrete_variational_bound(jax.random.fold_in(key, 1), denoiser, schedule, x0, ts)
        return bound, schedule.log_snr(ts)

    bound, bins = jax.device_get(run(jax.random.key(0)))
    bins = np.array(bins, float)
    bins[0] = -np.inf
    mean_is(bound.diffusion, exact_terms(bins).sum())
    np.testing.assert_allclose(bound.prior, 0.0, atol=1e-9)
    np.testing.assert_allclose(bound.reconstruction, math.log(2 * math.pi) + 1 - bins[-1], rtol=1e-4)
    assert float(bound.total.mean()) > float(DATA.entropy())


@pytest.mark.slow
def test_discrete_variational_bound_of_discrete_data_is_at_least_their_entropy():
    bins, schedule = 5, schedules.Cosine()
    x0 = np.random.default_rng(0).choice(np.linspace(-1, 1, bins), (4000, 2)).astype(np.float32)

    @jax.jit
    def run(key):
        ts, denoiser = schedule.time_at(jnp.linspace(-9.0, 6.0, 200)), discrete_denoiser(schedule, bins)
        return discrete_variational_bound(key, denoiser, schedule, x0, ts, bins=bins)

    bound = jax.device_get(run(jax.random.key(0)))
    spread = float(bound.total.std()) / math.sqrt(4000)
    excess = float(bound.total.mean()) - 2 * math.log(bins)
    assert -5 * spread < excess < 0.1 * bins


@pytest.mark.slow
def test_the_gradient_of_a_learned_schedule_is_that_of_its_ends():
    """With ``r = snr std^2`` the bound is ``D/2 (log 2 pi e - max) + 1/2 int D r / (1 + r) dlog_snr + D/2 r(min)``."""
    std, dim, first, last = 1.5, 200, 2.0, -3.0
    data = densities.gaussian(jnp.zeros(dim), std=std)
    schedule = dataclasses.replace(
        schedules.learned(3),
        heights=jnp.array([0.3, -0.5, 0.2]),
        slopes=jnp.array([0.5, -0.2, 0.1, 0.7]),
        log_snr_max=jnp.float32(first),
        log_snr_min=jnp.float32(last),
    )
    x0 = data.sample(jax.random.key(0), (500,))

    def bound(schedule):
        denoiser = denoisers.exact_denoiser(data, schedule)
        found = variational_bound(jax.random.key(1), denoiser, schedule, x0, num_times=16, t_min=0.0, t_max=1.0)
        return found.total.mean() / dim

    value, gradient = jax.device_get(jax.jit(jax.value_and_grad(bound))(schedule))
    r = lambda log_snr: std**2 * math.exp(log_snr)
    integral = math.log1p(r(first)) - math.log1p(r(last))
    exact = 0.5 * (math.log(2 * math.pi * math.e) - first + integral + r(last))
    np.testing.assert_allclose(value, exact, rtol=3e-3)
    assert np.abs(gradient.heights).max() < 1e-6
    assert np.abs(gradient.slopes).max() < 1e-6
    np.testing.assert_allclose(gradient.log_snr_max, -0.5 / (1.0 + r(first)), rtol=0.1)
    np.testing.assert_allclose(gradient.log_snr_min, 0.5 * r(last) ** 2 / (1.0 + r(last)), rtol=0.1)


@pytest.mark.parametrize("bins", [None, 3])
def test_the_terms_at_the_ends_are_those_of_the_bound(bins):
    key, schedule = jax.random.key(0), schedules.learned(1, 4.0, -3.0)
    x0 = jnp.array([[1.0, 0.0, -1.0], [0.0, 1.0, 1.0]])
    _, _, for_decoder = jax.random.split(key, 3)
    denoiser = denoisers.denoiser_from_network(lambda x, t: 0.0 * x, schedule, "eps")

    @jax.jit
    def run(x0):
        ends = boundary_terms(schedule, x0, normal_like(for_decoder, x0), bins=bins)
        return variational_bound(key, denoiser, schedule, x0, num_times=1, t_min=0.0, t_max=1.0, bins=bins), *ends

    bound, prior, reconstruction = run(x0)
    np.testing.assert_allclose(prior, bound.prior, rtol=1e-6)
    np.testing.assert_allclose(reconstruction, bound.reconstruction, rtol=1e-6)
    np.testing.assert_allclose(prior, 0.5 * math.exp(-3.0) * np.sum(np.square(x0), axis=1), rtol=1e-5)


def test_traced_values_that_are_not_of_the_data_are_nan():
    run = jax.jit(lambda x0: boundary_terms(schedules.Cosine(), x0, jnp.zeros((4, 1)), t_min=0.1, bins=2)[1])
    assert np.isfinite(run(jnp.array([[-1.0], [1.0], [-1.4], [0.3]]))).tolist() == [True, True, False, False]
