"""Time samplers, by quadrature over the quantile and not by Monte Carlo."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from scipy import integrate, stats
from tables import U, in_float64

from scorekit import times
from scorekit.schedules import Cosine, GeometricVE, Laplace, LinearVP, RectifiedFlow


@pytest.mark.parametrize("n", [1, 2, 49, 103, 1000])
def test_stratified_has_one_point_per_stratum(n):
    for seed in range(3):
        u = np.sort(np.float64(times.stratified_uniform(jax.random.key(seed), n)))
        assert u.shape == (n,)
        # Up to the rounding of (k + u) / n.
        assert np.all(u >= np.arange(n) / n - 1e-7)
        assert np.all(u <= (np.arange(n) + 1) / n + 1e-7)
        assert u[0] >= 0
        assert u[-1] < 1


@pytest.mark.slow
def test_stratified_is_permuted_with_a_uniform_marginal_and_less_variance():
    u = np.asarray(jax.vmap(lambda k: times.stratified_uniform(k, 8))(jax.random.split(jax.random.key(0), 4000)))
    assert stats.kstest(u[:, 0], "uniform").pvalue > 1e-4  # every position is uniform
    assert stats.kstest(u[:, 5], "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(u[:, 0], u[:, 1])[0, 1] + 1 / 7) < 0.1  # not sorted: only slightly repelled
    f = np.exp(u)
    plain = np.exp(np.random.default_rng(0).uniform(size=(4000, 8)))
    assert f.mean(axis=1).var() < plain.mean(axis=1).var() / 20
    assert f.mean() == pytest.approx(np.e - 1, rel=5e-3)


@pytest.mark.parametrize("stratified", [True, False])
def test_draw_uses_the_sampler(stratified):
    sampler = times.Uniform(t_min=0.25, t_max=0.75, stratified=stratified)
    drawn = times.draw(jax.random.key(0), sampler, Cosine(), 64)
    assert drawn.t.shape == drawn.weight.shape == (64,)
    assert 0.25 <= float(drawn.t.min()) < float(drawn.t.max()) <= 0.75
    occupied = len(np.unique(np.floor((np.asarray(drawn.t) - 0.25) * 128)))
    assert (occupied == 64) if stratified else (occupied < 60)


@pytest.mark.slow
@in_float64
def test_log_normal_sigma_is_normal_in_log_sigma():
    for schedule in (Cosine(), RectifiedFlow(), LinearVP()):
        t = times.LogNormalSigma(mean=-1.2, std=1.2).quantile(jnp.asarray(U), schedule).t
        log_sigma = -0.5 * np.asarray(schedule.log_snr(t))
        inside = (U > 1e-3) & (U < 0.999)
        np.testing.assert_allclose(log_sigma[inside], stats.norm.ppf(U, -1.2, 1.2)[inside], atol=1e-7)


def test_log_normal_sigma_is_clipped_to_the_range_of_the_schedule():
    u = jnp.array([0.0, 0.5, 1.0 - 2**-24])
    for schedule in (GeometricVE(sigma_min=0.1, sigma_max=1.0), LinearVP()):
        t = times.LogNormalSigma(mean=0.0, std=40.0).quantile(u, schedule).t
        assert (t[0], t[2]) == (0.0, 1.0)


@in_float64
def test_logit_normal_is_normal_in_the_logit():
    t = np.asarray(times.LogitNormal(mean=0.3, std=0.8).quantile(jnp.asarray(U), Cosine()).t)
    np.testing.assert_allclose(np.log(t / (1 - t)), stats.norm.ppf(U, 0.3, 0.8), atol=1e-9)


@pytest.mark.parametrize(
    "sampler", [times.LogNormalSigma(), times.LogitNormal(), times.UniformLogSNR(), times.band(0.3)]
)
def test_quantiles_are_finite_increasing_and_in_range_for_every_u(sampler):
    u = jnp.concatenate([jnp.array([0.0, 1e-30, 1e-7]), jnp.linspace(0.01, 0.99, 50), jnp.array([1.0 - 2**-24])])
    drawn = sampler.quantile(u, Cosine())
    assert np.all(np.isfinite(drawn.t))
    assert np.all(np.isfinite(drawn.weight))
    assert np.all(np.diff(drawn.t) >= 0)
    assert 0 <= drawn.t[0] <= drawn.t[-1] <= 1


def some_moments(bins):
    return jnp.asarray(np.geomspace(100.0, 0.01, bins), float)


SAMPLERS = {
    "uniform": lambda low, high: times.Uniform(t_min=low, t_max=high),
    "uniform_log_snr": lambda low, high: times.UniformLogSNR(t_min=low, t_max=high),
    "adaptive": lambda low, high: times.Adaptive(second_moment=some_moments(7), floor=0.1, t_min=low, t_max=high),
}


@pytest.mark.parametrize("name", SAMPLERS)
@in_float64
def test_importance_samplers_do_not_change_the_objective(name):
    bounds = 0.2, 0.7
    f = lambda t: np.exp(-t) * (2 + np.sin(9 * t))
    expected = integrate.quad(f, *bounds)[0] / (bounds[1] - bounds[0])
    for schedule in (Cosine(), Laplace()):
        drawn = SAMPLERS[name](*bounds).quantile(jnp.asarray(U), schedule)
        t, weight = np.asarray(drawn.t), np.asarray(drawn.weight)
        assert np.mean(weight * f(t)) == pytest.approx(expected, rel=1e-4)
        assert np.mean(weight) == pytest.approx(1.0, rel=1e-4)
        assert bounds[0] - 1e-9 <= t.min() < t.max() <= bounds[1] + 1e-9


@in_float64
def test_uniform_log_snr_makes_the_likelihood_weighting_constant():
    from scorekit.weightings import likelihood

    schedule = LinearVP()
    drawn = times.UniformLogSNR(t_min=0.01, t_max=0.99).quantile(jnp.asarray(U[::1600]), schedule)
    constant = np.asarray(likelihood(schedule)(schedule.log_snr(drawn.t)) * drawn.weight)
    expected = 0.5 * (schedule.log_snr(0.01) - schedule.log_snr(0.99)) / 0.98
    np.testing.assert_allclose(constant, expected, rtol=1e-9)


@in_float64
def test_adaptive_draws_bins_by_the_root_of_their_moment():
    sampler = times.Adaptive(second_moment=jnp.array([1.0, 4.0, 0.0, 9.0]), floor=0.2, t_min=0.0, t_max=1.0)
    p = 0.8 * np.array([1, 2, 0, 3]) / 6 + 0.2 / 4
    np.testing.assert_allclose(sampler.probabilities(), p, rtol=1e-12)
    drawn = sampler.quantile(jnp.asarray(U), None)
    share = np.bincount((np.asarray(drawn.t) * 4).astype(int), minlength=4) / len(U)
    np.testing.assert_allclose(share, p, atol=2e-4)
    np.testing.assert_allclose(drawn.weight, (1 / (4 * p))[(np.asarray(drawn.t) * 4).astype(int)], rtol=1e-9)


@in_float64
def test_update_adaptive_is_a_running_mean_per_bin():
    sampler = times.adaptive(num_bins=4, decay=0.9, t_min=0.0, t_max=1.0)
    t, loss = jnp.array([0.1, 0.2, 0.6, 1.0, 0.0]), jnp.array([1.0, 3.0, 2.0, 5.0, 2.0])
    once = times.update_adaptive(sampler, t, loss)
    expected = np.array([0.9 + 0.1 * (1 + 9 + 4) / 3, 1.0, 0.9 + 0.1 * 4, 0.9 + 0.1 * 25])
    np.testing.assert_allclose(once.second_moment, expected, rtol=1e-12)
    np.testing.assert_allclose(
        times.update_adaptive(once, t[2:3], loss[2:3]).second_moment[2], 0.9 * expected[2] + 0.1 * 4, rtol=1e-12
    )
    assert (once.decay, once.floor, once.stratified) == (0.9, 0.1, True)


def test_adaptive_ignores_losses_that_are_not_finite():
    sampler, t = times.adaptive(num_bins=3, decay=0.0, t_min=0.0), jnp.array([0.1, 0.2, 0.5, 0.9])
    bad = times.update_adaptive(sampler, t, jnp.array([2.0, jnp.nan, jnp.inf, 1e30]))
    np.testing.assert_array_equal(bad.second_moment, [4.0, 1.0, 1.0])
    still = times.update_adaptive(sampler, t, jnp.zeros(4))
    np.testing.assert_allclose(still.probabilities(), 1 / 3, rtol=1e-6)


@pytest.mark.slow
@in_float64
def test_discrete_draws_times_with_their_weights():
    sampler = times.discrete([0.7, 0.2, 0.4], [1, 2, 5])
    drawn = sampler.quantile(jnp.asarray(U), None)
    for t, share in ((0.7, 1 / 8), (0.2, 2 / 8), (0.4, 5 / 8)):
        assert np.mean(np.asarray(drawn.t) == t) == pytest.approx(share, abs=2e-5)
    np.testing.assert_array_equal(drawn.weight, 1.0)
    batch = times.draw(jax.random.key(0), sampler, Cosine(), 64).t
    assert sorted(np.asarray(batch).tolist()) == [0.2] * 16 + [0.4] * 40 + [0.7] * 8
    np.testing.assert_array_equal(times.discrete(0.3).quantile(jnp.array([0.0, 1.0]), None).t, 0.3)


@in_float64
def test_band_times_are_the_band_weighting_over_log_snr():
    from scorekit.weightings import band

    power, count, f = np.array([3.0, 0.2, 0.01]), np.array([1.0, 5.0, 2.0]), lambda level: np.tanh(level) + 2
    level, sampler = 80 * U - 40, times.band(power, count)
    expected = 80 * np.mean(np.asarray(band(power, count)(level)) * f(level))
    for schedule in (Cosine(), GeometricVE(sigma_min=1e-6, sigma_max=1e6)):
        drawn = sampler.quantile(jnp.asarray(U), schedule)
        assert np.mean(f(np.asarray(schedule.log_snr(drawn.t)))) == pytest.approx(expected, rel=1e-4)
        np.testing.assert_array_equal(drawn.weight, 1.0)
    single = times.band(0.2).quantile(jnp.asarray(U), Cosine()).t
    spread = -0.5 * np.asarray(Cosine().log_snr(single))
    assert (np.mean(spread), np.std(spread)) == pytest.approx((np.log(0.2) / 2, np.pi / np.sqrt(12)), rel=1e-3)


def test_at_progress_changes_annealed_samplers_only():
    sampler, u = times.annealed(0.9, 0.1), jnp.linspace(0.0, 0.9, 4)
    for progress, t in ((0.0, 0.9), (0.25, 0.7), (1.0, 0.1)):
        drawn = times.at_progress(sampler, progress).quantile(u, Cosine())
        np.testing.assert_allclose(drawn.t, np.full(4, t), rtol=1e-6)
        np.testing.assert_array_equal(drawn.weight, 1.0)
    each = times.at_progress(sampler, jnp.array([0.0, 0.5, 0.5, 1.0])).quantile(u, Cosine()).t
    np.testing.assert_allclose(each, [0.9, 0.5, 0.5, 0.1], rtol=1e-6)
    np.testing.assert_allclose(sampler.quantile(u, Cosine()).t, 0.1, rtol=1e-6)  # without a progress: the end
    assert times.at_progress(times.discrete(0.3), 0.5).quantile(u, None).t[0] == jnp.float32(0.3)
    run = jax.jit(chex.assert_max_traces(lambda s: s.quantile(u, Cosine()).t, n=1))
    run(times.at_progress(sampler, 0.2)), run(times.at_progress(times.annealed(0.5, 0.2), 0.3))


def test_samplers_are_pytrees_that_do_not_retrace():
    @jax.jit
    @chex.assert_max_traces(n=2)  # of two kinds
    def run(sampler, u):
        return sampler.quantile(u, Cosine()).t

    u = jnp.array([0.3])
    assert run(times.LogitNormal(mean=0.0), u) != run(times.LogitNormal(mean=1.0), u)
    sampler = times.adaptive(4)
    run(sampler, u), run(times.update_adaptive(sampler, jnp.array([0.3]), jnp.array([9.0])), u)


test_errors_name_the_argument = raising(
    {
        "t_max must": lambda: times.Uniform(t_min=0.5, t_max=0.5),
        r"log_snr\(t_min\) must": lambda: times.UniformLogSNR(t_min=0.0).quantile(jnp.array([0.5]), Cosine()),
        r"log_snr\(t_max\) must": lambda: times.UniformLogSNR(t_max=1.0).quantile(jnp.array([0.5]), Cosine()),
        "ts must": lambda: times.discrete([]),
        "ts and weights must": lambda: times.discrete([0.5], [1.0, 2.0]),
    }
)
