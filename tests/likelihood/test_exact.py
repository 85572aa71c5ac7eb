"""The exact log-density against closed forms, its estimators against their own spread, and its gradients."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy import stats
from problems import COVARIANCE, level, low_rank_mixture, plane
from scipy.stats import norm
from tables import in_float64

from scorekit import Prediction, denoisers, densities, schedules
from scorekit.likelihood import log_likelihood
from scorekit.numerics.divergence import draw_probes, with_divergence

GRID = np.linspace(1.0, 0.0, 65)  # compiles several times faster than adaptive steps
SCHEDULES = {
    "linear_vp": schedules.LinearVP,
    "cosine": schedules.Cosine,
    "edm": schedules.EDM,
    "edm_from_zero": lambda: schedules.EDM(sigma_min=0.0, sigma_max=80.0, rho=2.0),
    "rectified_flow": schedules.RectifiedFlow,
}


DATA = {
    "gaussian": plane,
    "ring": densities.ring,
    "low_rank": low_rank_mixture,
}


def exact(data, schedule, x, x_1):
    """``log p_0(x) + log prior(x_1) - log p_1(x_1)``: the model's density, whose prior is not quite ``p_1``."""
    ends = [data.marginal(*level(schedule, t)) for t in (0.0, 1.0)]
    prior = stats.norm.logpdf(x_1, scale=schedule.sigma(1.0)).sum(-1)
    return ends[0].log_density(x) + prior - ends[1].log_density(x_1)


def evaluate(name, schedule_name, n, **kwargs):
    """The result for n samples, and its error per dimension."""

    @jax.jit
    def run(key):
        data, schedule = DATA[name](), SCHEDULES[schedule_name]()
        x = data.sample(key, (n,))
        if schedule_name == "edm":  # its time 0 has a little noise, with which the density is that of the noisy data
            x = data.marginal(1.0, schedule.sigma(0.0)).sample(key, (n,))
        found = log_likelihood(denoisers.exact_denoiser(data, schedule), schedule, x, **kwargs)
        return found, jnp.abs(found.log_p - exact(data, schedule, x, found.x_1)) / data.dim

    return jax.device_get(run(jax.random.key(0)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "schedule", "n", "mean", "largest"),
    [
        ("gaussian", "edm", 40, 2e-4, 5e-3),
        ("ring", "rectified_flow", 40, 2e-4, 5e-3),  # between its modes
        ("low_rank", "linear_vp", 4, 1e-4, 1e-3),
    ],
)
def test_float32_agrees_to_a_thousandth_of_a_nat_per_dimension(data, schedule, n, mean, largest):
    found, error = evaluate(data, schedule, n)
    assert found.success
    assert found.log_p.dtype == jnp.float32
    assert error.mean() < mean
    assert error.max() < largest
    assert found.nfe < 150 or n == 40
    np.testing.assert_array_equal(found.standard_error, 0.0)
    np.testing.assert_allclose(found.log_p, found.prior + found.log_det, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "schedule", "n", "tolerance", "largest"),
    [("ring", "edm_from_zero", 5, 1e-9, 1e-7), ("low_rank", "rectified_flow", 2, 1e-8, 1e-6)],
)
@in_float64
def test_float64_agrees_to_a_millionth(data, schedule, n, tolerance, largest):
    _, error = evaluate(data, schedule, n, rtol=tolerance, atol=tolerance)
    assert error.max() < largest


def on_cosine(make, n, dtype=None, **options):
    """The result for n samples of a density on a schedule whose prior is exact; the log-density, and the samples."""

    @jax.jit
    def run(key):
        data, schedule = make(), schedules.Cosine()
        x = data.sample(key, (n,))
        x = x if dtype is None else x.astype(dtype)
        found = log_likelihood(denoisers.exact_denoiser(data, schedule), schedule, x, key=key, **options)
        return found, data.log_density(x.astype(float)), x

    return run(jax.random.key(1))


@pytest.mark.slow
@in_float64
def test_where_the_prior_is_exact_so_is_the_density_and_the_latent_of_a_gaussian():
    found, exactly, x = on_cosine(plane, 5, rtol=1e-9, atol=1e-9)
    latent = plane().flow(x, (1.0, 0.0), (0.0, 1.0))
    np.testing.assert_allclose(found.log_p, exactly, atol=1e-7)
    np.testing.assert_allclose(found.x_1, latent, atol=1e-7)
    np.testing.assert_allclose(found.prior, norm.logpdf(latent).sum(1), atol=1e-6)
    np.testing.assert_allclose(found.log_det, -0.5 * np.linalg.slogdet(COVARIANCE)[1], atol=1e-7)


@functools.cache
def over_an_interval():
    """The log-density, and what it consists of, between two times, compiled once."""

    @jax.jit
    def run(key, t_min, t_max):
        data, schedule = DATA["gaussian"](), schedules.LinearVP()
        before, after = level(schedule, t_min), level(schedule, t_max)
        x = data.marginal(*before).sample(key, (5,))
        denoiser = denoisers.exact_denoiser(data, schedule)
        found = log_likelihood(denoiser, schedule, x, t_min=t_min, t_max=t_max, rtol=1e-9, atol=1e-9)
        latent = data.flow(x, before, after)
        change = data.marginal(*before).log_density(x) - data.marginal(*after).log_density(latent)
        return found.log_p, latent, after[1], change

    return run


@pytest.mark.parametrize(("t_min", "t_max"), [(0.0, 1.0), (0.1, 0.9)])
@in_float64
def test_an_interval_of_times(t_min, t_max):
    """From t_min the density is that of the noisy data; the prior is at t_max."""
    log_p, latent, sigma, change = over_an_interval()(jax.random.key(1), t_min, t_max)
    np.testing.assert_allclose(log_p, norm.logpdf(latent, scale=sigma).sum(1) + change, atol=1e-7)


@pytest.mark.slow
def test_trees_and_chunks_and_few_traces():
    as_tree = lambda x: {"a": x[:, :1], "b": x[:, 1:, None]}

    @jax.jit
    def run(key):
        data, schedule = DATA["gaussian"](), schedules.Cosine()
        denoiser, x = denoisers.exact_denoiser(data, schedule), data.sample(key, (6,))

        @chex.assert_max_traces(n=1)
        def counted(x, t):
            chex.assert_rank(t, 0)
            return Prediction(*map(as_tree, denoiser(jnp.concatenate([x["a"], x["b"][..., 0]], axis=1), t)))

        plain = log_likelihood(denoiser, schedule, x, chunk=1)
        return plain, log_likelihood(counted, schedule, as_tree(x))

    plain, tree = jax.device_get(run(jax.random.key(0)))
    np.testing.assert_allclose(tree.log_p, plain.log_p, atol=2e-3)
    np.testing.assert_allclose(tree.x_1["b"][..., 0], plain.x_1[:, 1:], atol=1e-3)


@pytest.mark.parametrize("chunk", [1, 2, 5, 9])
def test_the_divergence_in_chunks(chunk):
    """Of a function with a known, dense Jacobian; 5 values do not fill chunks of 2 or 9."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(5, 5)).astype(np.float32)
    function = lambda y: {"a": y["a"] @ matrix[:2, :2] + y["b"] @ matrix[2:, :2], "b": jnp.sin(y["b"] @ matrix[2:, 2:])}
    y = {"a": np.ones((3, 2), np.float32), "b": np.arange(9, dtype=np.float32).reshape(3, 3)}
    probes = jax.tree.map(lambda y: rng.normal(size=(5, *y.shape)).astype(np.float32), y)
    one = jax.tree.map(lambda v: v[3], probes)
    expected = matrix[0, 0] + matrix[1, 1] + np.cos(y["b"] @ matrix[2:, 2:]) @ np.diag(matrix[2:, 2:])

    @jax.jit
    def run(y, probes, one):
        estimates = with_divergence(function, y, probes, chunk)[1]
        return with_divergence(function, y, None, chunk), estimates, jax.jvp(function, (y,), (one,))

    (value, trace), estimates, (plain, pushed) = run(y, probes, one)
    np.testing.assert_allclose(trace[:, 0], expected, rtol=1e-4)
    chex.assert_trees_all_close(value, plain, rtol=1e-6)
    assert estimates.shape == (3, 5)
    by_hand = sum(np.sum(np.multiply(a, b), axis=1) for a, b in zip(one.values(), pushed.values(), strict=True))
    np.testing.assert_allclose(estimates[:, 3], by_hand, rtol=1e-4)


def test_rademacher_probes_are_exact_for_diagonal_jacobians():
    round_one = lambda: densities.gaussian(np.array([0.3, -0.2, 0.1]), std=0.7)
    found, exactly, _ = on_cosine(round_one, 4, divergence="rademacher", num_probes=2, ts=GRID)
    np.testing.assert_allclose(found.log_p, exactly, atol=1e-4)
    np.testing.assert_allclose(found.standard_error, 0.0, atol=1e-5)


@pytest.mark.slow
def test_the_standard_error_is_that_of_the_estimate():
    """400 estimates with 16 probes each: unbiased, and spread as they say."""

    @functools.partial(jax.jit, static_argnums=1)
    def run(key, n, **kwargs):
        data, schedule = DATA["gaussian"](), schedules.Cosine()
        x = jnp.tile(data.sample(jax.random.key(0), (4,)), (100, 1))
        denoiser = denoisers.exact_denoiser(data, schedule)
        found = log_likelihood(denoiser, schedule, x, divergence="gaussian", num_probes=n, key=key, **kwargs)
        return found, data.log_density(x)

    many, exactly = jax.device_get(run(jax.random.key(1), 16))
    error = many.log_p - exactly
    variance = float(np.square(many.standard_error).mean())
    assert abs(float(error.mean())) < 5 * np.sqrt(variance / 400)
    assert float(np.square(error).mean()) == pytest.approx(variance, rel=0.3)
    assert many.nfe < 80  # probes that changed on the way would make it rough
    few = jax.device_get(run(jax.random.key(1), 4, ts=GRID)[0])
    ratio = np.square(few.standard_error).mean() / np.square(many.standard_error).mean()
    assert ratio == pytest.approx(4.0, rel=0.25)
    again = run(jax.random.key(1), 16)[0]
    np.testing.assert_array_equal(again.log_p, many.log_p)
    single = run(jax.random.key(1), 1, ts=GRID)[0]
    assert np.isnan(single.standard_error).all()


def test_probes_have_unit_covariance():
    y = {"a": np.zeros((2, 3), np.float32), "b": np.zeros((2, 2), np.float32)}
    draw = jax.jit(lambda key: [draw_probes(key, name, y, 20000) for name in ("rademacher", "gaussian")])
    for name, v in zip(("rademacher", "gaussian"), draw(jax.random.key(0)), strict=True):
        v = jax.device_get(v)
        flat = np.concatenate([v["a"][:, 0], v["b"][:, 0], v["b"][:, 1]], axis=1)
        np.testing.assert_allclose(flat.T @ flat / 20000, np.eye(7), atol=0.05)
        assert (np.abs(flat) == 1).all() == (name == "rademacher")


@pytest.mark.slow
@in_float64
def test_a_fixed_grid_is_fourth_order():
    errors = []
    for n in (24, 48):
        found, error = evaluate("gaussian", "rectified_flow", 5, ts=np.linspace(1.0, 0.0, n + 1))
        assert found.nfe == 4 * n
        errors.append(error.max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.4)
    assert errors[1] < 5e-5


@pytest.mark.slow
@in_float64
def test_gradients_with_respect_to_parameters_and_data():
    """For the exact denoiser they are those of the closed form; the prior of the cosine schedule is exact."""
    schedule = schedules.Cosine()
    x = np.array([[0.5, -1.0], [0.2, 0.1]])

    def density(params):
        return densities.gaussian(params["mean"], std=params["std"])

    def found(params, x):
        denoiser = denoisers.exact_denoiser(density(params), schedule)
        return jnp.sum(log_likelihood(denoiser, schedule, x, ts=GRID).log_p)

    exactly = lambda params, x: jnp.sum(density(params).log_density(x))
    params = {"mean": np.array([0.4, -0.3]), "std": np.array(0.6)}
    ours, theirs = jax.jit(lambda *args: [jax.grad(f, argnums=(0, 1))(*args) for f in (found, exactly)])(params, x)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@in_float64
def test_gradients_of_a_network_against_finite_differences():
    """A network of ``(x, t, label)`` under Hutchinson's estimator, with labels that are traced integers."""
    schedule = schedules.LinearVP()
    rng = np.random.default_rng(0)
    table = np.array([[0.3, -0.2], [0.1, 0.4], [0.0, 0.2]])
    params, x = 0.5 * rng.normal(size=(2, 2)), rng.normal(size=(3, 2))

    def loss(params, labels, key):
        network = lambda x, t: jnp.tanh(x @ params + jnp.asarray(table)[labels] + t)
        denoiser = denoisers.denoiser_from_network(network, schedule, "v")
        found = log_likelihood(denoiser, schedule, x, divergence="gaussian", num_probes=2, ts=GRID, key=key)
        return jnp.sum(found.log_p)

    args = np.array([0, 2, 1]), jax.random.key(2)
    value_and_grad = jax.jit(jax.value_and_grad(loss))
    direction = np.array([[1.0, -0.5], [0.3, 2.0]])
    gradient = value_and_grad(params, *args)[1]
    above, below = (float(value_and_grad(params + step * direction, *args)[0]) for step in (1e-4, -1e-4))
    assert np.sum(gradient * direction) == pytest.approx((above - below) / 2e-4, rel=1e-5)


@pytest.mark.slow
def test_vmap_over_examples():
    """One by one, where each example has its own steps."""

    @jax.jit
    def run(key):
        data, schedule = densities.ring(), schedules.Cosine()
        x, denoiser = data.sample(key, (6,)), denoisers.exact_denoiser(data, schedule)
        return jax.vmap(lambda x: log_likelihood(denoiser, schedule, x[None]))(x), data.log_density(x)

    found, exactly = run(jax.random.key(0))
    np.testing.assert_allclose(found.log_p[:, 0], exactly, atol=5e-3)
    assert len(np.unique(found.nfe)) > 1


def test_half_precision_data():
    found, exactly, _ = on_cosine(plane, 6, jnp.bfloat16, ts=GRID)
    assert (found.log_p.dtype, found.x_1.dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_allclose(found.log_p, exactly, atol=0.3)


@pytest.mark.slow
def test_log_likelihood_failure_raises():
    """Eagerly; under jit the result says so."""
    schedule, x = schedules.Cosine(), np.ones((3, 2), np.float32)
    denoiser = denoisers.denoiser_from_network(lambda x, t: jnp.sin(9.0 * x), schedule, "v")
    run = functools.partial(log_likelihood, denoiser, schedule, max_steps=4)
    with pytest.raises(RuntimeError, match="raise max_steps"):
        run(x)
    found = jax.jit(run)(x)
    assert not found.success
    assert np.isnan(found.log_p).all()
    with pytest.raises(RuntimeError, match="raise max_steps"):
        found.raise_if_failed()


def test_a_traced_grid_out_of_order_gives_nan():
    run = jax.jit(
        lambda ts: log_likelihood(lambda x, t: Prediction(x, 0 * x), schedules.Cosine(), jnp.ones((1, 2)), ts=ts)
    )
    assert np.isfinite(run(jnp.array([1.0, 0.5, 0.01])).log_p).all()
    assert np.isnan(run(jnp.array([0.01, 0.5, 1.0])).log_p).all()
