"""Batches in blocks: the choice of their length, and the same samples and exact log-densities in any."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import low_rank_mixture

from scorekit import Prediction, denoisers, densities, schedules
from scorekit.likelihood import log_likelihood
from scorekit.numerics.blocks import block_length, in_blocks
from scorekit.samplers.adaptive import adaptive_ode

LABELS = jnp.zeros(130)


def plain(x, t):
    return Prediction(x, x)


def labelled(x, t):
    return Prediction(x + LABELS[:, None], x)


def wrong(x, t):
    raise KeyError("a bug")


@pytest.fixture
def one_device(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)


def length_of(shape, denoiser=plain, block_size=None):
    return block_length(denoiser, jnp.zeros(shape), jnp.array(0.5), block_size)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((80, 2), None),
        ((81, 2), 41),
        ((170, 2), 57),
        ((400, 64), 80),
        ((400, 16, 16), 80),
        ((400, 257), None),
        ((400,), 80),
    ],
)
def test_small_examples_are_divided_on_one_cpu_device(one_device, shape, expected):
    assert length_of(shape) == expected


def test_the_whole_batch_for_labels_other_platforms_several_devices_and_unequal_leaves(one_device, monkeypatch):
    assert length_of((130, 2), labelled) is None
    assert length_of((130, 2), wrong) is None  # its error is that of the whole batch
    assert block_length(plain, {"a": jnp.zeros(130), "b": jnp.zeros(70)}, jnp.array(0.5), None) is None
    assert block_length(plain, jnp.array(0.0), jnp.array(0.5), None) is None
    with monkeypatch.context() as patch:
        patch.setattr(jax, "device_count", lambda: 4)
        assert length_of((130, 2)) is None
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert length_of((130, 2)) is None
    assert length_of((130, 2), block_size=64) == 44


@pytest.mark.parametrize(("block_size", "expected"), [(1, 1), (3, 3), (4, 4), (6, 5), (9, 5), (10, None), (99, None)])
def test_a_given_size_is_divided_equally(block_size, expected):
    assert length_of((10, 2), wrong, block_size) == expected


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, None])
def test_blocks_that_do_not_divide_the_batch(length):
    x = {"a": jnp.arange(10.0).reshape(5, 2), "b": jnp.arange(5)}
    double, shared = in_blocks(lambda x: (jax.tree.map(lambda leaf: 2 * leaf, x), jnp.array(1)), x, length)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, 2 * b), double, x)
    assert shared.shape == (1 if length is None else -(-5 // length),)


@functools.cache
def solver():
    data, schedule = densities.ring(), schedules.Cosine()

    @functools.partial(jax.jit, static_argnums=1)
    def solve(x, block_size):
        denoiser, save_at = denoisers.exact_denoiser(data, schedule), jnp.array([0.7, 0.2])
        return adaptive_ode(denoiser, schedule, x, rtol=1e-6, atol=1e-6, save_at=save_at, block_size=block_size)

    return jax.random.normal(jax.random.key(2), (7, 2)), solve


@pytest.mark.slow
def test_the_sampler_in_blocks():
    """The same states and saved states within the tolerance; the statistics are those of the longest block."""
    x, solve = solver()
    whole, blocks = solve(x, None), solve(x, 3)
    alone = [solve(jnp.concatenate([x, x[:2]])[3 * i : 3 * i + 3], None) for i in range(3)]
    # of two programs, the rounding may differ and with it a step that is near the tolerance
    np.testing.assert_allclose(blocks.x, jnp.concatenate([a.x for a in alone])[:7], atol=5e-5)
    np.testing.assert_allclose(blocks.x, whole.x, atol=2e-3)
    np.testing.assert_allclose(blocks.saved, whole.saved, atol=2e-3)
    assert blocks.saved.shape == (2, 7, 2)
    longest = max(alone, key=lambda a: int(a.nfe))
    np.testing.assert_allclose(blocks[2:4], longest[2:4], rtol=0.03)
    assert blocks.success


# ---- the exact log-density in blocks ---------------------------------------------------------------------------------

SCHEDULE = schedules.Cosine()  # its prior is exact, and so is the density of the model
GRID = np.linspace(1.0, 0.0, 33)


IN_1D = [densities.gaussian(jnp.array([m]), std=0.4) for m in (-1.0, 1.5)]
DATA = {  # with bounds of the mean error in nats (measured: 2e-5, 6e-5, 9e-4) and of the evaluations
    "mixture-1d": (lambda: densities.mixture([0.3, 0.7], IN_1D), 1e-4, 80),
    "ring-2d": (densities.ring, 3e-4, 128),
    "mixture-64d": (functools.partial(low_rank_mixture, 1.0), 3e-3, 134),
}


@functools.cache
def likelihood_of(name):
    data = DATA[name][0]()

    @functools.partial(jax.jit, static_argnums=1)
    def run(x, block_size):
        denoiser = denoisers.exact_denoiser(data, SCHEDULE)
        return log_likelihood(denoiser, SCHEDULE, x, block_size=block_size)

    return data, run


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA)
def test_closed_forms_in_blocks_that_do_not_divide_the_batch(name):
    """At a tolerance of 1e-5."""
    _, error, nfe = DATA[name]
    data, run = likelihood_of(name)
    x = jax.jit(data.sample, static_argnums=1)(jax.random.key(0), (10,))
    blocks, whole = run(x, 4), run(x, None)
    exactly = data.log_density(x)
    for found in (blocks, whole):
        assert found.success
        assert jnp.abs(found.log_p - exactly).mean() < error
        assert found.nfe <= nfe
    np.testing.assert_allclose(blocks.x_1, whole.x_1, atol=2e-3)
    assert blocks.log_p.shape == (10,)


def on_a_grid(key, x, mean, block_size, **kwargs):
    denoiser = denoisers.exact_denoiser(densities.gaussian(mean, covariance=np.diag([0.5, 0.8])), SCHEDULE)
    return log_likelihood(denoiser, SCHEDULE, x, ts=GRID, block_size=block_size, key=key, **kwargs)


@pytest.mark.slow
def test_probes_and_steps_of_a_grid_do_not_depend_on_blocks():
    x, mean = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32), np.ones(2, np.float32)
    run = functools.partial(on_a_grid, divergence="gaussian", num_probes=3)
    run = jax.jit(run, static_argnums=3)
    whole, blocks = run(jax.random.key(0), x, mean, None), run(jax.random.key(0), x, mean, 2)
    assert float(whole.standard_error.min()) > 1e-3
    chex.assert_trees_all_close(blocks, whole, rtol=2e-5, atol=2e-5)


@pytest.mark.slow
def test_gradients_and_vmap_through_blocks():
    x, mean = np.random.default_rng(0).normal(size=(2, 5, 2)).astype(np.float32), np.ones(2, np.float32)
    total = lambda x, mean, size: jnp.sum(jax.vmap(lambda x: on_a_grid(None, x, mean, size).log_p)(x))
    expected = jax.grad(
        lambda x, mean: jnp.sum(densities.gaussian(mean, covariance=np.diag([0.5, 0.8])).log_density(x))
    )
    gradient = jax.jit(jax.grad(total, argnums=(0, 1)), static_argnums=2)(x, mean, 2)
    np.testing.assert_allclose(gradient[0], expected(x, mean), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(gradient[1], -gradient[0].sum((0, 1)), rtol=1e-3)


@pytest.mark.slow
def test_blocks_of_a_batch_that_is_sharded():
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    x = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    over = jax.device_put(x, jax.NamedSharding(mesh, jax.sharding.PartitionSpec("data")))
    run = jax.jit(on_a_grid, static_argnums=3)
    mean = np.ones(2, np.float32)
    expected = run(None, x, mean, None).log_p
    for size in (None, 3):
        np.testing.assert_allclose(run(None, over, mean, size).log_p, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("conditional", [True, False])
def test_small_examples_are_divided_unless_the_denoiser_has_a_value_for_each(monkeypatch, conditional):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    x, lengths = np.random.default_rng(0).normal(size=(90, 2)).astype(np.float32), []

    def run(mean):
        def denoiser(x, t):  # exact, for a standard deviation of 0.5
            lengths.append(len(x))
            alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
            residual = (x - alpha * mean) / (0.25 * alpha**2 + sigma**2)
            return Prediction(mean + 0.25 * alpha * residual, sigma * residual)

        return log_likelihood(denoiser, SCHEDULE, x, ts=GRID)

    mean = np.where(np.arange(90)[:, None] % 2, 1.0, -1.0) if conditional else np.ones(2)
    found = jax.jit(run)(mean)
    assert lengths == ([45, 90] if conditional else [45, 45])
    exactly = densities.gaussian(jnp.zeros(2), std=0.5).log_density(jnp.asarray(x - mean))
    np.testing.assert_allclose(found.log_p, exactly, atol=1e-3)
