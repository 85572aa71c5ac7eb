"""The exact likelihood of a run in bits per dimension: of a network without output it is that of white noise."""

import math

import jax
import numpy as np
import pytest
from programs import changed

from experiments import data
from experiments.configs.images import digits
from experiments.configs.points import mixture_2d
from experiments.tasks.diffusion.build import build_model
from experiments.tasks.diffusion.metrics.exact import exact_bits
from experiments.tasks.diffusion.report import by_map_picture


def found_of(config):
    dataset = data.build(config)
    model = build_model(config, dataset)
    return exact_bits(config, model, dataset, model.init(jax.random.key(0))), dataset


@pytest.mark.slow
@pytest.mark.parametrize("config", [digits.get_config("dit"), mixture_2d.get_config()], ids=["digits", "ring"])
def test_without_output_the_flow_of_v_stands_still(config):
    """``v = 0`` of a cosine schedule: no point moves, and the density is that of the prior."""
    config.unlock()
    config.loss.target.name, config.schedule.name = "v", "cosine"
    config.evaluation.update(exact_examples=70, exact_tolerance=1e-3)
    if config.data.name == "sklearn_digits":
        config.network.update(width=16, depth=1, heads=1)
    found, dataset = found_of(config)
    x = np.asarray(dataset.to_model(dataset.test["x"][:70])).reshape(70, -1)
    width = 2 / (dataset.bins - 1) if dataset.bins else 0.0
    nats = 0.5 * math.log(2 * math.pi) + 0.5 * (x**2 + width**2 / 12)
    bits = nats.mean() / math.log(2) - (math.log2(width) if dataset.bins else 0.0)
    assert abs(found.total - bits) < 0.01
    assert found.dequantisation == ("uniform" if dataset.bins else "none")
    assert found.offset == pytest.approx(math.log2(dataset.bins / 2) if dataset.bins else 0.0)
    assert found.examples == 70


@pytest.mark.slow
def test_a_map_without_output_stands_still_in_any_number_of_jumps(tmp_path):
    """``u = 0`` of ``rectified_flow``: the jumps and the ODE of the same network agree."""
    network = "network.features=8", "network.blocks=1", "loss.divergence=0.1"
    config = changed(
        mixture_2d.get_config("shortcut"), *network, "evaluation.exact_examples=20", "evaluation.step_counts=1,3"
    )
    found, _ = found_of(config)
    assert list(found.by_map.rows) == ["1 jump", "3 jumps"]
    for values in found.by_map.by_map:
        np.testing.assert_allclose(values, found.by_map.exact, atol=1e-4)
    assert found.values()["3 jumps/bits/dim"] == pytest.approx(found.total, abs=1e-4)
    assert found.values()["inversion error"] < 1e-5
    by_map = found.by_map
    assert by_map_picture(tmp_path / "by_map.png", by_map.rows, by_map.exact, by_map.by_map).stat().st_size > 1000
