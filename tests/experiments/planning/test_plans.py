"""Plans of configs: bounds by hand, advice by what is too large, described data, and both compilers end to end."""

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
from experiments.planning import bounds, plans, programs
from experiments.planning.bounds import Cost, bound, traffic
from experiments.planning.chips import CHIPS, named, topology
from experiments.planning.counting import flops
from experiments.planning.described import describe
from experiments.planning.hlo import Collective
from experiments.planning.plans import Plan
from experiments.planning.report import advice, device_hours, lines, markdown
from experiments.planning.suggest import suggest
from scorekit.networks.attention import attend

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "experiments/configs/published"
COST = Cost(
    state=2e9, temporary=4e9, other=1e8, code=1e7, flops=16 * 197e12, memory=819e9 / 2, near={"all-gather": 200e9 / 4},
    far={}, overlapping=0.0, examples=256, evaluations=1, parameters=10**8, seconds=10.0,
)  # fmt: skip


def config_of(name):
    config = tasks.opened(str(PUBLISHED / f"{name}.py"))
    tasks.of(config).check(config)
    return config


def plan_of(cost, name="v5e:4x4", config="imagenet256_dit", **sampling):
    return Plan(config_of(config), topology(name), {"training": cost, **sampling})


def test_bounds_are_work_over_published_speed():
    limit = bound(COST, CHIPS["v5e"], 16, "bfloat16")
    assert limit == pytest.approx((1.0, 0.5, 0.25, 0.0))
    assert (limit.seconds, limit.binds) == (1.0, "products")
    assert bound(COST, CHIPS["h100"], 16, "float32").products == pytest.approx(197 / (989 / 2))


def test_an_option_that_the_compiler_does_not_know_is_left_out(monkeypatch):
    def compiled(lowered, topology, options=None):
        if options:
            raise jax.errors.JaxRuntimeError(f"INVALID_ARGUMENT: No such compile option: '{next(iter(options))}'")
        return COST

    monkeypatch.setattr(bounds, "_cost", compiled)
    with pytest.warns(UserWarning, match="--fast is left out: this compiler has no option exec_time"):
        assert bounds.compile_cost(None, topology("v5e:2x2"), fast=True) == COST


def test_device_hours_are_those_of_all_chips_to_the_last_step():
    assert device_hours(plan_of(COST)) == pytest.approx(7_000_000 * 16 / 3600)


@pytest.mark.parametrize(
    ("name", "groups", "near", "far"),
    [
        ("v5e:4x4", ((*range(16),),), 15 / 16, 0.0),
        ("h100:16", ((*range(16),),), 7 / 8, 1 / 16),
        ("h100:16", ((0, 8), (1, 9)), 0.0, 1 / 2),
        ("2*v5e:2x2", ((0, 1), (2, 3)), 1 / 2, 0.0),
    ],
)
def test_bytes_go_over_links_inside_a_slice_and_over_the_network_between_slices(name, groups, near, far):
    found = traffic([Collective("all-gather", 1.0, 1, False, groups)], topology(name))
    assert found == ({"all-gather": near} if near else {}, {"all-gather": far} if far else {}, 0.0)


SPLIT = {"training.fsdp": -1, "training.accumulate": 16, "network.remat": True}


@pytest.mark.parametrize(
    ("cost", "changes", "says"),
    [
        (COST._replace(state=15e9), {"training.fsdp": 1}, "--config.training.fsdp=-1"),
        (COST._replace(temporary=20e9), {"network.remat": False}, "--config.network.remat=True"),
        (COST._replace(temporary=20e9), {"network.remat": True}, "--config.training.accumulate=2"),
        (COST._replace(needed=40e9, state=15e9), SPLIT, "more chips, such as 4x8"),
    ],
)
def test_a_config_that_does_not_fit_is_told_the_field_to_change(cost, changes, says):
    plan = plan_of(cost)
    for field, value in changes.items():
        section, last = field.split(".")
        plan.config[section][last] = value
    assert plan.left < 0
    assert says in advice(plan)
    assert "does not fit" in lines(plan)[0]


def test_a_row_of_markdown_has_the_values_of_the_plan():
    title, row = (line.strip("| ").split(" | ") for line in markdown(plan_of(COST, sampling=COST)).splitlines())
    found = dict(zip(title, row, strict=True))
    assert (found["topology"], found["binds"], found["examples a second"]) == ("v5e:4x4", "products", "256")
    assert found["device-hours"] == "31.1 k"
    assert "does not fit" in markdown(plan_of(COST._replace(needed=40e9)))


def test_a_sampler_that_does_not_fit_draws_fewer():
    plan = plan_of(COST, sampling=COST._replace(temporary=30e9))
    assert "--config.sampling.batch_size=16" in advice(plan)


def test_kinds_of_devices():
    assert named("TPU v5 lite") is CHIPS["v5e"]
    assert named("TPU v5p") is CHIPS["v5p"]
    assert named("NVIDIA H100 80GB HBM3") is CHIPS["h100"]
    assert named("NVIDIA H100 PCIe") is None


def test_operations_are_those_of_all_devices():
    mesh = jax.make_mesh((2,), ("i",), devices=jax.devices()[:2], axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("i")
    product = lambda x: x @ x.T
    spread = jax.shard_map(product, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    chosen = lambda x: jax.lax.cond(x[0, 0] > 0, lambda y: y @ y.T, lambda y: jnp.zeros((8, 8)), x)
    x = jnp.ones((8, 4))
    assert flops(jax.make_jaxpr(spread)(x).jaxpr) == 2 * (2 * 4 * 4 * 4)
    assert flops(jax.make_jaxpr(chosen)(x).jaxpr) == 2 * 8 * 8 * 4


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


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("cifar10_edm", (32, 32, 3), 10),
        ("imagenet64_edm2_s", (64, 64, 3), 1000),
        ("imagenet256_dit", (32, 32, 4), 1000),
    ],
)
def test_images_are_described_by_their_config(name, shape, classes):
    dataset, line = describe(config_of(name))
    assert (dataset.shape, dataset.num_classes) == (shape, classes)
    assert "described, not loaded" in line
    assert describe(config_of(name), (8, 8, 3), 7)[0].num_classes == 7


def test_a_shape_is_only_of_data_that_are_described():
    config = tasks.opened(str(ROOT / "experiments/configs/points/mixture_2d.py"))
    with pytest.raises(ConfigError, match="--shape: must be left out"):
        describe(config, (8, 8, 3))
    for shape in ((32,), (8, 8, 1, 1, 1)):
        with pytest.raises(ConfigError, match="must be height, width and channels"):
            describe(config_of("cifar10_edm"), shape)


@pytest.mark.slow
def test_programs_are_lowered_from_shapes_for_the_devices_that_are_given():
    config = tasks.opened(str(ROOT / "experiments/configs/images/smoke.py"))
    tasks.of(config).check(config)
    found = programs.lower(config, describe(config)[0], jax.devices()[:2], 16e9)
    assert found["training"].examples == config.training.batch_size
    assert found["training"].flops > 0
    assert found["sampling"].evaluations == config.sampling.steps
    assert found["sampling"].state == 4 * found["sampling"].parameters


def test_the_smallest_slice_and_the_largest_batch_are_suggested(monkeypatch):
    """The compiler is a rule of bytes by batch, rematerialisation and chips."""
    config, tried, told = config_of("../images/smoke"), [], []

    def made(config, one, dataset, names, fast):
        rows = config.training.batch_size / one.size
        temporary = rows * (0.6e9 if config.network.remat else 2e9)
        tried.append(one.name)
        return Plan(config, one, {"training": COST._replace(state=8e9 / config.training.fsdp, temporary=temporary)})

    monkeypatch.setattr(plans, "make", made)
    config.training.batch_size = 16
    found = suggest(config, topology("v5e:2x4"), None, told.append, fast=False)
    assert found.topology.name == "v5e:2x2"  # 16 rows of 0.6 GB and a state of 8 GB are too much for one chip
    assert (found.config.network.remat, found.config.training.fsdp) == (False, 1)
    assert found.config.training.batch_size == 16
    assert told[-1].startswith("suggested: --topology=v5e:2x2")
    assert tried == [*["v5e:1x1"] * 2, *["v5e:2x2"] * 2]
    config.training.batch_size = 4
    found = suggest(config, topology("v5e:2x4"), None, told.append, fast=False)
    assert (found.topology.name, found.config.training.batch_size) == ("v5e:1x1", 4)
    config.training.batch_size = 1024
    with pytest.raises(ConfigError, match="fits no slice up to this one"):
        suggest(config, topology("v5e:2x2"), None, told.append, fast=False)


# ---- the compilers, which need no device ---------------------------------------------------------------------------


def planned(topology, cache, *further):
    command = [
        sys.executable,
        "-m",
        "experiments.plan",
        "--config=experiments/configs/images/smoke.py",
        f"--topology={topology}",
        *further,
    ]
    environment = {**os.environ, "SCOREKIT_CACHE": str(cache), "JAX_PLATFORMS": "cpu"}
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    return found.returncode, found.stdout, found.stderr


@pytest.mark.external
@pytest.mark.parametrize("name", ["v4:2x2x1", "v5e:1x1", "v5e:2x4", "v5p:2x2x1", "v6e:2x2", "2*v5e:4x4", "a100:16"])
def test_described_topologies_have_a_device_for_each_chip(name):
    pytest.importorskip("libtpu" if topology(name).chip.platform == "tpu" else "jax_cuda12_plugin")
    assert len(topology(name).devices()) == topology(name).size


@pytest.mark.external
@pytest.mark.parametrize(("name", "package"), [("v5e:2x2", "libtpu"), ("h100:4", "jax_cuda12_plugin")])
def test_a_plan_is_made_and_then_read(name, package, tmp_path):
    pytest.importorskip(package)
    code, first, progress = planned(name, tmp_path)
    assert code == 0, progress
    assert "compiling training" in progress
    assert re.search(r"fits, [\d.]+ GB of", first)
    assert "what binds" in first
    code, second, progress = planned(name, tmp_path)
    assert code == 0, progress
    assert second == first
    assert "compiling" not in progress
