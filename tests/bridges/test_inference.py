"""The priors for NumPyro and BlackJAX: NUTS on exact priors against the closed form of the posterior."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import posterior

from scorekit import densities, likelihood, schedules
from scorekit.bridges.numpyro import distribution
from scorekit.denoisers import exact_denoiser

COSINE, STD, NOISE = schedules.Cosine(), 0.05, 1.0
OPTIONS = {"rtol": 1e-3, "atol": 1e-3}


def two_modes(d):
    """Two modes of one covariance, 2 apart along the diagonal."""
    along = np.full(d, d**-0.5)
    covariance = 0.5 * np.eye(d) + 0.2 * np.outer(along, along)
    return densities.mixture(
        [1, 2], [densities.gaussian(jnp.asarray(s * along), covariance=covariance) for s in (-1, 1)]
    )


def posterior_of(prior, y):
    """The weights, means and covariances of the posterior of a mixture given ``y = x + noise``."""
    noisy = prior.marginal(1.0, STD)
    parts = [noisy.component(k) for k in range(len(noisy.log_weights))]
    weights = np.asarray(prior.marginal(1.0, np.hypot(STD, NOISE)).responsibilities(y), float)
    weights /= weights.sum()
    each = [posterior(np.asarray(g.mean), np.asarray(g.covariance()), np.eye(len(y)), y, NOISE) for g in parts]
    return weights, *(np.stack(values) for values in zip(*each, strict=True))


def agrees(x, prior, y, size):
    """Means, the total variance and quantiles along the modes, within the error of so many independent draws."""
    weights, means, covariances = posterior_of(prior, y)
    x, mean = np.asarray(x, float).reshape(-1, len(y)), weights @ means
    deviations = np.sqrt(np.einsum("k,kii->i", weights, covariances) + weights @ np.square(means - mean))
    np.testing.assert_array_less(np.abs(x.mean(0) - mean), 4 * deviations / np.sqrt(size))
    total = np.mean(np.square((x - mean) / deviations))
    assert abs(total - 1.0) < 4 * np.sqrt(2 / (size * len(y)))
    draw = np.random.default_rng(0)
    labels = draw.choice(len(weights), 100_000, p=weights)
    along = np.full(len(y), len(y) ** -0.5)
    spread = np.sqrt(np.einsum("i,kij,j->k", along, covariances, along))
    exact = (means @ along)[labels] + spread[labels] * draw.normal(size=labels.shape)
    for p in (0.05, 0.5, 0.95):
        assert abs((x @ along <= np.quantile(exact, p)).mean() - p) < 4 * np.sqrt(p * (1 - p) / size)


@pytest.mark.slow
def test_nuts_of_numpyro_has_the_exact_posterior():
    numpyro = pytest.importorskip("numpyro")
    data, y = two_modes(2), np.array([0.3, -0.6])
    prior = distribution(likelihood.flow_density(exact_denoiser(data, COSINE), COSINE, (2,), STD, **OPTIONS))

    def model(y):
        x = numpyro.sample("x", prior)
        numpyro.sample("y", numpyro.distributions.Normal(x, NOISE).to_event(1), obs=y)

    chains = {"num_chains": 8, "chain_method": "vectorized", "progress_bar": False}
    mcmc = numpyro.infer.MCMC(numpyro.infer.NUTS(model), num_warmup=150, num_samples=250, **chains)
    mcmc.run(jax.random.key(0), y)
    agrees(mcmc.get_samples()["x"], data, y, 700)


@pytest.mark.slow
def test_nuts_of_blackjax_has_the_exact_posterior_in_16_dimensions():
    blackjax = pytest.importorskip("blackjax")
    data, y = two_modes(16), np.linspace(-1, 1, 16)
    prior = likelihood.line_density(exact_denoiser(data, COSINE), COSINE, (16,), STD)
    target = lambda x: prior.log_density(x) - 0.5 * jnp.sum((x - y) ** 2) / NOISE**2

    @jax.jit
    @jax.vmap
    def chain(key, x):
        nuts = blackjax.nuts(target, step_size=0.4, inverse_mass_matrix=jnp.full(16, 0.4))
        step = lambda state, key: (state := nuts.step(key, state)[0], state.position)
        return jax.lax.scan(step, nuts.init(x), jax.random.split(key, 300))[1][50:]

    x = chain(jax.random.split(jax.random.key(1), 8), prior.sample(jax.random.key(2), (8,)))
    agrees(x, data, y, 1500)


@pytest.mark.slow
def test_distributions_have_the_methods_of_numpyro():
    dist = pytest.importorskip("numpyro.distributions")
    density = likelihood.line_density(exact_denoiser(two_modes(2), COSINE), COSINE, (2,), STD, steps=5)
    prior = distribution(density, validate_args=True)
    assert isinstance(prior, dist.Distribution)
    assert (prior.batch_shape, prior.event_shape, prior.support.event_dim) == ((), (2,), 1)
    x = prior.expand([3]).sample(jax.random.key(0), (4,))
    assert x.shape == (4, 3, 2)
    across = jax.jit(lambda prior, x: prior.expand([3]).log_prob(x))(prior, x)
    np.testing.assert_allclose(across, density.log_density(x), rtol=1e-5)
    with pytest.raises(ValueError, match="x must be finite, but 2 of 24 values are not"):
        prior.log_prob(x.at[0, 0].set(jnp.nan))
    field = densities.power_law((4, 4))
    assert distribution(field).event_shape == (4, 4, 1)
    assert distribution(densities.ring()).log_prob(jnp.zeros((5, 2))).shape == (5,)


@pytest.mark.slow
def test_a_score_without_a_value_fails_in_nuts_visibly():
    numpyro = pytest.importorskip("numpyro")
    prior = distribution(likelihood.score_density(exact_denoiser(two_modes(2), COSINE), COSINE, (2,), STD, steps=5))
    mcmc = numpyro.infer.MCMC(
        numpyro.infer.NUTS(lambda: numpyro.sample("x", prior)), num_warmup=1, num_samples=1, progress_bar=False
    )
    with pytest.raises(RuntimeError, match="Cannot find valid initial parameters"):
        mcmc.run(jax.random.key(0))


NORMAL = densities.gaussian(np.zeros(2, np.float32), std=1.0)


def test_another_object_is_no_density():
    with pytest.raises(ValueError, match="density must be one of ModelDensity, Gaussian"):
        distribution(lambda x: x)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    from scorekit.bridges.numpyro import _class

    _class.cache_clear()
    monkeypatch.setitem(sys.modules, "numpyro", None)
    with pytest.raises(ImportError, match=r"needs numpyro: pip install 'scorekit\[numpyro\]'"):
        distribution(NORMAL)
