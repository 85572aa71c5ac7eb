"""Rules of scores: the exact score of the tilted density for each, CFG++, and temperature."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from rule_table import COND, DATA, SCHEDULE, UNCOND, same
from tables import SCHEDULES

from scorekit import denoisers, densities, process, samplers, schedules, solvers
from scorekit.guidance import (
    cfg_plus_plus,
    classifier_free,
    classifier_guidance,
    compose,
    negative,
    temperature,
    weight_schedule,
)

X = jax.random.normal(jax.random.key(0), (5, 2))
T = jnp.float32(0.4)


# A rule, and the weights of log p_t(x) and of log p_t(x | y) for three labels, whose score it has.
OF_CLASSES = [denoisers.exact_denoiser(DATA.component(k), SCHEDULE) for k in range(3)]
TILTED = {
    "classifier_free": (lambda: classifier_free(COND, UNCOND, 2.5), [-1.5, 0.0, 2.5, 0.0]),
    "compose": (lambda: compose(UNCOND, OF_CLASSES[1:], [1.5, -0.4]), [-0.1, 0.0, 1.5, -0.4]),
    "classifier": (
        lambda: classifier_guidance(UNCOND, partial(posterior, SCHEDULE, 1), SCHEDULE, 2.5, batched=False),
        [-1.5, 0.0, 2.5, 0.0],
    ),
    "temperature": (lambda: temperature(UNCOND, SCHEDULE, 0.4), [2.5, 0.0, 0.0, 0.0]),
}


@pytest.mark.parametrize("name", TILTED)
def test_the_score_is_that_of_the_tilted_density(name):
    make, weights = TILTED[name]
    noisy = [
        density.marginal(SCHEDULE.alpha(T), SCHEDULE.sigma(T)) for density in (DATA, *map(DATA.component, range(3)))
    ]
    tilted = lambda x: sum(w * density.log_density(x) for w, density in zip(weights, noisy, strict=True))

    @jax.jit
    def both(x):
        return process.score(SCHEDULE, make()(x, T), T), jax.vmap(jax.grad(tilted))(x)

    np.testing.assert_allclose(*both(X), rtol=1e-4, atol=1e-5)


def test_negative_guidance_is_a_weighted_sum():
    unwanted = denoisers.exact_denoiser(densities.gaussian(jnp.array([1.0, -1.0]), std=0.5), SCHEDULE)
    pushed = negative(COND, UNCOND, unwanted, 4.0, 0.5)(X, T)
    for found, c, u, n in zip(pushed, COND(X, T), UNCOND(X, T), unwanted(X, T), strict=True):
        np.testing.assert_allclose(found, u + 4.0 * (c - u) - 0.5 * (n - u), rtol=1e-4, atol=1e-4)


def test_cfg_plus_plus_steps_as_published():
    """Algorithm 2 with DDIM steps, written out."""
    ts, x = [0.9, 0.6, 0.3, 0.05], X
    rule = cfg_plus_plus(COND, UNCOND, 0.6)
    found = samplers.sample(rule, SCHEDULE, solvers.Euler(), X, ts)
    for t, s in itertools.pairwise(ts):
        eps_cond, eps_uncond = COND(x, t).eps, UNCOND(x, t).eps
        guided = eps_uncond + 0.6 * (eps_cond - eps_uncond)
        clean = (x - SCHEDULE.sigma(t) * guided) / SCHEDULE.alpha(t)
        x = SCHEDULE.alpha(s) * clean + SCHEDULE.sigma(s) * eps_uncond
    np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "share"),
    [("linear", lambda u: u), ("cosine", lambda u: np.sin(np.pi * u / 2) ** 2), ("power", lambda u: u**3)],
)
def test_weight_schedules(shape, share):
    t = np.linspace(0.0, 1.0, 7)
    found = jax.jit(lambda gamma, t: gamma(t))(weight_schedule(0.5, 4.0, shape, power=3.0), t)
    np.testing.assert_allclose(found, 0.5 + 3.5 * share(1 - t), rtol=1e-5, atol=1e-6)


def test_a_scale_may_be_any_function_of_the_time():
    noise_level = lambda t: jnp.exp(-0.5 * SCHEDULE.log_snr(t))
    times = jnp.linspace(0.1, 0.9, 5)

    @jax.jit
    def both(scale):
        found = [classifier_free(COND, UNCOND, scale)(X, t) for t in (T, times)]
        expected = [classifier_free(COND, UNCOND, scale(t))(X, t) for t in (T, times)]
        return [*found, compose(UNCOND, [COND], [scale])(X, T)], [*expected, expected[0]]

    for scale in (Partial(noise_level), weight_schedule(0.0, 3.0)):
        same(*both(scale))


# ---- the gradient of a classifier ------------------------------------------------------------------------------------

LABELS = jnp.array([0, 1, 2, 1, 1])


def posterior(schedule, label, x, t):
    """``log p(label | x_t)`` of one example, exactly."""
    noisy = DATA.marginal(schedule.alpha(t), schedule.sigma(t))
    return jnp.log(noisy.responsibilities(x))[label]


def guided(schedule, scale, x, t):
    prior = denoisers.exact_denoiser(DATA, schedule)
    each = lambda x, t: jax.vmap(lambda k, x: posterior(schedule, k, x, t))(LABELS, x)
    return classifier_guidance(prior, each, schedule, scale)(x, t)


@pytest.mark.parametrize("name", ["cosine", "rectified_flow", "edm", "sub_vp", "ddpm_table"])
def test_scale_one_is_the_exact_conditional(name):
    schedule = SCHEDULES[name].make()

    @jax.jit
    def both(t):
        expected = jax.vmap(lambda k, x: DATA.component(k).predict(x, schedule.alpha(t), schedule.sigma(t)))
        return guided(schedule, 1.0, X, t), expected(LABELS, X)

    for t in (0.0, 0.05, 0.5, 0.95, 0.9999, 1.0):
        found, expected = both(t)
        np.testing.assert_allclose(found.x0, expected.x0, rtol=2e-3, atol=2e-3, err_msg=str(t))
        np.testing.assert_allclose(found.eps, expected.eps, rtol=2e-3, atol=2e-3, err_msg=str(t))


@pytest.mark.parametrize("t", [0.3, np.linspace(0.1, 1.0, 5, dtype=np.float32)], ids=["scalar", "per_example"])
def test_classifier_of_one_example_of_a_batch_and_of_a_sum_agree(t):
    schedule = SCHEDULES["rectified_flow"].make()
    prior, single = denoisers.exact_denoiser(DATA, schedule), lambda x, t: posterior(schedule, 1, x, t)
    each = lambda x, t: jax.vmap(single)(x, jnp.broadcast_to(t, 5))
    forms = [(single, False), (each, True), (lambda x, t: each(x, t).sum(), True)]
    rules = [classifier_guidance(prior, f, schedule, 3.0, batched=batched) for f, batched in forms]
    one, *others = jax.jit(lambda: [rule(X, t) for rule in rules])()
    for other in others:
        np.testing.assert_allclose(one.x0, other.x0, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(one.eps, other.eps, rtol=1e-5, atol=1e-5)


def test_classifier_guidance_of_trees_and_of_a_constant_classifier():
    schedule = SCHEDULES["cosine"].make()
    prior = denoisers.denoiser_from_network(lambda x, t: jax.tree.map(jnp.sin, x), schedule)
    x = {"a": X.astype(jnp.bfloat16), "b": X[:, 0]}
    flat = classifier_guidance(prior, lambda x, t: jnp.zeros(5), schedule, 5.0)(x, 0.4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(np.float32(a), np.float32(b), atol=0.02), flat, prior(x, 0.4))
    steep = classifier_guidance(prior, lambda x, t: x["b"], schedule, 5.0)(x, 0.4)
    assert steep.x0["a"].dtype == jnp.bfloat16
    strength = 5.0 * schedule.sigma(0.4) ** 2 / schedule.alpha(0.4)
    np.testing.assert_allclose(steep.x0["b"] - prior(x, 0.4).x0["b"], jnp.full(5, strength), rtol=1e-4)


# ---- temperature -----------------------------------------------------------------------------------------------------

EXPLODING = schedules.GeometricVE(sigma_min=0.01, sigma_max=10.0)
VARIANCE, START = 0.5, 0.5 + 100.0  # of the data, and of the noisy state at t = 1


def colder(tau):
    prior = densities.gaussian(jnp.zeros(1), std=VARIANCE**0.5)
    return temperature(denoisers.exact_denoiser(prior, EXPLODING), EXPLODING, tau)


TAUS = (0.5, 0.8, 1.0, 1.5)


def test_temperature_flow_ends_at_a_variance_that_depends_on_the_start():
    """``v (V / v)^(1 - 1 / tau)``, which is the ``tau v`` of the power of p only at ``tau = 1``."""

    @jax.jit
    def gain(tau):  # the map is linear
        ts = solvers.grids.uniform(200)
        return samplers.sample(colder(tau), EXPLODING, solvers.Heun(coordinate="sigma"), jnp.ones((1, 1)), ts)

    for tau in TAUS:
        found = START * float(gain(tau)[0, 0]) ** 2
        assert found == pytest.approx(VARIANCE * (START / VARIANCE) ** (1 - 1 / tau), rel=0.01)
        assert (abs(found / (tau * VARIANCE) - 1) > 0.2) == (tau != 1.0)


def test_temperature_reverse_sde_ends_at_its_closed_form_variance():
    """``v (c + (1 - c) (v / V)^(2 / tau - 1))``, ``c = tau / (2 - tau)``; the steps are linear with independent noise,
    so that the variance is followed without drawing any."""

    @jax.jit
    def end(tau):
        ts = solvers.grids.uniform(400)
        solver, denoiser = solvers.Ancestral(), colder(tau)
        rows = solver.plan(EXPLODING, ts)

        def step(variance, row):
            mean, _ = solver.mean((), jnp.ones((1, 1)), row, denoiser)
            return jnp.square(mean[0, 0]) * variance + jnp.square(row.std), None

        return jax.lax.scan(step, jnp.float32(START), rows)[0]

    for tau in TAUS:
        c = tau / (2 - tau)
        expected = VARIANCE * (c + (1 - c) * (VARIANCE / START) ** (2 / tau - 1))
        assert float(end(tau)) == pytest.approx(expected, rel=0.03)


@pytest.mark.slow
def test_temperature_flow_of_a_mixture_has_the_wrong_weights():
    """Two narrow modes of weights 0.7 and 0.3: the square has 0.845 and 0.155, the flow ends in the heavier always."""
    modes = [densities.gaussian(jnp.array([m]), std=0.2) for m in (-1.0, 1.0)]
    data, tau = densities.mixture([0.7, 0.3], modes), 0.5
    rule = temperature(denoisers.exact_denoiser(data, EXPLODING), EXPLODING, tau)
    level = jnp.sqrt(0.2**2 + 1.0 + EXPLODING.sigma(1.0) ** 2)
    x = level * jax.scipy.stats.norm.ppf((jnp.arange(400) + 0.5) / 400)[:, None]
    end = jax.jit(samplers.sample)(rule, EXPLODING, solvers.Euler(), x, solvers.grids.uniform(200))
    assert float(jnp.mean(end < 0)) > 0.99 > 0.1 + 0.7**2 / (0.7**2 + 0.3**2)
