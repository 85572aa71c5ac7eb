"""Steering against tilted densities and enumeration: unbiased with a few particles, whatever the potential."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from problems import agrees
from scipy import stats
from token_chains import chain, law, states

from scorekit import denoisers, densities, discrete, schedules, solvers
from scorekit.alignment import best_of, steered_sample, steered_tokens
from scorekit.trees import pytree_dataclass
from scorekit.typing import Prediction

KEY, SCHEDULE, TS = jax.random.key(0), schedules.Cosine(), np.float32([1.0, 0.7, 0.4, 0.15, 0.0])
MODES = [densities.gaussian(jnp.array([-1.2]), std=0.4), densities.gaussian(jnp.array([0.9]), std=0.6)]
DATA = densities.mixture([1.0, 2.0], MODES)
EXACT, ANCESTRAL = denoisers.exact_denoiser(DATA, SCHEDULE), solvers.Ancestral()


@pytree_dataclass
class ExactSteps(solvers.SolverBase):
    """Draws x0 given x_t, then x_s given both: the law of the data with any steps."""

    stochastic = True

    def step(self, state, x_t, row, denoiser, *, key=None):
        denoiser(x_t, row.t)
        for_mode, for_x0, for_noise = jax.random.split(key, 3)
        mode = jax.random.categorical(for_mode, DATA.marginal(row.alpha_t, row.sigma_t)._log_joint(x_t).T)[:, None]
        each = jnp.stack([m.predict(x_t, row.alpha_t, row.sigma_t).x0[:, 0] for m in MODES], 1)
        variances = jnp.stack([m.residual / m.marginal(row.alpha_t, row.sigma_t).residual for m in MODES])
        z = jax.random.normal(for_x0, x_t.shape)
        x0 = jnp.take_along_axis(each, mode, 1) + row.sigma_t * jnp.sqrt(variances[mode]) * z
        keep, squared = row.alpha_t / row.alpha_s, jnp.square(row.sigma_s / row.sigma_t)
        fresh = jnp.maximum(1.0 - keep**2 * squared, 0.0)
        mean = keep * squared * x_t + row.alpha_s * fresh * x0
        return mean + row.sigma_s * jnp.sqrt(fresh) * jax.random.normal(for_noise, x_t.shape), state


def quadratic(x):
    return 1.2 * x[:, 0] - 0.4 * x[:, 0] ** 2


def jump(x):
    return jnp.where(x[:, 0] > 0.3, 1.5, 0.0) - jnp.abs(x[:, 0])


def only_right(x):
    return jnp.where(x[:, 0] > 0.3, 0.0, -jnp.inf)


def agree(estimates, expected):
    assert agrees(estimates, expected, errors=4.5)
    assert np.std(estimates[:, 0]) < 0.03 * np.sqrt(len(estimates)) * expected[0]


@pytest.mark.parametrize(
    ("reward", "potential", "threshold"),
    [
        (quadratic, "difference", 1.0),
        (jump, "difference", 0.9),
        (quadratic, "max", 0.9),
        (jump, "sum", 0.7),
        (only_right, "max", 0.7),
    ],
)
def test_the_integral_and_the_moments_are_unbiased_with_8_particles(reward, potential, threshold):
    guess_steps = 1 if potential == "difference" else 2

    def one(key):
        key, for_prior = jax.random.split(key)
        options = {"temperature": 0.8, "potential": potential, "threshold": threshold, "guess_steps": guess_steps}
        noise = jax.random.normal(for_prior, (8, 1))
        out = steered_sample(key, EXACT, SCHEDULE, ExactSteps(), noise, TS, reward, **options)
        weights = jnp.exp(out.log_weights + out.log_normalizer)
        weights = jnp.where(out.log_normalizer > -jnp.inf, weights, 0.0)
        return jnp.stack([weights @ out.x[:, 0] ** p for p in range(3)]), out.resampled

    estimates, resampled = jax.jit(jax.vmap(one))(jax.random.split(KEY, 8000))
    if reward is quadratic:
        target, log_z = densities.quadratic_tilt(DATA, jnp.full(1, 1.5), jnp.ones((1, 1)))
    else:
        target = densities.tilt(DATA, lambda a: reward(a.reshape(-1, 1)).reshape(a.shape[:-1]) / 0.8, (0,))
        log_z = target.log_normalizer
    x = np.linspace(-6, 6, 6001)
    density = np.exp(np.asarray(target.log_density(jnp.asarray(x[:, None], jnp.float32))) + float(log_z))
    agree(estimates, [density @ x**p * (x[1] - x[0]) for p in range(3)])
    assert reward is only_right or threshold == 1.0 or 0.01 < np.mean(resampled) < 0.99


class Still(ExactSteps):
    def step(self, state, x_t, row, denoiser, *, key=None):
        return x_t, state


def test_the_potentials_are_the_published_ones():
    """Of particles that do not move, with guesses ``x c(t)``."""
    x, factors = np.array([-1.0, 0.3, 2.0]), np.array([0.5, -1.0, 0.7, 0.2])
    denoiser = lambda x, t: Prediction(jnp.interp(t, TS[-2::-1], factors[::-1]) * x, x)
    g = np.outer(factors, x)
    totals = {"difference": g, "max": np.maximum.accumulate(g).cumsum(0), "sum": g.cumsum(0).cumsum(0)}
    for potential, log_weights in totals.items():
        options = {"potential": potential, "threshold": 0.0}
        out = steered_sample(KEY, denoiser, SCHEDULE, Still(), x[:, None], TS, lambda x: x[:, 0], **options)
        weights = np.exp(np.vstack([log_weights, x]))
        np.testing.assert_allclose(out.ess, weights.sum(1) ** 2 / (weights**2).sum(1), rtol=1e-5, err_msg=potential)


@pytest.mark.parametrize("potential", ["difference", "max", "sum"])
def test_tokens_have_the_law_of_the_sampler_times_the_reward(potential):
    process, log_p = discrete.absorbing(2), chain()
    denoiser, solver, x = discrete.exact_denoiser(log_p, process), discrete.Ancestral(), states(2, 3)
    reward = lambda z: jnp.array([0.4, -1.0, 0.2])[z.sum(1) % 3] + z[:, 0]
    expected = law(process, solver, denoiser, 3, 3).ravel() * jnp.exp(reward(x) / 0.8)

    def one(key):
        options = {"temperature": 0.8, "potential": potential, "threshold": 0.7}
        z = jnp.full((8, 3), 2)
        out = steered_tokens(key, denoiser, process, solver, z, np.linspace(1, 0, 4), reward, **options)
        weights = jnp.exp(out.log_weights + out.log_normalizer)
        return jnp.append(weights.sum(), (x == out.x[:, None]).all(-1).T @ weights), out.resampled

    estimates, resampled = jax.jit(jax.vmap(one))(jax.random.split(KEY, 6000))
    agree(estimates, np.append(expected.sum(), expected))
    assert 0.01 < np.mean(resampled) < 0.99


def run(denoiser=EXACT, solver=ANCESTRAL, reward=quadratic, **options):
    x_init = jax.random.normal(KEY, (64, 1))
    return steered_sample(KEY, denoiser, SCHEDULE, solver, x_init, TS, reward, **options)


def test_the_guess_costs_no_evaluation_and_the_reward_may_be_a_function_of_the_host():
    calls = []
    counted = lambda x, t: calls.append(0) or EXACT(x, t)
    host = lambda x: jax.pure_callback(lambda x: np.asarray(quadratic(np.asarray(x))), jnp.zeros(len(x)), x)
    out, plain = jax.jit(lambda: (run(counted, reward=host, potential="max"), run(potential="max")))()
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), out, plain)
    assert len(calls) == 1
    jax.eval_shape(lambda: run(counted, solvers.StochasticHeun(gamma=0.1)))
    assert len(calls) == 1 + 3


def test_traced_rewards_that_are_nan_or_exclude_all_give_weights_that_are_nan():
    for value, each in ((jnp.nan, "difference"), (jnp.nan, "max"), (-jnp.inf, "sum")):
        one_nan = lambda x, value=value: jnp.where(x[:, 0] > (1.0 if np.isnan(value) else -9.0), value, 0.0)
        assert np.all(np.isnan(jax.jit(lambda f=one_nan, p=each: run(reward=f, potential=p).log_weights)()))
    assert np.isnan(jax.jit(lambda r: best_of(jnp.ones(2), r, 2))(jnp.array([jnp.nan, 1.0])))


def test_the_best_of_n_has_the_stated_law():
    u = jax.random.uniform(KEY, (6000,))
    best = best_of({"u": u, "half": 0.5 * u}, u, 3)
    assert stats.kstest(np.asarray(best["u"]), stats.beta(3, 1).cdf).pvalue > 0.01
    np.testing.assert_array_equal(best["half"], 0.5 * best["u"])


test_errors_name_the_argument = raising(
    {
        "solver must be stochastic": lambda: run(solver=solvers.Heun()),
        "result of reward must have shape": lambda: run(reward=lambda x: x),
        "result of reward must hold real": lambda: run(reward=lambda x: 1j * x[:, 0]),
        "reward: the log-weights must": lambda: run(reward=lambda x: jnp.log(x[:, 0])),
        "finite for one particle": lambda: run(reward=lambda x: x[:, 0] - jnp.inf),
        "potential must": lambda: run(potential="min"),
        "rewards must not be NaN": lambda: best_of(jnp.ones(2), np.array([0.0, np.nan]), 2),
        "num_candidates must divide": lambda: best_of(jnp.ones(3), np.ones(3), 2),
    }
)
