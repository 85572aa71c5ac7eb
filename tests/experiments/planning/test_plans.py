"""Plans of configs: counted operations, described data, and the compilers end to end."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from experiments import tasks
from experiments.cli.config import ConfigError
from experiments.planning import plans
from experiments.planning.chips import CHIPS, Topology, topology
from experiments.planning.counting import flops
from experiments.planning.described import describe
from experiments.planning.plans import Cost, Plan
from experiments.planning.programs import Lowered
from experiments.planning.report import lines
from scorekit.networks.attention import attend

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "experiments/configs/published"
LOWERED = Lowered(None, flops=16 * 197e12, state=2e9, examples=256, evaluations=1, parameters=10**8)
COST = Cost(LOWERED, temporary=4e9, other=1e8, code=1e7)


def config_of(name):
    config = tasks.opened(str(PUBLISHED / f"{name}.py"))
    tasks.of(config).build(config, describe(config))
    return config


def test_a_plan_has_the_times_of_its_operations_and_says_what_does_not_fit():
    config = config_of("imagenet256_dit")
    shown = lines(Plan(config, topology("v5e:4x4"), {"training": COST, "sampling": COST._replace(needed=40e9)}))
    assert "does not fit" in shown[0]
    cells = {row[:34].strip(): row[34:].split() for row in shown[4:-1]}
    assert COST.least_seconds(CHIPS["h100"], 16, "float32") == pytest.approx(197 / (989 / 2))
    assert cells["least time of the products"] == ["1", "s", "–"]
    assert cells["examples a second at most"] == ["256", "–"]
    assert cells["in all"] == ["6.11", "GB", "40", "GB"]
    assert f"{config.training.steps:,} steps: 31.1 k device-hours" in shown[-1]  # 7,000,000 s of 16 chips


@pytest.mark.parametrize("name", ["v5:4x4", "v5e:4", "h100:12", "2*h100:8", "v5e:0x4"])
def test_a_topology_is_a_chip_with_a_shape_of_its_axes(name):
    with pytest.raises(ConfigError, match=re.escape(f"--topology={name}: must be a chip and a shape")):
        topology(name)


def test_operations_are_those_of_products_on_all_devices_as_often_as_they_run():
    mesh = jax.make_mesh((2,), ("i",), devices=jax.devices()[:2], axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("i")
    product = lambda x: x @ x.T
    spread = jax.shard_map(product, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    chosen = lambda x: jax.lax.cond(x[0, 0] > 0, product, lambda y: jnp.zeros((8, 8)), x)
    turns = lambda x: jax.lax.scan(lambda y, _: (jax.jit(product)(y) @ x, None), x, None, length=3)[0]
    once = 2 * 8 * 8 * 4
    for program, operations in ((spread, once / 2), (chosen, once), (turns, 3 * 2 * once)):
        assert flops(jax.make_jaxpr(program)(jnp.ones((8, 4))).jaxpr) == operations


def test_operations_of_a_convolution_with_strides_and_of_its_gradients():
    """The gradient by the input is a convolution of the gradient with zeros in between, which are no operations."""
    x, kernel, y = jnp.ones((2, 16, 16, 4)), jnp.ones((3, 3, 4, 8)), jnp.ones((2, 8, 8, 8))
    numbers = ("NHWC", "HWIO", "NHWC")
    run = lambda x, k: jax.lax.conv_general_dilated(x, k, (2, 2), "SAME", dimension_numbers=numbers)
    once = 2 * y.size * 3 * 3 * 4
    assert flops(jax.make_jaxpr(run)(x, kernel).jaxpr) == once
    assert flops(jax.make_jaxpr(lambda *of: jax.vjp(run, *of)[1](y))(x, kernel).jaxpr) == 3 * once


@pytest.mark.parametrize(("implementation", "products"), [("xla", [2, 6]), ("fused", [2, 2 + 5])])
def test_operations_of_attention(implementation, products):
    """The gradient of the fused one computes the weights once more."""
    x, one_product = jnp.zeros((2, 16, 3, 8)), 2 * 2 * 3 * 16 * 16 * 8
    run = lambda x: jnp.sum(attend(x, x, x, implementation))
    counted = [flops(jax.make_jaxpr(f)(x).jaxpr) for f in (run, jax.grad(run))]
    assert counted == [n * one_product for n in products]


@pytest.mark.slow
def test_programs_are_compiled_from_shapes_for_the_devices_that_are_given(monkeypatch):
    config = config_of("../images/smoke")
    monkeypatch.setattr(Topology, "devices", lambda self: jax.devices()[: self.size])
    monkeypatch.setitem(CHIPS, "v5e", CHIPS["v5e"]._replace(platform="cpu"))
    costs = plans.make(config, topology("v5e:1x2"), describe(config), fast=False).costs
    training, sampling = costs["training"].lowered, costs["sampling"].lowered
    assert (training.examples, sampling.evaluations) == (config.training.batch_size, config.sampling.steps)
    assert sampling.state == 4 * sampling.parameters
    assert costs["training"].total > training.state > 3 * 4 * training.parameters  # the moments of AdamW


# ---- the compilers, which need no device ---------------------------------------------------------------------------


@pytest.mark.external
@pytest.mark.parametrize(("name", "package"), [("v5e:2x2", "libtpu"), ("h100:4", "jax_cuda12_plugin")])
def test_a_plan_of_each_platform(name, package, tmp_path):
    pytest.importorskip(package)
    command = [sys.executable, "-m", "experiments.plan", "--config=experiments/configs/images/smoke.py"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [*command, f"--topology={name}"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert re.search(r"fits, [\d.]+ GB of", run.stdout)
    assert "least time" in run.stdout
