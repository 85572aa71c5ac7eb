"""The students of a WaveNet: loudness by temperature, and the distance of power over time."""

import jax.numpy as jnp
import numpy as np

RATE, LENGTH = 8000, 512
RNG = np.random.default_rng(0)
TONES = np.float32(0.3) * np.sin(2 * np.pi * np.array([[440], [660]]) * np.arange(LENGTH) / RATE, dtype=np.float32)
NOISE = np.float32(0.1) * RNG.normal(size=(2, LENGTH)).astype(np.float32)


def test_loudness_by_temperature_and_power_over_time(load_program):
    distillation = load_program("experiments.projects.audio.sound.distillation")
    silence = np.zeros((3, LENGTH), np.float32)
    truth = jnp.asarray(np.concatenate([NOISE[:1], silence, TONES, NOISE[1:]]))
    quieter = jnp.array([1, 1, 1, 1, 0, 0, 1])[:, None]  # what is drawn of noise has the power T
    draw = lambda temperature: (truth * jnp.sqrt(temperature) ** quieter)[..., None]
    for row, t in zip(distillation.by_temperature(draw, truth, RATE).rows, distillation.TEMPERATURES, strict=True):
        np.testing.assert_allclose([row[1], row[3]], [0.0, 10 * np.log10(t)], atol=1e-3)
    half = distillation.measure(0.5 * TONES, jnp.asarray(TONES), RATE)
    np.testing.assert_allclose(half[:2], [20 * np.log10(0.5), 20 * np.log10(2)], atol=1.5)
    noise = jnp.asarray(RNG.normal(size=(2, 4096, 1)), jnp.float32)
    np.testing.assert_allclose(distillation.power_distance(2 * noise, noise), (4 - 1) ** 2, rtol=1e-3)
    np.testing.assert_allclose(distillation.power_distance(noise[:, ::-1], noise), 0, atol=0.1)
