"""The task flow: exact bits of discrete and continuous data, samples by temperature, a run from training to samples."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import changed, fails, given, succeeds

from experiments.configs.images import digits_flow
from experiments.data.dataset import rows_of
from experiments.tasks.flows import model as flows
from experiments.tasks.flows import task as task

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
def test_a_run_is_trained_evaluated_and_sampled(tmp_path):
    workdir = tmp_path / "run"
    fields = f"{SMALL} training.steps=5 training.warmup_steps=1 training.batch_size=16 evaluation.num_samples=20"
    out = succeeds("train", *given("images/digits_flow", fields), f"--workdir={workdir}")
    assert "bits/dim" in out
    values = json.loads((workdir / "evaluation.json").read_text())
    assert 0 < values["exact/bits per dim"] < 8
    assert {"T = 1/class accuracy", "T = 0.7/class accuracy"} <= set(values)
    out = succeeds("sample", f"--workdir={workdir}", "--num=4", "--config.sampling.temperature=0.5", "--labels=7")
    assert "temperature 0.5" in out
    with np.load(workdir / "samples" / "sample.npz") as found:
        assert found["x"].shape == (4, 8, 8, 1)
    succeeds("evaluate", f"--workdir={workdir}")
    again = json.loads((workdir / "evaluation_5.json").read_text())
    assert again["exact/bits per dim"] == pytest.approx(values["exact/bits per dim"], abs=1e-5)
    words = "--bits_per_dim: not for a flow, whose exact bits per dimension are always evaluated"
    assert words in fails("evaluate", f"--workdir={workdir}", "--bits_per_dim", at_once=False)
    assert "this run is a flow, which this program does not take" in fails("tune", f"--workdir={workdir}", "--power=1")
