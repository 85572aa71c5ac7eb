"""Each weighting is a published loss, computed here the long way on its own target."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import B, D, U, in_float64

from scorekit import process, weightings
from scorekit.schedules import Cosine, GeometricVE, Laplace, LinearVP, RectifiedFlow, SubVP

T = np.linspace(0.02, 0.98, B)
RNG = np.random.default_rng(0)
X0, EPS, EPS_HAT = (RNG.normal(size=(B, D)) for _ in range(3))

mse = lambda a, b: np.mean((a - b) ** 2, axis=1)


def setting(schedule):
    """alpha, sigma, SNR at T, x_t and the clean estimate that belongs to EPS_HAT."""
    alpha, sigma = np.asarray(schedule.alpha(T)), np.asarray(schedule.sigma(T))
    a, s = alpha[:, None], sigma[:, None]
    x_t = a * X0 + s * EPS
    return alpha, sigma, (alpha / sigma) ** 2, x_t, (x_t - s * EPS_HAT) / a


def v_mse(alpha, sigma, snr, x_t, x0_hat):
    a, s = alpha[:, None], sigma[:, None]
    return mse(a * EPS - s * X0, a * EPS_HAT - s * x0_hat)


def karras_loss(alpha, sigma, snr, x_t, x0_hat, s=0.5):
    w = sigma / alpha
    return (w**2 + s**2) / (w * s) ** 2 * mse(x0_hat, X0)


def score_mse(alpha, sigma, snr, x_t, x0_hat):
    return mse(-EPS / sigma[:, None], -EPS_HAT / sigma[:, None])


PUBLISHED = {
    "eps": (weightings.eps, Cosine, lambda a, s, snr, x_t, d: mse(EPS, EPS_HAT)),
    "snr": (weightings.snr, Cosine, lambda a, s, snr, x_t, d: snr * mse(X0, d)),
    "x0": (weightings.x0, Cosine, lambda a, s, snr, x_t, d: mse(X0, d)),
    "x0_ve": (weightings.x0, GeometricVE, lambda a, s, snr, x_t, d: mse(X0, d)),
    "v": (weightings.v, LinearVP, v_mse),
    "snr_plus_one": (weightings.v, Cosine, lambda a, s, snr, x_t, d: (snr + 1) * mse(X0, d)),
    "score": (weightings.score, Cosine, score_mse),
    "truncated_snr": (weightings.truncated_snr, Cosine, lambda a, s, snr, x_t, d: np.maximum(snr, 1) * mse(X0, d)),
    "min_snr": (weightings.min_snr(), Cosine, lambda a, s, snr, x_t, d: np.minimum(snr, 5) * mse(X0, d)),
    "min_snr_1": (
        weightings.min_snr(gamma=1.0),
        LinearVP,
        lambda a, s, snr, x_t, d: np.minimum(snr, 1) * mse(X0, d),
    ),
    "p2": (
        weightings.p2(gamma=0.5, k=2.0),
        Cosine,
        lambda a, s, snr, x_t, d: mse(EPS, EPS_HAT) / (2 + snr) ** 0.5,
    ),
    "edm": (weightings.edm(), GeometricVE, karras_loss),
    "edm_vp": (weightings.edm(sigma_data=1.5), Cosine, partial(karras_loss, s=1.5)),
    "flow": (weightings.flow, RectifiedFlow, lambda a, s, snr, x_t, d: mse(EPS - X0, EPS_HAT - d)),
    "sigmoid": (
        weightings.sigmoid(bias=2.0),
        Cosine,
        lambda a, s, snr, x_t, d: mse(EPS, EPS_HAT) / (1 + np.exp(np.log(snr) - 2)),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
@in_float64
def test_weighting_is_the_published_loss(name):
    weighting, factory, loss = PUBLISHED[name]
    schedule = factory()
    weighted = weighting(schedule.log_snr(T)) * mse(EPS, EPS_HAT)
    np.testing.assert_allclose(weighted, loss(*setting(schedule)), rtol=1e-8)


@pytest.mark.parametrize("factory", [LinearVP, SubVP, Cosine, GeometricVE, RectifiedFlow])
@in_float64
def test_likelihood_is_the_g_squared_weighted_score_loss(factory):
    schedule = factory()
    g_squared = np.asarray(process.diffusion_squared(schedule, T))
    weighted = weightings.likelihood(schedule)(schedule.log_snr(T)) * mse(EPS, EPS_HAT)
    np.testing.assert_allclose(weighted, 0.5 * g_squared * score_mse(*setting(schedule)), rtol=1e-8)


@in_float64
def test_logit_normal_weighting_is_logit_normal_times_with_the_flow_weighting():
    from scorekit.times import LogitNormal

    schedule, error = RectifiedFlow(), lambda t: (1 - t) ** 2 * (1 + np.sin(3 * t))
    for mean, std in ((0.0, 1.0), (-0.7, 0.6)):
        weight = weightings.logit_normal(mean, std)(schedule.log_snr(U))
        by_weight = float(np.mean(weight * error(U)))
        t = np.asarray(LogitNormal(mean=mean, std=std).quantile(jnp.asarray(U), schedule).t)
        by_times = float(np.mean(weightings.flow(schedule.log_snr(t)) * error(t)))
        assert by_weight == pytest.approx(by_times, rel=3e-5)


@in_float64
def test_per_log_snr_objective_does_not_depend_on_the_schedule():
    weighting, error = weightings.sigmoid(bias=1.0), lambda level: 1 + np.cos(level)
    expected = 12 * float(np.mean(weighting(12 * U - 6) * error(12 * U - 6)))
    for schedule in (Cosine(), LinearVP(), GeometricVE(), RectifiedFlow(), Laplace(mean=0.5, scale=4.0), SubVP()):
        first, last = (float(schedule.time_at(x)) for x in (6.0, -6.0))
        t = first + (last - first) * U
        log_snr = np.asarray(schedule.log_snr(t))
        weight = weightings.per_log_snr(weighting, schedule)(log_snr)
        assert float(np.mean(weight * error(log_snr))) * (last - first) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@in_float64
def test_band_is_the_rate_at_which_the_wiener_filter_recovers_the_band():
    from scorekit.densities import spectra

    power, count = np.array([4.0, 0.5, 0.01]), np.array([1.0, 4.0, 2.0])
    weighting = weightings.band(power, count)
    recovered = lambda level: jnp.sum(count / 7 * spectra.wiener_gain(power, level))
    level = np.linspace(-12.0, 12.0, 25)
    np.testing.assert_allclose(weighting(level), jax.vmap(jax.grad(recovered))(level), rtol=1e-10)
    wide = 160 * U - 80
    assert 160 * float(np.mean(weighting(wide))) == pytest.approx(1.0, rel=1e-6)
    single = weightings.band(0.01)
    assert wide[np.argmax(single(wide))] == pytest.approx(-np.log(0.01), abs=0.01)
    np.testing.assert_allclose(single(-np.log(0.01) + 3.0), single(-np.log(0.01) - 3.0), rtol=1e-12)
    np.testing.assert_allclose(weightings.band(power)(0.3), np.mean([weightings.band(p)(0.3) for p in power]))
    assert weighting(0.3).shape == ()
    np.testing.assert_allclose(weighting(level.reshape(5, 5)).ravel(), weighting(level))


def test_power_and_count_of_other_shapes_raise():
    with pytest.raises(ValueError, match=r"power and count must share a shape \(K,\), got \(2,\) and \(1,\)"):
        weightings.band([1.0, 2.0], [1.0])


def test_parameters_of_per_log_snr_do_not_retrace():
    @jax.jit
    @chex.assert_max_traces(n=2)  # of two kinds
    def run(weighting):
        return weighting(jnp.float32(0.5))

    make = lambda bias, s: weightings.per_log_snr(weightings.sigmoid(bias), Cosine(s=s))
    one, two = run(make(jnp.float32(0.0), 0.1)), run(make(jnp.float32(1.0), 0.2))
    assert one != two
    assert run(weightings.band([1.0, 2.0])) != run(weightings.band([3.0, 2.0]))


def test_every_weighting_is_finite_and_positive_within_60_nats():
    level = jnp.linspace(-60.0, 60.0, B)
    schedule = Cosine()
    for w in (*(row[0] for row in PUBLISHED.values()), weightings.likelihood(schedule), weightings.band(0.2)):
        values = np.asarray(w(level))
        assert np.all(np.isfinite(values))
        assert np.all(values >= 0)
        assert np.all(np.asarray(w(jnp.linspace(-12.0, 12.0, B))) > 0)
    assert np.all(np.isfinite(weightings.logit_normal()(level)))
    ends = jax.vmap(jax.grad(weightings.logit_normal()))(level)
    assert np.all(np.isfinite(ends))
