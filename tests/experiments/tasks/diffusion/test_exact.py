"""The exact likelihood of a run in bits per dimension: of a network without output it is that of white noise."""

import math

import jax
import numpy as np
import pytest

from experiments import data
from experiments.configs.images import digits
from experiments.configs.points import mixture_2d
from experiments.tasks.diffusion.build import build_model
from experiments.tasks.diffusion.metrics.exact import exact_bits, likelihood_ends
from scorekit import schedules


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


@pytest.mark.parametrize("deviations", [4.0, 8.0])
def test_discrete_data_begin_where_a_bin_is_so_many_deviations_of_the_noise_wide(deviations):
    schedule = schedules.LinearVP()
    first, last = likelihood_ends(schedule, 256, deviations)
    assert deviations * schedule.sigma(first) / schedule.alpha(first) == pytest.approx(2 / 255, rel=1e-2)
    assert last == likelihood_ends(schedule, None)[1] == 0.999
