"""Structure at equal compute, and the students of a WaveNet: operations, distances, loudness by temperature."""

import jax.numpy as jnp
import numpy as np
import pytest
from programs import give

RATE, LENGTH = 8000, 512
RNG = np.random.default_rng(0)
TONES = np.float32(0.3) * np.sin(2 * np.pi * np.array([[440], [660]]) * np.arange(LENGTH) / RATE, dtype=np.float32)
NOISE = np.float32(0.1) * RNG.normal(size=(2, LENGTH)).astype(np.float32)


@pytest.fixture
def program(load_program):
    """A program of this project with its default flags."""

    def load(name):
        module = load_program(f"experiments.projects.audio.sound.{name}")
        give()
        return module

    return load


def test_methods_share_their_operations_on_the_same_data(program, tmp_path):
    hierarchy = program("equal_compute")
    x, w = jnp.ones((4, 32)), jnp.ones((32, 16))
    assert hierarchy.operations(jnp.matmul, x, w) == 2 * 4 * 32 * 16
    loss = lambda w, batch: (jnp.square(batch["x"] @ w).sum(1), {})
    found = hierarchy.step_operations(lambda key, batch: batch, loss, w, {"x": np.ones((4, 32))})
    assert 2 * 2 * 4 * 32 * 16 <= found <= 1.2 * 2 * 2 * 4 * 32 * 16  # forward, and backward to w alone
    for parts in hierarchy.METHODS.values():
        assert sum(parts.values()) == pytest.approx(1.0)
        configs = [hierarchy.config_of(part, tmp_path) for part in parts]
        assert {(c.training.batch_size, c.data.set) for c in configs} == {(8, "soundfont_phrases/4khz")}


def test_loudness_by_temperature_and_power_over_time(program):
    distillation = program("distillation")
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
