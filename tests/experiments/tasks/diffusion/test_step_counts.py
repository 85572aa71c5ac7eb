"""Metrics at several numbers of steps, and the semigroup error of flow maps among them."""

import jax
import numpy as np
import pytest

from experiments.configs.points import mixture_2d
from experiments.data import build
from experiments.tasks.diffusion.build import at_steps, build_model, make_sampler
from experiments.tasks.diffusion.metrics.run_metrics import sample_metrics
from experiments.tasks.flow_maps.metrics import semigroup


def small():
    config = mixture_2d.get_config("shortcut")
    config.network.update(features=8, blocks=1)
    config.sampling.batch_size = 16
    config.evaluation.update(num_samples=16, step_counts=(1, 2))
    return config


@pytest.mark.slow
def test_each_number_of_steps_is_a_row_of_its_own_sampler():
    config = small()
    dataset = build(config)
    model = build_model(config, dataset)
    initial = model.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: leaf + 0.3 * rng.normal(size=leaf.shape).astype(np.float32), initial)
    generate, labels = make_sampler(config, model, dataset), np.arange(16, dtype=np.int32) % 8
    scorer = dataset.scorer()
    assert scorer is not None
    rows = sample_metrics(config, model, dataset, scorer, params, generate)
    assert list(rows) == ["real test data", "γ = 1, 1 step", "γ = 1, 2 steps"]
    direct = make_sampler(at_steps(config, 2), model, dataset)(params, config.seed + 1, labels, 1.0)
    found = scorer.samples(direct, labels)
    two = rows["γ = 1, 2 steps"]
    assert {name: two[name] for name in found} == pytest.approx(found, rel=1e-5)
    assert rows["γ = 1, 1 step"]["energy distance"] != two["energy distance"]
    errors = [rows[name]["semigroup error"] for name in list(rows)[1:]]
    assert errors[0] > errors[1] > 1e-6
    still = semigroup(config, model, dataset, initial, 1)  # whose velocity is zero
    assert still["semigroup error"] == pytest.approx(0, abs=1e-10)
    assert semigroup(config, build_model(mixture_2d.get_config(), dataset), dataset, initial, 1) == {}
