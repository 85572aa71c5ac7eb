"""A published score network of galaxies, in Equinox: samples, likelihoods and inpainting through the public functions.

The package galaxygrad states no licence: its files are downloaded, and none of them nor their outputs are kept here.
"""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import wheels

import scorekit as sk
from scorekit import guidance, likelihood, samplers
from scorekit.likelihood import bits_per_dim

pytestmark = pytest.mark.external
SCHEDULE = sk.schedules.LinearVP(beta_min=10.0, beta_max=10.0)  # of a VP SDE with rate 1 on [0, 10]
SIZE, T1 = 32, 10.0
RUN = jax.jit(sk.sample)
LOG_LIKELIHOOD = jax.jit(likelihood.log_likelihood, static_argnames=("divergence", "chunk"))


@pytest.fixture(scope="module", params=["hsc", "ZTF"])
def denoiser(request):
    """The package does not import where names of files are case-sensitive: one module of it is loaded by its path."""
    eqx = pytest.importorskip("equinox")
    pytest.importorskip("einops")
    folder = wheels.unpack(request.config, "galaxygrad", "0.2.1") / "galaxygrad"
    spec = importlib.util.spec_from_file_location("models_eqx", folder / "models_eqx.py")
    models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    like = models.ScoreNet((1, SIZE, SIZE), 4, 64, 512, 512, 4, T1, key=jax.random.key(0))
    arrays, static = eqx.partition(
        eqx.tree_deserialise_leaves(folder / f"eqx_{request.param}_ScoreNet32.eqx", like), eqx.is_array
    )
    score = lambda arrays, x, t: jax.vmap(eqx.combine(arrays, static))(x, jnp.broadcast_to(T1 * t, x.shape[:1]))
    return sk.denoiser_from_network(jax.tree_util.Partial(score, arrays), SCHEDULE, "score")


@pytest.fixture(scope="module")
def galaxies(denoiser):
    solver, ts = samplers.recommended(SCHEDULE, 25)
    assert isinstance(solver, sk.solvers.UniPC)
    noise = jax.random.normal(jax.random.key(0), (64, 1, SIZE, SIZE))
    return RUN(denoiser, SCHEDULE, solver, noise, ts)


def test_samples_are_galaxies_in_the_centre_of_a_dark_sky(galaxies):
    x = np.asarray(galaxies)[:, 0]
    assert np.isfinite(x).all()
    assert 0.58 < x.std() < 0.72
    sky, centre = np.concatenate([x[:, :4], x[:, -4:]], 1), x[:, 12:20, 12:20]
    assert np.abs(sky).mean() < 0.1
    assert (centre.max((1, 2)) > 1).mean() > 0.95
    assert (centre.max((1, 2)) == x.max((1, 2))).mean() > 0.9


def test_more_steps_change_little(denoiser, galaxies):
    """Each sample is the end of one path of the ODE; 25 steps are close to it."""
    solver, ts = samplers.recommended(SCHEDULE, 100)
    noise = jax.random.normal(jax.random.key(0), galaxies.shape)[:8]
    finer = RUN(denoiser, SCHEDULE, solver, noise, ts)
    assert jnp.sqrt(jnp.mean((finer - galaxies[:8]) ** 2)) < 0.1 * jnp.std(finer)


def test_a_galaxy_beside_the_centre_costs_more_bits(denoiser, galaxies):
    x = jnp.concatenate([galaxies[:4], jnp.roll(galaxies[:4], 9, axis=-1)])
    key, tolerances = jax.random.key(0), {"rtol": 1e-3, "atol": 1e-3}
    found = LOG_LIKELIHOOD(denoiser, SCHEDULE, x, divergence="rademacher", key=key, **tolerances)
    bits = bits_per_dim(found.raise_if_failed().log_p, SIZE**2).bits_per_dim
    centred, beside = bits[:4], bits[4:]
    assert (beside > centred + 0.1).all()
    assert ((centred > -6) & (centred < 0)).all()  # of a density; the sky is nearly known


def test_the_estimate_is_that_of_the_exact_divergence(denoiser, galaxies):
    ts = sk.solvers.grids.uniform_log_snr(SCHEDULE, 2, t_max=1.0, t_min=1e-3, to_zero=False)
    exact = LOG_LIKELIHOOD(denoiser, SCHEDULE, galaxies[:1], chunk=64, ts=ts)
    found = LOG_LIKELIHOOD(denoiser, SCHEDULE, galaxies[:1], divergence="rademacher", ts=ts, key=jax.random.key(0))
    assert jnp.abs(found.log_p - exact.log_p)[0] < 4 * found.standard_error[0]
    assert found.standard_error[0] < 0.01 * SIZE**2


def test_the_other_half_of_a_galaxy_is_filled_in(denoiser, galaxies):
    x = galaxies[:8]
    keep = jnp.arange(SIZE) < SIZE // 2
    observation = jnp.where(keep, x, 0.0)
    mask = guidance.operators.mask(keep)
    rule = guidance.mmps(denoiser, SCHEDULE, mask, observation, noise_std=0.02, num_iterations=1)  # more are not stable
    first = SCHEDULE.time_at(jnp.log(0.05**2))
    solver, ts = samplers.recommended(SCHEDULE, 50, stochastic=True, t_max=first)
    start = sk.sample_prior(jax.random.key(1), SCHEDULE, x, t=first)
    filled = RUN(rule, SCHEDULE, solver, start, ts, key=jax.random.key(2))
    difference = lambda where: float(jnp.sqrt(jnp.mean((filled - x) ** 2, where=where)))
    assert difference(keep) < 0.04
    beyond = (..., SIZE // 2)  # the first column that is not observed
    assert np.corrcoef(filled[beyond].ravel(), x[beyond].ravel())[0, 1] > 0.7
    assert 0.5 < jnp.std(filled, where=~keep) / jnp.std(x, where=~keep) < 1.5
