"""Membership, entropies, trajectories and modes, on distributions where the answer is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import scorekit as sk
from scorekit import typicality

K = 64
SCHEDULE = sk.schedules.cosine()
SHELL = sk.densities.gaussian(jnp.full(K, 0.5), std=2.0)
LOG_DENSITY = jax.jit(SHELL.log_density)


@functools.cache
def shell_samples():
    return jax.jit(SHELL.sample, static_argnums=1)(jax.random.key(0), (2000,))


def test_typicality_flags_the_mode_and_likelihood_does_not():
    """At the mode and in a point next to it; near the shell all is well; outside of it both object."""
    direction = jnp.zeros(K).at[0].set(1.0)
    x = SHELL.mean + 2.0 * jnp.array([0.0, 1.0, 8.0, 14.0])[:, None] * direction  # the radius of the shell is 2 * 8
    log_p = np.asarray(LOG_DENSITY(np.concatenate([x, shell_samples()[:1996]])))
    inside = typicality.typical_set(log_p, SHELL.entropy(), 20.0)
    assert inside[:4].tolist() == [False, False, True, False]
    assert inside[4:].mean() > 0.99
    assert np.all(log_p[:2] > log_p[4:].max())  # a threshold on the likelihood passes the mode
    assert log_p[3] < log_p[4:].min()


def test_the_entropy_of_samples():
    log_p = LOG_DENSITY(shell_samples())
    found = typicality.monte_carlo_entropy(log_p)
    # -log p - H = (r^2 - K) / 2 has variance K / 2
    np.testing.assert_allclose(found.standard_error, np.sqrt(K / 2 / 2000), rtol=0.1)
    assert abs(found.value - SHELL.entropy()) < 3 * found.standard_error
    excess = typicality.excess_information(log_p, SHELL.entropy())
    radius = np.linalg.norm((shell_samples() - SHELL.mean) / 2.0, axis=1)
    np.testing.assert_allclose(excess, (radius**2 - K) / 2, atol=2e-3)
    with pytest.raises(ValueError, match=r"log_density must have shape \(N,\) with N >= 2, got \(1,\)"):
        typicality.monte_carlo_entropy(log_p[:1])


@pytest.mark.slow
@pytest.mark.parametrize("network", [pytest.param("exact", marks=pytest.mark.slow), "wrong"])
def test_local_typicality_of_trajectories(network):
    """The steps of DDPM are chi-square whatever the network; a sampler without noise is at -D / 2 throughout."""
    denoiser = sk.denoisers.exact_denoiser(SHELL, SCHEDULE)
    if network == "wrong":
        denoiser = sk.denoiser_from_network(lambda x, t: jnp.tanh(x), SCHEDULE, "x0")
    ts = jnp.linspace(0.95, 0.05, 6)
    noise = jax.random.normal(jax.random.key(1), (200, K))

    @jax.jit
    def run(key, noise):
        _, states = sk.sample(key, denoiser, SCHEDULE, sk.solvers.Ancestral(), noise, ts, trajectory=True)
        path = jnp.concatenate([noise[None], states])
        return path, typicality.local_typicality(denoiser, SCHEDULE, path, ts)

    path, found = run(jax.random.key(2), noise)
    assert found.shape == (5, 200)
    for step in np.asarray(found, float):
        assert scipy.stats.kstest(2 * step + K, scipy.stats.chi2(K).cdf).pvalue > 1e-3

    # the mean of each step, from an independent formula: the posterior q(x_s | x_t, x0) by conditioning a Gaussian
    x_t, t, s = path[0], ts[0], ts[1]
    a_t, a_s, s_t, s_s = (np.float64(f(u)) for f in (SCHEDULE.alpha, SCHEDULE.sigma) for u in (t, s))
    gain = (a_t / a_s) * s_s**2 / s_t**2
    mean = a_s * denoiser(x_t, t).x0 + gain * (x_t - a_t * denoiser(x_t, t).x0)
    greedy = typicality.local_typicality(denoiser, SCHEDULE, jnp.stack([x_t, mean]), ts[:2])
    np.testing.assert_allclose(greedy, -K / 2, rtol=1e-4)


def test_seek_mode_contracts_at_the_expected_rate():
    denoiser = sk.denoisers.exact_denoiser(SHELL, SCHEDULE)
    x = shell_samples()[:3]
    climb = jax.jit(functools.partial(typicality.seek_mode, denoiser, SCHEDULE, steps=5))
    for t, step_size in ((0.2, 1.0), (0.4, 0.3)):  # one program for both
        found = climb(x, t, step_size=step_size)
        a, s = float(SCHEDULE.alpha(t)), float(SCHEDULE.sigma(t))
        rate = 1 - step_size * s**2 / (4 * a**2 + s**2)
        np.testing.assert_allclose(found - SHELL.mean, rate**5 * (x - SHELL.mean), rtol=2e-4, atol=1e-5)


@pytest.mark.slow
def test_seek_mode_finds_points_likelier_than_any_sample():
    data = sk.densities.mixture([1.0, 1.0], [SHELL, sk.densities.gaussian(jnp.full(K, -3.0), std=2.0)])
    x = jax.jit(data.sample, static_argnums=1)(jax.random.key(3), (500,))
    denoiser = sk.denoisers.exact_denoiser(data, SCHEDULE)
    top = jax.jit(functools.partial(typicality.seek_mode, denoiser, SCHEDULE, t=0.3, steps=300))(x[:20])
    log_density = jax.jit(data.log_density)
    log_p, log_top = log_density(x), log_density(top)
    assert log_top.min() > log_p.max()
    entropy = typicality.monte_carlo_entropy(log_p).value
    scores = jnp.abs(typicality.excess_information(log_p, entropy))
    p = typicality.p_values(scores, jnp.abs(typicality.excess_information(log_top, entropy)))
    assert p.max() < 0.02
