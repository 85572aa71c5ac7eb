"""Batches in blocks: the choice of their length, and the same results in any."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import Prediction, denoisers, densities, schedules
from scorekit._integration.blocks import block_length, in_blocks
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
        ((64, 2), None),
        ((65, 2), 33),
        ((130, 2), 44),
        ((400, 64), 58),
        ((400, 16, 16), 58),
        ((400, 257), None),
        ((400,), 58),
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
    data, schedule = densities.ring(), schedules.cosine()

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
