"""Costs of a training step: operations, and the program."""

import re

import jax
import jax.numpy as jnp
import pytest
from programs import succeeds

from experiments.planning.counting import flops


@pytest.fixture
def cache_as_before():
    name = "jax_enable_compilation_cache"
    before = getattr(jax.config, name)
    yield
    jax.config.update(name, before)


@pytest.mark.slow
@pytest.mark.usefixtures("cache_as_before")
def test_every_figure_has_both_sides_and_they_agree_with_one_another():
    flags = ["--config.network.features=8", "--config.network.blocks=1", "--config.training.batch_size=16"]
    flags += ["--config.sampling.batch_size=20", "--config.sampling.steps=2", "--turns=3"]
    config = "--config=experiments/configs/points/mixture_2d.py"
    out = succeeds("benchmarks.cost", "--table=step", config, *flags)
    rows = {name: [*map(float, cells)] for name, *cells in re.findall(r"^(\S.*?) {2,}(\S+) +(\S+) +(\S+)$", out, re.M)}
    assert len(rows) == 8
    assert all(value > 0 for row in rows.values() for value in row)
    operations, peak = map(float, re.findall(r"^operations: (\S+) G a step, peak (\S+) T/s", out, re.M)[0])
    for side in range(2):
        seconds = rows["training step, ms"][side] / 1e3
        assert rows["training, examples/s at batch 16"][side] == pytest.approx(16 / seconds, rel=1e-2)
        share = 1e9 * operations / (seconds * 1e12 * peak) / jax.device_count()
        assert rows["utilisation, %"][side] == pytest.approx(100 * share, rel=1e-2)
    assert 0 <= float(re.findall(r"^waiting for data: ([\d.]+)%", out, re.M)[0]) <= 100


def test_operations_are_those_of_products_as_often_as_they_run():
    def two_layers(w, x):
        x = jax.lax.scan(lambda x, _: (jax.jit(jnp.dot)(x, w), None), x, length=3)[0]
        return jax.lax.conv(x[None, None], jnp.ones((5, 1, 2, 2)), (1, 1), "VALID")

    jaxpr = jax.make_jaxpr(two_layers)(jnp.ones((4, 4)), jnp.ones((7, 4))).jaxpr
    assert flops(jaxpr) == 3 * 2 * 7 * 4 * 4 + 2 * 5 * 6 * 3 * 4
