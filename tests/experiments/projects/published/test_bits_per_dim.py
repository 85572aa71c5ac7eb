"""Bits per dimension of weights that are no run: those of a network without output, and what does not fit them."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import succeeds

from experiments import data
from experiments.cli.config import ConfigError
from experiments.configs.images import digits
from scorekit import io, schedules
from scorekit.io.preconditioning import LogSNRInput, Preconditioning
from scorekit.networks import DiT
from scorekit.predictions import as_target

CONFIG = "experiments/configs/images/digits.py:dit"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A transformer that predicts v = 0, with classes: nothing moves, and the density is that of the prior."""
    folder = tmp_path_factory.mktemp("weights")
    module = DiT(width=16, depth=1, heads=1, patch=4, num_classes=10)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), jnp.zeros(1), jnp.zeros(1, jnp.int32))
    meaning = Preconditioning(schedules.Cosine(), as_target("v"), LogSNRInput())
    io.export(folder / "it", io.Loaded(module, params, meaning, shape=(8, 8, 1)), {})
    return folder / "it"


@pytest.mark.slow
def test_the_figures_of_foreign_weights_are_those_of_their_density(weights, tmp_path):
    out = tmp_path / "found.json"
    given = ["evaluation.exact_examples=20", "evaluation.exact_tolerance=1e-3", "evaluation.bound_times=4"]
    options = [f"--config.{field}" for field in given]
    printed = succeeds(
        "projects.published.bits_per_dim", f"--weights={weights}", f"--config={CONFIG}", *options, f"--out={out}"
    )
    dataset = data.build(digits.get_config("dit"))
    x, width = np.asarray(dataset.to_model(dataset.test["x"][:20])), 2 / (dataset.bins - 1)
    nats = 0.5 * math.log(2 * math.pi) + 0.5 * (x**2 + width**2 / 12)
    found = json.loads(out.read_text())
    assert abs(found["exact"]["total"] - (nats.mean() / math.log(2) - math.log2(width))) < 0.01
    assert found["exact"]["offset"] == pytest.approx(math.log2(dataset.bins / 2))
    assert found["exact"]["dequantisation"] == "uniform"
    schedule, t_min = schedules.Cosine(), found["exact"]["t_min"]  # where a bin is eight deviations of the noise wide
    assert float(schedule.sigma(t_min) / schedule.alpha(t_min)) == pytest.approx(width / 8, rel=1e-3)
    assert found["bound"]["total"] > found["exact"]["total"]
    assert "uniform: a bound on the probability of the integers" in printed


def test_weights_of_another_shape_are_an_error(load_program, weights):
    open_foreign = load_program("experiments.projects.published.bits_per_dim").open_foreign
    dataset = data.build(digits.get_config("dit"))
    dataset.shape = (4, 4, 1)
    with pytest.raises(ConfigError, match=r"its network has shape \(8, 8, 1\), sklearn_digits .*; must be the same"):
        open_foreign(str(weights), None, dataset)
