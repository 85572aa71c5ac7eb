"""The task flow: exact bits of discrete and continuous data, samples by temperature, its evaluation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import changed, error_of

from experiments.configs.images import digits_flow
from experiments.data.dataset import rows_of
from experiments.tasks.flows import model as flows
from experiments.tasks.flows import task as task
from experiments.tasks.task import Asked, Run

SMALL = "network.features=8 network.steps=1 network.transform=affine"
CONFIGS = {
    "digits": changed(digits_flow, *SMALL.split()),
    "ring": changed(digits_flow, *SMALL.split(), "data.name=ring", "network.levels=1"),
}


def opened(name):
    """The data, the model and perturbed parameters."""
    dataset = task.load(CONFIGS[name])
    setup, rng = task.build(CONFIGS[name], dataset), np.random.default_rng(0)
    perturb = lambda p: jnp.asarray(p + 0.1 * rng.normal(size=p.shape), p.dtype)
    return dataset, setup, jax.tree.map(perturb, setup.trained.init(jax.random.key(0)))


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_bits_are_those_of_the_density_in_the_unit_of_the_data(name):
    dataset, setup, params = opened(name)
    batch, key = rows_of(dataset.test, slice(3)), jax.random.key(3)
    found = jax.jit(lambda params: flows.bits_per_dim(setup.model, dataset, params, key, batch))(params)
    x, dim = np.asarray(dataset.inputs(batch)), math.prod(dataset.shape)
    if name == "digits":
        width = 2.0 / (dataset.bins - 1)
        x = x + width * (
            np.asarray(jax.random.uniform(jax.random.split(jax.random.split(key)[0], 1)[0], x.shape)) - 0.5
        )
    nats = setup.model.module.apply(params, x, batch["label"], method="log_prob")
    expected = -np.asarray(nats) / (dim * math.log(2)) - (math.log2(width) if name == "digits" else 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    nats = jax.jit(flows.make_loss(setup.model))(params, flows.make_prepare(setup.model, dataset)(key, batch))[0]
    assert nats.shape == (3,)


def test_samples_have_the_temperature_and_scale_0_has_no_class():
    dataset, setup, params = opened("digits")
    labels = np.array([3, 5, 5])
    mean, _ = setup.model.module.apply(params, jnp.zeros((3, *dataset.shape)), labels, method="inverse")
    expected = dataset.from_model(mean)
    coldest = setup.generate(params, 0, labels, 1, temperature=1e-6)
    assert (coldest == expected).mean() > 0.95  # but for values that round differently
    assert not np.array_equal(setup.generate(params, 0, labels, 1, temperature=1.0), expected)
    both = [setup.generate(params, 0, labels, scale) for scale in (0, 1)]
    other = setup.generate(params, 0, labels[::-1], 0)
    np.testing.assert_array_equal(both[0], other)
    assert not np.array_equal(both[0], both[1])


@pytest.mark.slow
def test_an_evaluation_has_bits_and_samples_at_every_temperature():
    config = changed(CONFIGS["digits"], "evaluation.num_samples=20")
    dataset, setup, params = opened("digits")
    run = Run(dataset, setup.model, setup.generate, params, 0)
    values = task.evaluate(config, run, None, Asked(None, "stem")).values
    assert 0 < values["exact/bits per dim"] < 50
    assert {"T = 1/class accuracy", "T = 0.7/class accuracy"} <= set(values)
    words = "--bits_per_dim: not for a flow, whose exact bits per dimension are always evaluated"
    assert words in error_of(task.evaluate, config, run, None, Asked(None, "stem", exact=True))
