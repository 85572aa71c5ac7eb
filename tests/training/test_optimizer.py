"""The learning rate schedule, clipping, AdamW, weight decay and Muon against their formulas."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.training import learning_rate_schedule, make_optimizer


@pytest.mark.parametrize(("rate", "warmup", "total", "final"), [(2.0, 10, 110, 0.25), (0.3, 0, 10, 1.0)])
def test_schedule_values(rate, warmup, total, final):
    n = np.arange(130)
    rising = np.minimum(1, (n + 1) / max(warmup, 1))  # the first rate is not zero
    progress = np.clip((n - warmup) / (total - warmup), 0, 1)
    expected = rate * rising * (final + (1 - final) * (1 + np.cos(np.pi * progress)) / 2)
    np.testing.assert_allclose(learning_rate_schedule(rate, warmup, total, final)(n), expected, rtol=1e-5)


def test_inverse_square_root():
    n = np.arange(1000)
    rate = learning_rate_schedule(2.0, 10, 50, decay_start=100)(n)
    expected = 2.0 * np.minimum(1, (n + 1) / 10) / np.sqrt(np.maximum(n / 100, 1))
    np.testing.assert_allclose(rate, expected, rtol=1e-5)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.7)])
def test_clips_by_the_global_norm_before_adam(betas):
    rate, (b1, b2) = 0.1, betas
    optimizer = make_optimizer(rate, 0, 10, final_fraction=1.0, clip_norm=1.0, betas=betas)
    params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    m, v = np.zeros(2), np.zeros(2)
    for n, g in enumerate([np.array([3.0, 4.0]), np.array([0.3, -0.4])], start=1):
        updates, state = update({"a": jnp.array(g[:1]), "b": jnp.array(g[1:])}, state, params)
        g = g / max(1.0, np.linalg.norm(g))
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        expected = -rate * (m / (1 - b1**n)) / (np.sqrt(v / (1 - b2**n)) + 1e-8)
        np.testing.assert_allclose([updates["a"][0], updates["b"][0]], expected, rtol=1e-4)


def test_weight_decay_acts_on_kernels_only():
    optimizer = make_optimizer(0.1, 0, 10, final_fraction=1.0, weight_decay=0.5)
    params = {"kernel": 2 * jnp.ones((2, 2)), "bias": 2 * jnp.ones(2)}
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.1 * 0.5 * 2, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0)


def newton_schulz(matrix):
    """Five Newton-Schulz steps on the wide orientation."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / np.linalg.norm(x)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


@pytest.mark.parametrize("shape", [(6, 4), (3, 3, 2, 4), (1, 3, 8)])
def test_muon_updates_kernels_by_orthogonalised_momentum(shape):
    rate, beta = 0.1, 0.95
    optimizer = make_optimizer(rate, 0, 10, final_fraction=1.0, clip_norm=None, name="muon")
    params = {"params": {"conv": {"kernel": jnp.ones(shape)}}}
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    rng, momentum = np.random.default_rng(0), 0.0
    for _ in range(3):
        g = rng.normal(size=shape)
        updates, state = update({"params": {"conv": {"kernel": jnp.asarray(g, jnp.float32)}}}, state, params)
        momentum = beta * momentum + g
        orthogonal = newton_schulz((beta * momentum + g).reshape(-1, shape[-1]))  # Nesterov
        expected = -rate * orthogonal * np.sqrt(max(orthogonal.shape))
        found = updates["params"]["conv"]["kernel"]
        np.testing.assert_allclose(np.reshape(found, orthogonal.shape), expected, rtol=2e-3, atol=2e-4)
        assert np.sqrt(np.mean(np.square(found))) == pytest.approx(rate, rel=0.3)  # for any shape


def test_the_root_mean_square_of_muon_is_in_the_stated_range():
    low, high = map(float, re.findall(r"(0\.\d+) to (\d\.\d+)", make_optimizer.__doc__)[0])
    angles = np.arctan(np.geomspace(1 / 500, 1, 1000))  # the singular values are a cosine and a sine
    values = [np.diag(newton_schulz(np.diag([np.cos(a), np.sin(a)]))) for a in angles]
    assert low <= np.min(values) < low + 0.01
    assert high - 0.01 < np.max(values) <= high


@pytest.mark.parametrize(("x64", "error"), [(False, 1e-2), (True, 1e-8)])
def test_muon_of_rank_deficient_and_zero_gradients(x64, error):
    """The null space is preserved, and small singular values are not lost in the rounding of their squares.

    In float32 that rounding, 6e-8 of the largest square, is a third of the smallest square of the first case, which
    five steps amplify 485-fold: the error is 1e-3 typically and up to 4e-3 over 200 draws, by the order of the sums.
    Without the smallest value, the first update would differ by 0.3.
    """
    optimizer = make_optimizer(1.0, 0, 10, final_fraction=1.0, clip_norm=None, name="muon")
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.normal(size=(n, 8)))[0] for n in (40, 8))
    for values in (10.0 ** -np.arange(0, 4, 0.5), [1.0, 0.5] + 6 * [0.0], 8 * [0.0]):
        g = (u * values) @ v.T
        with jax.enable_x64(x64):
            params = {"kernel": jnp.zeros(g.shape)}
            updates, _ = optimizer.update({"kernel": jnp.asarray(g)}, optimizer.init(params), params)
        expected = newton_schulz(g) if np.any(g) else g
        np.testing.assert_allclose(updates["kernel"], -np.sqrt(40) * expected, atol=error)


@pytest.mark.slow
def test_muon_updates_other_parameters_by_adamw():
    """Biases, embeddings and the layers of the conditioning are updated as by AdamW, other kernels are not."""
    hidden = {"conv": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "labels": {"embedding": jnp.ones((2, 3))}}
    conditioning = {"conditioning": {"noise_in": {"kernel": jnp.ones((2, 3))}}, "film_0": {"kernel": jnp.ones((2, 3))}}
    params = {"params": {**hidden, **conditioning}}
    keys = iter(jax.random.split(jax.random.key(0), 9))
    gradient = jax.tree.map(lambda p: jax.random.normal(next(keys), p.shape), params)
    updated = {}
    for name in ("adamw", "muon"):
        optimizer = make_optimizer(0.1, 0, 10, weight_decay=0.5, name=name)
        updated[name], _ = optimizer.update(gradient, optimizer.init(params), params)
    differ = jax.tree.map(lambda a, m: bool(jnp.any(a != m)), updated["adamw"], updated["muon"])
    assert differ["params"].pop("conv") == {"kernel": True, "bias": False}
    assert not any(jax.tree.leaves(differ))
