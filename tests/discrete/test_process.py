"""Schedules, forward process and denoisers of tokens, against matrices and tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from token_chains import chain, log_forward, states

from scorekit import discrete, times
from scorekit.discrete import schedules
from scorekit.schedules import time_derivative

SCHEDULES = {
    "linear": schedules.Linear(),
    "cosine": schedules.Cosine(),
    "polynomial": schedules.Polynomial(power=1.7),
    "log_linear": schedules.LogLinear(),
    "function": schedules.schedule_from_function(lambda t: (1.0 - t) ** 2),
}
PROCESSES = {"absorbing": discrete.absorbing(3, schedules.Cosine()), "uniform": discrete.uniform(3)}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_keep_everything_at_the_data_and_nothing_at_the_noise(name):
    schedule, t = SCHEDULES[name], jnp.linspace(0.0, 1.0, 33)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    np.testing.assert_allclose(alpha + sigma, 1.0, atol=2e-7)
    assert alpha[0] == 1.0
    assert 0.0 <= alpha[-1] <= 1e-3 + 1e-9
    assert np.all(np.diff(alpha) < 0)
    inner = t[1:-1]
    np.testing.assert_allclose(schedule.time_at(schedule.log_snr(inner)), inner, rtol=1e-5)
    np.testing.assert_allclose(time_derivative(schedule.sigma, inner), np.gradient(sigma, t)[1:-1], atol=0.02)
    drawn = times.draw(jax.random.key(0), times.UniformLogSNR(t_min=0.01, t_max=0.99), schedule, 4)
    assert np.all(np.isfinite(drawn.weight))


def test_published_formulas_of_schedules():
    t = np.linspace(0.0, 1.0, 9)
    np.testing.assert_allclose(schedules.Cosine().alpha(t), 1 - np.cos(np.pi / 2 * (1 - t)), atol=1e-6)
    np.testing.assert_allclose(-np.log(schedules.LogLinear().alpha(t)), -np.log1p(-(1 - 1e-3) * t), atol=1e-4)
    tiny = jnp.array(1e-9)
    np.testing.assert_allclose(schedules.Linear().sigma(tiny), 1e-9, rtol=1e-6)
    np.testing.assert_allclose(schedules.Linear().alpha(1 - 1e-4), 1e-4, rtol=1e-3)


def generator(process):
    """``(Q, S)`` of the forward chain in units of its total noise: ``q(z_t | x0) = expm(Q beta)``."""
    s, v = process.num_states, process.num_tokens
    pi = np.full(s, 1 / v) if process.mask is None else np.eye(s)[v]
    return np.tile(pi, (s, 1)) - np.eye(s)


def transition_matrix(process, t, s=0.0):
    beta = jnp.log(process.schedule.alpha(s)) - jnp.log(process.schedule.alpha(t))
    return np.asarray(jax.scipy.linalg.expm(jnp.asarray(generator(process)) * beta))


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.slow
def test_marginals_and_posteriors_are_those_of_the_matrix_exponential(name):
    process = PROCESSES[name]
    v, t, s = process.num_tokens, 0.7, 0.3
    z, x0 = (grid.reshape(-1) for grid in jnp.meshgrid(jnp.arange(process.num_states), jnp.arange(v), indexing="ij"))
    to_t, to_s, between = (transition_matrix(process, *ends) for ends in ((t,), (s,), (t, s)))
    np.testing.assert_allclose(jnp.exp(log_forward(process, x0[:, None], z[:, None], t)), to_t[x0, z], atol=1e-6)
    with np.errstate(invalid="ignore"):
        exact = to_s[x0] * between[:, z].T / to_t[x0, z][:, None]
    np.testing.assert_allclose(discrete.posterior(process, z, x0, t, s), exact, atol=1e-5)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.slow
def test_perturbed_tokens_have_the_probabilities_of_the_process(name):
    process, x0 = PROCESSES[name], jnp.tile(jnp.arange(3), (3000, 1))
    t = jnp.where(jnp.arange(3000) < 1500, 0.25, 0.75)
    z = jax.jit(discrete.perturb)(jax.random.key(0), process, x0, t)
    for part, time in ((z[:1500], 0.25), (z[1500:], 0.75)):
        found = jax.nn.one_hot(part, process.num_states).mean(0)
        np.testing.assert_allclose(found, transition_matrix(process, time)[:3], atol=0.045)
    assert z.dtype == x0.dtype
    kept = discrete.perturb(jax.random.key(0), process, x0, 1.0, where=jnp.array([True, False, True]))
    assert np.all(kept[:, 1] == 1)
    assert not np.all(kept[:, 0] == 0)


@pytest.mark.slow
def test_the_prior_is_where_the_process_ends():
    like = jax.ShapeDtypeStruct((2, 5), jnp.uint8)
    z = discrete.sample_prior(jax.random.key(0), discrete.absorbing(3), like)
    assert z.dtype == jnp.uint8
    assert np.all(z == 3)
    z = discrete.sample_prior(jax.random.key(0), discrete.uniform(3), jnp.zeros((1, 3000), int))
    np.testing.assert_allclose(np.bincount(z[0]) / 3000, 1 / 3, atol=0.04)


@pytest.mark.parametrize("name", PROCESSES)
def test_exact_denoiser_is_bayes_rule_by_enumeration(name):
    process, joint = PROCESSES[name], chain(v=3, length=2)
    x, z = states(3, 2), states(process.num_states, 2)
    weights = jnp.exp(joint.reshape(-1) + log_forward(process, x, z[:, None, :], 0.4))  # (Z, X)
    expected = jnp.einsum("zx,xiv->ziv", weights, jax.nn.one_hot(x, 3)) / weights.sum(1)[:, None, None]
    found = jax.jit(discrete.exact_denoiser(joint, process))(z, 0.4)
    np.testing.assert_allclose(jnp.exp(found), expected, atol=1e-6)


@pytest.mark.parametrize("t", [0.0, 1.0])
def test_the_exact_denoiser_of_masks_takes_conditions_at_the_ends_of_time(t):
    denoiser, z = jax.jit(discrete.exact_denoiser(chain(v=3, length=2), discrete.absorbing(3))), states(4, 2)
    np.testing.assert_allclose(denoiser(z, t), denoiser(z, 0.4), atol=1e-5)


def test_networks_carry_over_tokens_and_give_the_mask_no_probability():
    process = discrete.absorbing(3)
    logits = jax.random.normal(jax.random.key(0), (2, 2, 4)).at[..., 3].set(100.0)
    z = jnp.array([[3, 1], [2, 3]])
    log_p = discrete.denoiser_from_network(lambda z, t: logits.astype(jnp.bfloat16), process)(z, 0.5)
    assert log_p.dtype == jnp.float32
    np.testing.assert_allclose(jnp.exp(log_p).sum(-1), 1.0, atol=1e-6)
    assert np.exp(log_p[0, 1]).tolist() == [0, 1, 0]
    assert np.exp(log_p[1, 0]).tolist() == [0, 0, 1]
    without = discrete.denoiser_from_network(lambda z, t: logits.astype(jnp.bfloat16)[..., :3], process)(z, 0.5)
    np.testing.assert_array_equal(log_p, without)


def test_a_network_of_the_other_tokens_is_the_same_as_the_posterior():
    process, joint = discrete.uniform(3), chain(v=3, length=1)
    z = jnp.arange(3)[:, None]
    prior = lambda z, t: jnp.broadcast_to(joint, (*z.shape, 3))  # there are no other tokens
    from_others = discrete.denoiser_from_network(prior, process)
    exact = discrete.exact_denoiser(joint, process)
    for t in (0.1, 0.9):
        np.testing.assert_allclose(from_others(z, t), exact(z, t), atol=1e-5)
        again = discrete.denoiser_from_network(exact, process, "posterior")
        np.testing.assert_allclose(again(z, t), exact(z, t), atol=1e-5)
