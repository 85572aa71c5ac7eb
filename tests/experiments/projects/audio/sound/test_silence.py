"""``silence``: the most likely clip is not typical, on densities where both are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.tasks.diffusion.guidance import NO_EXTRAS
from experiments.tasks.diffusion.model import Model
from experiments.tasks.diffusion.objectives import Denoising
from experiments.tasks.task import Run
from scorekit import densities, predictions, schedules, times, weightings
from scorekit.io.preconditioning import LogSNRInput

DIM = 64


@pytest.fixture
def silence(load_program):
    return load_program("experiments.projects.audio.sound.silence")


@pytest.fixture(scope="module")
def gaussian():
    return densities.gaussian(jnp.zeros(DIM), std=0.5)


def draws(seed, n):
    """Draws of the Gaussian."""
    return (0.5 * np.random.default_rng(seed).normal(size=(n, DIM))).astype(np.float32)


@pytest.mark.slow
def test_zeros_are_more_likely_than_a_gaussian_and_atypical(silence, gaussian):
    log_density = jax.jit(gaussian.log_density)
    log_p = lambda x: np.asarray(log_density(x))
    batches = {"in distribution": log_p(draws(2, 16)), "zeros": log_p(np.zeros((16, DIM), np.float32))}
    train, calibration = log_p(draws(0, 2000)), log_p(draws(1, 500))
    found = silence.typicality_tests(jax.random.key(0), train, calibration, batches)
    entropy = float(gaussian.entropy())
    assert found["zeros"].log_p == pytest.approx(-entropy + DIM / 2, abs=1e-2)
    assert found["zeros"].log_p > batches["in distribution"].max()
    assert found["zeros"].statistic == pytest.approx(DIM / 2, abs=0.5)
    assert found["zeros"].p_value == pytest.approx(1 / 10_001)
    assert found["zeros"].rejected
    assert not found["in distribution"].rejected
    assert found["in distribution"].p_value > 0.05


def test_log_densities_of_clips_are_independent_of_the_block_size(silence):
    log_density = jax.jit(lambda key, x: jnp.sum(x, axis=1) + 0.0 * jax.random.normal(key))
    x = np.arange(14.0, dtype=np.float32).reshape(7, 2)
    np.testing.assert_allclose(silence.of_clips(log_density, jax.random.key(0), x, 3), x.sum(axis=1))


class Exact:
    """The exact network of the Gaussian: its x0 is ``alpha v x_t / (alpha^2 v + sigma^2)``."""

    def apply(self, params, x, log_snr, labels=None):
        del params, labels
        alpha, sigma = (jnp.sqrt(jax.nn.sigmoid(sign * 4.0 * log_snr)) for sign in (1.0, -1.0))
        alpha, sigma = (jnp.reshape(a, (-1, 1)) for a in (alpha, sigma))
        return alpha * 0.25 * x / (alpha**2 * 0.25 + sigma**2)


@pytest.mark.slow
def test_noisy_log_density_is_that_of_the_noisy_gaussian(silence, gaussian):
    class Data:
        shape = (DIM,)

        def to_model(self, x):
            return jnp.asarray(x)

    schedule = schedules.cosine()
    objective = Denoising(times.uniform(), weightings.eps)
    model = Model(Exact(), schedule, predictions.TARGETS["x0"], LogSNRInput(), None, 1, (DIM,), {}, objective)
    run = Run(Data(), model, None, {}, 0, NO_EXTRAS)
    log_density = silence.noisy_log_density(run, 0.2, 32)
    x = draws(3, 2000)
    t_min = schedule.time_at(-2.0 * np.log(0.2))
    noisy = gaussian.marginal(schedule.alpha(t_min), schedule.sigma(t_min))
    found = silence.of_clips(log_density, jax.random.key(0), x, 500)
    assert found.mean() == pytest.approx(-float(noisy.entropy()), abs=0.5)
    silent = silence.of_clips(log_density, jax.random.key(1), np.zeros((500, DIM), np.float32), 500)
    sigma, total = float(schedule.sigma(t_min)), float(noisy.entropy())
    std = np.exp(total / DIM - 0.5 * np.log(2 * np.pi * np.e))
    expected = -DIM * (0.5 * np.log(2 * np.pi) + np.log(std) + 0.5 * (sigma / std) ** 2)
    assert silent.mean() == pytest.approx(expected, abs=0.3)
    assert silent.mean() > found.mean() + DIM / 4
