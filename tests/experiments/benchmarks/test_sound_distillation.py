"""The students of a WaveNet of sounds: their objectives, and loudness by temperature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks.sound import distillation
from scorekit import audio, autoregressive
from scorekit.networks import CausalWaveNet, flows

RATE, LENGTH = 8000, 512
RNG = np.random.default_rng(0)
N = np.arange(LENGTH)
TONES = np.float32(0.3) * np.sin(2 * np.pi * np.array([[440], [660]]) * N / RATE, dtype=np.float32)
NOISE = np.float32(0.1) * RNG.normal(size=(2, LENGTH)).astype(np.float32)


def test_loudness_and_flatness():
    np.testing.assert_allclose(distillation.loudness(TONES), 10 * np.log10(0.3**2 / 2), atol=0.05)
    flat = distillation.flatness(jnp.asarray(np.concatenate([TONES, RNG.normal(size=(200, LENGTH))])))
    assert (flat[:2] < 0.01).all()
    assert abs(flat[2:].mean() - np.exp(-np.euler_gamma)) < 0.02  # of exponential powers
    half = distillation.measure(0.5 * TONES, jnp.asarray(TONES), RATE)
    np.testing.assert_allclose(half[:2], [20 * np.log10(0.5), 20 * np.log10(2)], atol=1.5)
    np.testing.assert_allclose(distillation.measure(TONES, jnp.asarray(TONES), RATE), 0.0, atol=1e-4)


def test_power_is_averaged_over_time_and_relative():
    noise = jnp.asarray(RNG.normal(size=(2, 4096, 1)), jnp.float32)
    np.testing.assert_allclose(distillation.power_distance(2 * noise, noise), (4 - 1) ** 2, rtol=1e-3)
    np.testing.assert_allclose(distillation.power_distance(0 * noise, noise), 1.0, rtol=1e-3)
    np.testing.assert_allclose(distillation.power_distance(noise[:, ::-1], noise), 0, atol=0.1)
    assert (distillation.power_distance(0 * noise, 0 * noise) == 0).all()


def test_temperature_of_tones_and_noise():
    silence = np.zeros((3, LENGTH), np.float32)
    truth = jnp.asarray(np.concatenate([NOISE[:1], silence, TONES, NOISE[1:]]))
    quieter = jnp.array([1, 1, 1, 1, 0, 0, 1])[:, None]  # what is drawn of noise has the power T
    draw = lambda temperature: (truth * jnp.sqrt(temperature) ** quieter)[..., None]
    table = distillation.by_temperature(draw, truth, RATE)
    expected = [[f"temperature {t:g}", 0.0, 10 * np.log10(t)] for t in distillation.TEMPERATURES]
    for row, (name, tones, noise) in zip(table.rows, expected, strict=True):
        assert row[0] == name
        np.testing.assert_allclose([row[1], row[3]], [tones, noise], atol=1e-3)


@pytest.mark.slow
def test_objectives_of_a_student():
    teacher = CausalWaveNet(outputs=2, channels=4, layers=1, cycle=1, map_size=2)
    sizes = {"layers": 1, "channels": 4, "depth": 1, "cycle": 1, "map_size": 2}
    student = flows.AutoregressiveFlow(parallel="sampling", alternate=False, **sizes)
    x, rows = jnp.asarray(TONES[..., None]), jnp.asarray(RNG.normal(size=(2, LENGTH, 2)), jnp.float32)
    random = lambda init: jax.tree.map(lambda s: jnp.asarray(0.3 * RNG.normal(size=s.shape), s.dtype), init)
    of_teacher = random(jax.eval_shape(lambda: teacher.init(jax.random.key(0), x, dense_map=rows)))
    params = random(jax.eval_shape(lambda: student.init(jax.random.key(0), x, dense_map=rows)))
    key = jax.random.key(1)

    distance = lambda y, x: audio.multi_resolution_stft_loss(y[..., 0], x[..., 0], RATE)

    def losses(params):
        loss = lambda *given: distillation.student_loss(student, teacher, of_teacher, *given)(params, key, x, rows)
        return [loss(1.0, None), loss(0.0, distance), loss(2.0, distance)]

    divergence, spectra, both = jax.jit(losses)(params)
    np.testing.assert_allclose(both, 2 * divergence + spectra, rtol=1e-5)
    model = autoregressive.model_from_network(teacher, of_teacher, autoregressive.Normal(), dense_map=rows)
    z = jax.random.normal(key, x.shape)
    drawn, log_scale = student.apply(params, z, None, None, rows, method="scales")
    expected = audio.multi_resolution_stft_loss(drawn[..., 0], x[..., 0], RATE).mean()
    np.testing.assert_allclose(spectra, expected, rtol=1e-4)
    nats = autoregressive.density_distillation_loss(model, drawn, z, log_scale, distillation.REGULARISATION)
    np.testing.assert_allclose(divergence, nats.mean() / LENGTH, rtol=1e-4)
