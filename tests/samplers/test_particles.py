"""Particles: unbiased whatever their number, against numerical integration over every step of a chain on the line."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import densities, process, samplers, schedules
from scorekit.denoisers import denoiser_from_network, exact_denoiser
from scorekit.samplers import product_sample, twisted_sample
from scorekit.solvers import Ancestral, DPMSolverPP2MSDE, EulerMaruyama
from scorekit.trees import sum_per_example

SCHEDULE = schedules.Cosine()
MODES = [densities.gaussian(jnp.array([-1.2]), std=0.4), densities.gaussian(jnp.array([0.9]), std=0.6)]
DATA = densities.mixture([1.0, 2.0], MODES)
UNCOND, COND, OTHER = (exact_denoiser(d, SCHEDULE) for d in (DATA, MODES[1], densities.gaussian(jnp.zeros(1), std=1.0)))
POWER = 1.7
TS = np.float32([1.0, 0.8, 0.6, 0.35, 0.15, 0.0])
THRESHOLDS = jnp.array([0.0, 0.8, 1.0])
KEY = jax.random.key(0)
GRID = np.linspace(-12, 12, 801)


def log_likelihood(x):
    return -2.0 * jnp.sum((x - 0.2) ** 2, -1)


def classifier(x, t):
    """``log p_t(y | x_t)`` up to a factor: not what :func:`log_likelihood` becomes, and it need not be."""
    return -jnp.sum((x - 0.2) ** 2, -1) / (2.0 + 2.0 * t)


def integrals(denoisers, weights, solver, ts, final=np.ones_like):
    """``int f(x) dP(x)`` for f = 1, x, x^2, with P the law of the last state: ``N(0, 1) prod_k prod_i p_i^weights_i``.

    Every step is an integral over a grid; the last, which adds no noise, is a map.
    """
    width = GRID[1] - GRID[0]
    density = np.exp(-0.5 * GRID**2) / np.sqrt(2 * np.pi)
    rows, predictions = plan_and_predictions(solver, jnp.asarray(ts), denoisers)
    for k in range(len(ts) - 1):
        terms = {name: float(leaf[k]) for name, leaf in rows._asdict().items() if isinstance(leaf, jax.Array)}
        halves = [(np.asarray(x0[k], np.float64), np.asarray(eps[k], np.float64)) for x0, eps in predictions]
        means = [terms.get("x", 0.0) * GRID + terms["x0"] * x0 + terms["eps"] * eps for x0, eps in halves]
        if k == len(ts) - 2:
            assert terms["std"] == 0
            end = sum(w * mean for w, mean in zip(weights, means, strict=True))
            return [float(np.sum(density * final(end) * end**p) * width) for p in range(3)]
        log_normal = lambda mean, std: -0.5 * ((GRID[:, None] - mean) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
        steps = sum(w * log_normal(mean, terms["std"]) for w, mean in zip(weights, means, strict=True))
        density = np.exp(steps) @ density * width


@jax.jit
def plan_and_predictions(solver, ts, denoisers):
    """The numbers of every step, and what each denoiser says at every time and place of the grid."""
    at = lambda denoiser: lambda t: jax.tree.map(
        lambda leaf: leaf[:, 0], denoiser(jnp.asarray(GRID[:, None], float), t)
    )
    return solver.plan(SCHEDULE, ts), [jax.vmap(at(denoiser))(ts[:-1]) for denoiser in denoisers]


def repeated(run, particles, repeats, ts):
    """The unnormalised estimates of the three integrals, ``(thresholds, repeats, 3)``."""

    def one(threshold, key):
        for_prior, key = jax.random.split(key)
        x = process.sample_prior(for_prior, SCHEDULE, jnp.zeros((particles, 1)))
        result = run(key, x, ts, threshold)
        weights = jnp.exp(result.log_weights + result.log_normalizer)
        return jnp.stack([jnp.sum(weights * result.x[:, 0] ** p) for p in range(3)]), result.resampled

    keys = jax.random.split(KEY, repeats)
    return jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(THRESHOLDS, keys)


def agree(estimates, expected, sigmas=4.5):
    estimates = np.asarray(estimates, np.float64)
    error = estimates.std(1) / np.sqrt(estimates.shape[1])
    np.testing.assert_array_less(np.abs(estimates.mean(1) - expected), sigmas * error)
    np.testing.assert_array_less(error[:, 0], 0.02 * expected[0])  # and the test is sharp


@pytest.mark.slow
@pytest.mark.parametrize("twist", [None, classifier], ids=["clean_estimate", "noisy_classifier"])
def test_twisted_estimates_are_unbiased_with_a_few_particles(twist):
    """Of the integral, and of the mean and square under the tilted density, however often they are redrawn."""

    def run(key, x, ts, threshold):
        rest = (log_likelihood, POWER)
        options = {"twist": twist, "softening": 1.0, "threshold": threshold}
        return twisted_sample(key, UNCOND, SCHEDULE, Ancestral(), x, ts, *rest, **options)

    estimates, resampled = repeated(run, 8, 6000, TS)
    agree(estimates, integrals([UNCOND], [1.0], Ancestral(), TS, lambda x: np.exp(POWER * -2.0 * (x - 0.2) ** 2)))
    rate = np.asarray(resampled).mean(1)
    assert np.all(rate[0] == 0)
    assert 0.02 < rate[1].max() < 0.98  # the two branches of the redrawing are both taken
    assert np.all(rate[2, 1:] == 1)


@pytest.mark.slow
def test_product_estimates_are_unbiased_with_a_few_particles():
    solver, ts, scales = EulerMaruyama(clock="log_snr"), np.float32([0.98, 0.8, 0.6, 0.4, 0.25, 0.1, 0.0]), (1.6, -0.4)

    def run(key, x, ts, threshold):
        return product_sample(key, UNCOND, SCHEDULE, solver, x, ts, [COND, OTHER], scales, threshold=threshold)

    estimates, resampled = repeated(run, 8, 6000, ts)
    weights = [1.0 - sum(scales), *scales]
    agree(estimates, integrals([UNCOND, COND, OTHER], weights, solver, ts))
    assert 0.02 < np.asarray(resampled)[1].mean(0).max() < 0.98


# ---- identities ----------------------------------------------------------------------------------------------------

X = process.sample_prior(jax.random.key(1), SCHEDULE, jnp.zeros((64, 1)))
MULTISTEP = DPMSolverPP2MSDE()


def tilted(power, slope, constant, threshold):
    likelihood = lambda x: slope * log_likelihood(x) + constant
    options = {"softening": 0.0, "threshold": threshold}
    return twisted_sample(KEY, UNCOND, SCHEDULE, Ancestral(), X, TS, likelihood, power, **options)


twisted = jax.jit(chex.assert_max_traces(tilted, n=1))


@jax.jit
def product(scales):
    return product_sample(KEY, UNCOND, SCHEDULE, MULTISTEP, X, TS, [COND, OTHER, COND], scales, threshold=1.0)


@jax.jit
def plain(denoiser, solver):
    return samplers.sample(denoiser, SCHEDULE, solver, X, TS, key=jax.random.split(KEY)[0])


def same(one, other, shift=0.0):
    parts = [(result.x, result.log_weights, result.ess) for result in (one, other)]
    chex.assert_trees_all_close(*parts, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(one.log_normalizer + shift, other.log_normalizer, atol=1e-4)


CASES = {
    "constant": (lambda: twisted(POWER, 0.0, 3.0, 0.5), UNCOND, Ancestral(), 3.0 * POWER),
    "power_0": (lambda: twisted(0.0, 1.0, 0.0, 0.5), UNCOND, Ancestral(), 0.0),
    "scale_0": (lambda: product((0.0, 0.0, 0.0)), UNCOND, MULTISTEP, 0.0),
    "scale_1": (lambda: product((1.0, 0.0, 0.0)), COND, MULTISTEP, 0.0),
}


@pytest.mark.slow
@pytest.mark.parametrize(("run", "denoiser", "solver", "constant"), CASES.values(), ids=CASES)
def test_where_there_is_nothing_to_correct_it_is_the_plain_sampler(run, denoiser, solver, constant):
    result = run()
    np.testing.assert_allclose(result.x, plain(denoiser, solver), atol=1e-4)
    np.testing.assert_allclose(result.log_weights, -np.log(64), atol=1e-5)
    np.testing.assert_allclose(result.log_normalizer, constant, atol=1e-4)
    np.testing.assert_allclose(result.ess, 64, rtol=1e-4)


def test_a_power_is_a_factor_of_the_log_likelihood():
    result = twisted(POWER, 1.0, 0.0, 0.5)
    same(result, twisted(1.0, POWER, 2.0, 0.5), shift=2.0)
    assert result.ess.shape == (6,)
    assert float(result.ess.min()) < 45
    assert float(jax.nn.logsumexp(result.log_weights)) == pytest.approx(0.0, abs=1e-5)


def test_a_condition_named_twice_has_the_sum_of_its_scales():
    same(product((1.4, 0.0, 0.0)), product((0.9, 0.0, 0.5)))


def test_particles_are_redrawn_below_the_threshold_and_numbers_do_not_recompile():
    for threshold in (0.0, 0.7, 0.9, 1.0):
        result = twisted(2.5, 1.0, 0.0, threshold)
        np.testing.assert_array_equal(result.resampled, (result.ess[:-1] < 64 * threshold) | (threshold == 1))
    assert np.any(result.resampled)


@pytest.mark.slow
def test_the_gradient_in_the_power_without_redrawing():
    slope = jax.jit(jax.grad(lambda power: tilted(power, 1.0, 0.0, 0.0).log_normalizer))(1.5)
    above, below = (twisted(power, 1.0, 0.0, 0.0).log_normalizer for power in (1.51, 1.49))
    assert float(slope) == pytest.approx(float(above - below) / 0.02, rel=2e-2)


# ---- contracts -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_trees_and_dtypes():
    x = {"a": jnp.full((8, 2), 0.5), "b": jnp.ones(8, jnp.bfloat16)}
    one, two = (denoiser_from_network(lambda x, t, c=c: jax.tree.map(lambda a: c * a, x), SCHEDULE) for c in (0.1, 0.2))
    towards_1 = lambda x: -sum_per_example(lambda leaf: jnp.square(leaf - 1.0), x)
    results = jax.jit(
        lambda: (
            twisted_sample(KEY, one, SCHEDULE, Ancestral(), x, TS, towards_1, threshold=1.0),
            product_sample(KEY, one, SCHEDULE, Ancestral(), x, TS, [two], [2.0], threshold=1.0),
        )
    )()
    for result in results:
        chex.assert_trees_all_equal_shapes_and_dtypes(result.x, x)
        assert {leaf.dtype for leaf in result[1:4]} == {jnp.dtype("float32")}
        assert all(np.all(np.isfinite(np.asarray(leaf, float))) for leaf in jax.tree.leaves(result))
        assert len(np.unique(result.ess)) > 2


def in_half(x):
    return jnp.where(x[:, 0] > 0, 0.0, -jnp.inf)


def call(solver=Ancestral(), ts=TS, log_likelihood=log_likelihood, **options):  # noqa: B008
    return twisted_sample(KEY, UNCOND, SCHEDULE, solver, X, ts, log_likelihood, **options)


def test_a_likelihood_of_0_somewhere_has_the_mass_of_the_rest_with_a_finite_twist():
    found = [call(log_likelihood=in_half, twist=lambda x, t: 0.0 * x[:, 0], guidance_scale=g) for g in (1.0, 0.0)]
    share = np.mean(np.asarray(found[0].x) > 0)
    np.testing.assert_allclose(found[0].log_normalizer, np.log(share), atol=0.3)
    np.testing.assert_allclose(found[1].log_normalizer, 0.0, atol=1e-6)
