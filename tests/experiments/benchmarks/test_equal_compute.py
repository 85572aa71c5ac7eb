"""Structure at equal compute: operations, fractions, and distances of sets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags


@pytest.fixture
def hierarchy(load_program):
    program = load_program("experiments.benchmarks.sound.__main__")
    flags.FLAGS(["sound"])
    return program.equal_compute


def test_operations_are_multiplications_and_additions(hierarchy):
    x, w = jnp.ones((4, 32)), jnp.ones((32, 16))
    assert hierarchy.operations(jnp.matmul, x, w) == 2 * 4 * 32 * 16
    found = hierarchy.step_operations(
        lambda key, batch: batch, lambda w, batch: (jnp.square(batch["x"] @ w).sum(1), {}), w, {"x": np.ones((4, 32))}
    )
    assert 2 * 2 * 4 * 32 * 16 <= found <= 1.2 * 2 * 2 * 4 * 32 * 16  # forward, and backward to w alone


def test_shares_of_every_method_sum_to_one_on_the_same_data(hierarchy, tmp_path):
    for method, parts in hierarchy.PARTS.items():
        assert sum(hierarchy.SHARES[part] for part in parts) == pytest.approx(1.0), method
        for part in parts:
            config = hierarchy.config_of(part, tmp_path, flags.FLAGS)
            assert config.training.batch_size == 8
            assert config.data.name == "soundfont_phrases/4khz"


@pytest.mark.slow
def test_distances_are_zero_for_the_same_set_and_large_for_noise(hierarchy):
    rng = np.random.default_rng(0)
    beat = np.zeros((12, 16384), np.float32)
    for i, x in enumerate(beat):
        period = 1500 + 60 * i
        x[:] = 0.4 * np.sin(2 * np.pi * (220 + 20 * i) * np.arange(16384) / 4000) * (np.arange(16384) % period < 400)
    found = hierarchy.statistics(beat, 4000)
    noise = hierarchy.statistics(0.1 * rng.normal(size=beat.shape).astype(np.float32), 4000)
    shapes = {name: values.shape for name, values in found.items()}
    assert shapes == {"rhythm": (12, 16), "harmony": (12, 12), "timbre": (12, 96)}
    near, far = hierarchy.distances(found, found), hierarchy.distances(noise, found)
    for name in near:
        assert abs(near[name]) < 1e-2 * far[name], name
        assert far[name] > 0.1


def test_figures_plot_the_mean_statistics_by_lag(hierarchy, tmp_path):
    rows = {"a": {"rhythm": np.ones((3, 16)), "harmony": np.ones((3, 12)), "timbre": np.ones((3, 96))}}
    first, second = hierarchy.figures(tmp_path / "structure.png", rows)
    assert first.path != second.path
    assert all(jax.tree.map(lambda f: f.path.stat().st_size > 0, [first, second], is_leaf=lambda f: hasattr(f, "path")))
