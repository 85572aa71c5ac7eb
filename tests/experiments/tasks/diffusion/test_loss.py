"""The prepared batch of a training step: its conditions and its times."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments import data
from experiments.configs.images import smoke
from experiments.configs.points import mixture_2d
from experiments.tasks.diffusion.build import build_model, dropout_rates
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from experiments.tasks.diffusion.model import log_variance


@pytest.mark.slow
def test_a_batch_is_prepared_with_all_its_conditions_and_some_dropped():
    config = smoke.get_config()
    config.conditions.map.name, config.conditions.vector.name = "average_pool", "moments"
    config.loss.joint_dropout = 0.5
    dataset = data.build(config)
    built = build_model(config, dataset)
    prepare = make_prepare(built, dataset, dropout_rates(config), config.loss.joint_dropout)
    batch = dataset.batch(0, 0, 512)
    found = jax.jit(prepare)(jax.random.key(0), batch)["conditions"]
    lost = {name: ~np.asarray(found[name].present) for name in ("vector", "dense_map")}
    lost["labels"] = np.asarray(found["labels"]) == 10
    for name, rows in lost.items():
        assert abs(rows.mean() - (1 - 0.5 * 0.9)) < 4 * np.sqrt(0.25 / 512), name
    assert (lost["vector"] & lost["dense_map"] & lost["labels"]).mean() > 0.4
    pooled = np.asarray(dataset.to_model(batch["x"])).reshape(-1, 4, 2, 4, 2, 1).mean((2, 4))
    kept = ~lost["dense_map"]
    np.testing.assert_allclose(np.asarray(found["dense_map"].value)[kept], pooled[kept], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_noise_of_a_batch_follows_the_progress_of_training():
    config = mixture_2d.get_config()
    config.loss.times.update(name="annealed", first=0.8, last=0.2)
    dataset = data.build(config)
    prepare = jax.jit(make_prepare(build_model(config, dataset), dataset))
    batch = dataset.batch(0, 0, 4)
    times = [prepare(jax.random.key(0), {**batch, "progress": np.full(4, p, np.float32)})["t"] for p in (0.0, 0.5)]
    np.testing.assert_allclose(times, [[0.8] * 4, [0.5] * 4], rtol=1e-6)
    np.testing.assert_allclose(prepare(jax.random.key(0), batch)["t"], 0.2, rtol=1e-6)  # without progress: the end


@pytest.mark.slow
def test_a_learned_log_variance_weights_the_loss_and_is_trained_with_the_network():
    config = mixture_2d.get_config()
    config.loss.log_variance = True
    config.network.update(features=8, blocks=1)
    dataset = data.build(config)
    built = build_model(config, dataset)
    params = built.init(jax.random.key(0))
    without = replace(built, log_variance=None)

    @jax.jit
    def run(params, batch):
        batch = make_prepare(built, dataset)(jax.random.key(1), batch)
        mean = lambda params: (make_loss(built)(params, batch)[0].mean(), make_loss(built)(params, batch))
        gradient, (value, aux) = jax.grad(mean, has_aux=True)(params)
        u = log_variance(built, params, aux["log_snr"])
        return value, make_loss(without)(params, batch)[0], u, gradient["log_variance"]

    value, plain, u, gradient = run(params, dataset.batch(0, 0, 8))
    assert np.ptp(u) > 0.1
    np.testing.assert_allclose(value, plain / np.exp(u) + u, rtol=1e-5, atol=1e-5)
    assert np.any(gradient["params"]["dense"]["kernel"])
    assert not any(map(np.any, jax.tree.leaves(gradient["constants"])))
    assert "log_variance" not in jax.eval_shape(without.init, jax.random.key(0))


@pytest.mark.slow
def test_dropout_of_the_network_is_drawn_for_each_example_and_off_without_training():
    config = smoke.get_config()
    network = {"name": "songunet", "channels": 4, "multipliers": (1,), "dropout": 0.5}
    config.network.update(network)
    dataset = data.build(config)
    built = build_model(config, dataset)
    batch = dataset.batch(0, 0, 4)
    assert "dropout" not in jax.eval_shape(make_prepare(built, dataset), jax.random.key(0), batch)
    prepared = jax.jit(make_prepare(built, dataset, dropout_rates(config)))(jax.random.key(0), batch)
    assert len(np.unique(prepared["dropout"])) == 4
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(built.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype) / 4, shapes)
    loss = jax.jit(lambda batch: make_loss(built)(params, batch)[0])
    full, half = loss(prepared), loss({**prepared, "dropout": prepared["dropout"][::-1]})
    assert np.abs(full - half).min() > 1e-4
    parts = [loss(jax.tree.map(lambda leaf, i=i: leaf[i : i + 1].repeat(4, 0), prepared))[0] for i in range(4)]
    np.testing.assert_allclose(full, parts, rtol=1e-4)
    del prepared["dropout"]
    assert np.abs(full - loss(prepared)).min() > 1e-4
