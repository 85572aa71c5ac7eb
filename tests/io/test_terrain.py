"""A published consistency model of terrains: parity with onnxruntime, and samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import wheels

from scorekit.denoisers import denoiser_from_network
from scorekit.io.formats import terrain
from scorekit.io.tensors import Tensors
from scorekit.samplers import sample
from scorekit.schedules import EDM
from scorekit.solvers import MultistepConsistency

pytestmark = pytest.mark.external
VERSION = "0.4.2"
MEMBER = "terrain_diffusion/weights/terrain_consistency_unet_difficulty100.onnx"


@pytest.fixture(scope="module")
def path(request):
    pytest.importorskip("onnx")
    return wheels.unpack(request.config, "adaptive-terrain-diffusion", VERSION) / MEMBER


@pytest.fixture(scope="module")
def model(path):
    network, params, embed = terrain.convert(Tensors(terrain.read(path)))
    f = jax.jit(lambda params, x, sigma, vector: terrain.end_of_path(network, params, x, sigma, vector))
    return lambda x, sigma, difficulty: f(params, x, sigma, embed(difficulty))


def test_output_is_that_of_onnxruntime_at_seven_noise_levels(model, path):
    session = pytest.importorskip("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    sigma, difficulty = np.geomspace(0.002, 80, 7, dtype=np.float32), np.linspace(0, 1, 7, dtype=np.float32)
    x = np.hypot(0.25, sigma)[:, None, None, None] * random.normal(size=(7, 128, 128, 1))
    x = x.astype(np.float32)
    given = {"noisy": np.moveaxis(x, -1, 1), "sigma": sigma, "difficulty": difficulty}
    expected = np.moveaxis(session.run(["denoised"], given)[0], 1, -1)
    error = np.abs(model(x, sigma, difficulty) - expected).max((1, 2, 3)) / np.abs(expected).max((1, 2, 3))
    assert error.max() < 1e-4


def test_samples_are_smooth_and_higher_where_the_difficulty_is_higher(model):
    schedule, difficulty = EDM(sigma_min=0.0), np.linspace(0, 1, 7, dtype=np.float32)
    network = lambda x, t: model(x, jnp.full(7, schedule.sigma(t)), difficulty)
    noise = 80 * jax.random.normal(jax.random.key(1), (7, 128, 128, 1))
    denoiser, ts = denoiser_from_network(network, schedule, "x0"), jnp.array([1.0, 0.0])
    x = np.asarray(sample(denoiser, schedule, MultistepConsistency(), noise, ts, key=jax.random.key(0)))
    slope = np.abs(np.diff(x, axis=1)).mean((1, 2, 3))
    assert slope.max() < 0.05  # noise of the standard deviation of these terrains has about 0.3
    assert x.mean((1, 2, 3))[-2:].mean() > x.mean((1, 2, 3))[:2].mean() + 0.05
