"""Couplings of a config: what training pairs, where sampling starts, and what needs a score is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import changed

from experiments import data
from experiments.configs.images import digits
from experiments.configs.points import mixture_2d
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion.build import build_model, make_sampler
from experiments.tasks.diffusion.loss import make_prepare
from scorekit import process

SMALL = ("sampling.batch_size=4", "sampling.steps=2")
BRIDGE = changed(digits.get_config("bridge"), "network.channels=8", *SMALL)


def prepared(config, batch):
    dataset = data.build(config)
    model = build_model(config, dataset)
    return model, jax.jit(make_prepare(model, dataset))(jax.random.key(1), batch)


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.5, 1.0])
def test_transport_shortens_the_way_and_keeps_classes_unless_nothing_sees_them(dropout):
    small = ("network.features=8", "network.blocks=1", *SMALL, "loss.coupling.block_size=16")
    config = changed(mixture_2d.get_config("coupled"), *small, f"loss.label_dropout={dropout}")
    labels = jnp.arange(16) % 2
    batch = {"x": jnp.where(labels[:, None] == 0, -3.0, 3.0) * jnp.ones((16, 2)), "label": labels}
    _, paired = prepared(config, batch)
    config.loss.coupling.name = "independent"
    _, plain = prepared(config, batch)
    way = lambda found: float(jnp.sum((found["x"] - found["eps"]) ** 2))
    of_first = [np.sort(found["eps"][labels == 0], 0) for found in (paired, plain)]
    same = np.allclose(*of_first, rtol=1e-5, atol=1e-6)
    assert same == (dropout < 1)
    assert way(paired) < way(plain) if dropout == 1 else way(paired) <= way(plain) + 1e-3


@pytest.mark.slow
def test_a_bridge_trains_between_the_example_and_its_map_and_starts_there():
    config, dataset = BRIDGE, data.build(BRIDGE)
    checks.build(config, dataset)
    batch = {"x": dataset.test["x"][:4], "label": dataset.test["label"][:4]}
    model, found = prepared(config, batch)
    end = found["conditions"]["dense_map"].value
    t = jnp.ones(4)
    given = {"dense_map": found["conditions"]["dense_map"]}
    noise = model.coupling.noise(model.schedule, found["x"], found["eps"], t, given)
    np.testing.assert_allclose(process.perturb(model.schedule, found["x"], noise, t), end, atol=1e-5)
    params = model.init(jax.random.key(0))
    given = jax.tree.map(np.asarray, {"labels": batch["label"], **given})
    states, _ = make_sampler(config, model, dataset)(params, 0, given, 1.0, trajectory=True)
    np.testing.assert_allclose(states[0], end, atol=1e-6)
