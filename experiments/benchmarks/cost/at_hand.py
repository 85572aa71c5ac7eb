"""The devices at hand: their speeds, attention on them, and the programs of a config beside their bounds.

No data are read: parameters are normal draws, examples are noise, moments and averages are zero.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.cost.step import peak
from experiments.benchmarks.measuring import rounds
from experiments.cli.config import Config, changed
from experiments.cli.progress import human
from experiments.data.dataset import Dataset
from experiments.models.devices import memory
from experiments.planning import programs
from experiments.planning.bounds import Cost, bound, compiled_and_cost
from experiments.planning.chips import Chip, Topology, named
from experiments.planning.described import describe
from experiments.planning.plans import Plan
from experiments.planning.report import duration_of, size
from scorekit.networks.attention import ATTENTION, attend
from scorekit.typing import PyTree

STEPS = 10
"""Most steps of a sampler; the time of an evaluation does not depend on their number."""
SHAPES = ((64, 256, 16, 72), (16, 1024, 16, 72))
"""Queries of DiT-XL/2 on latents of 256 x 256 and 512 x 512 pixels: batch, tokens, heads, features."""


def described() -> str:
    """Number and kind of the devices, and the version of jax."""
    return f"{jax.device_count()} × {jax.devices()[0].device_kind}, jax {jax.__version__}"


def topology() -> Topology:
    """The devices at hand, with published speeds; with measured ones where the table of chips has none."""
    kind, platform = jax.devices()[0].device_kind, jax.default_backend()
    half, single, room = peak("bfloat16")[0], peak("float32")[0], memory() / jax.device_count()
    measured = lambda: Chip(platform, (), half, room, _bandwidth(), math.inf, math.inf, 1, (), single / half)
    return Topology(kind, named(kind) or measured(), str(jax.device_count()), 1)


def seconds_of(call: Callable[[], Any]) -> float:
    """Seconds of a call: the median of five, after one that compiles."""
    jax.block_until_ready(call())
    return statistics.median(rounds({"": call}, 5)[""])


def _bandwidth() -> float:
    """Bytes a second of an addition that reads 256 MiB and writes as many."""
    x, add = jnp.zeros(2**26), jax.jit(lambda x: x + 1)
    return 2 * x.nbytes / seconds_of(lambda: add(x))


def speeds() -> Iterator[list[str]]:
    """Rows of products, main memory and the transfer from the host: measured, published."""
    chip, side = named(jax.devices()[0].device_kind), 1024 if jax.default_backend() == "cpu" else 8192
    multiply, host = jax.jit(jnp.matmul), np.zeros(2**26, np.float32)
    row = lambda name, *speeds: [name, *(f"{speed:.3g}" if speed else "–" for speed in speeds)]
    for dtype in ("bfloat16", "float32"):
        a = jnp.ones((side, side), dtype)
        measured = 2e-12 * side**3 / seconds_of(lambda a=a: multiply(a, a))
        yield row(f"products in {dtype}, T/s", measured, chip and chip.peak_of(dtype) / 1e12)
    yield row("main memory, GB/s", _bandwidth() / 1e9, chip and chip.bandwidth / 1e9)
    yield row("from the host, GB/s", host.nbytes / seconds_of(lambda: jax.device_put(host)) / 1e9, None)


def attention() -> Iterator[list[str]]:
    """Rows of each implementation in bfloat16, with its gradient."""
    for shape in SHAPES:
        batch, tokens, heads, features = shape if jax.default_backend() != "cpu" else (1, *shape[1:])
        query = jax.random.normal(jax.random.key(0), (batch, tokens, heads, features), jnp.bfloat16)
        for name in ATTENTION:
            both = jax.jit(jax.grad(lambda q, name=name: attend(q, q, q, name).astype(jnp.float32).sum()))
            taken = seconds_of(lambda both=both, query=query: both(query))
            used = 12 * batch * heads * tokens**2 * features / taken / peak("bfloat16")[0]  # two products, then four
            yield [" × ".join(map(str, query.shape)), name, duration_of(taken), f"{used:.0%}"]


def recipe(config: Config, name: str) -> Iterator[list[str]]:
    """Rows of the training step and of the sampler of a config, at its batch or the largest that fits."""
    dataset, devices, longer = describe(config)[0], topology(), 1.0
    if config.training.fsdp > devices.size or devices.size % config.training.fsdp:
        config = changed(config, {"training.fsdp": -1})
    if config.get("sampling", {}).get("steps", 0) > STEPS and config.sampling.grid.name not in ("file", "times"):
        longer = config.sampling.steps / STEPS
        config = changed(config, {"sampling.steps": STEPS})
    yield from _rows(config, dataset, devices, [name, "training"], 1.0, config.training.accumulate * devices.size)
    yield from _rows(config, dataset, devices, [name, "sampling"], longer, 1)


def _rows(
    config: Config, dataset: Dataset, devices: Topology, names: list[str], longer: float, least: int
) -> Iterator[list[str]]:
    """The row of a program with the largest batch that fits, by halves down to a multiple of ``least``."""
    program, dtype = names[1], Plan(config, devices, {}).dtype
    wanted = batch = config.get(program, {}).get("batch_size", 0)
    while True:
        trial = changed(config, {f"{program}.batch_size": batch}) if batch else config
        lowered = programs.lower(trial, dataset, jax.devices(), devices.chip.memory, (program,)).get(program)
        if lowered is None:
            return
        taken, cost = _run(lowered, devices, program)
        if taken is not None:
            break
        batch //= 2
        while batch and cost.state + (cost.total - cost.state) * batch / cost.examples > devices.chip.memory:
            batch //= 2
        if batch == 0 or batch % least:
            yield [*names, f"{cost.examples:,} of {wanted:,} does not fit", *["–"] * 4, size(cost.total), "–"]
            return
    calls, limit = max(cost.evaluations, 1), bound(cost, devices.chip, devices.size, dtype)
    used = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    yield [
        *names,
        f"{batch:,}" if batch == wanted else f"{batch:,} of {wanted:,}",
        duration_of(taken / calls),
        f"{duration_of(limit.seconds / calls)}, {limit.binds}",
        f"{limit.seconds / taken:.0%}",
        human(batch / taken / longer),
        size(cost.total),
        size(used) if used else "–",
    ]


def _run(lowered: programs.Lowered, devices: Topology, program: str) -> tuple[float | None, Cost]:
    """Seconds of a call, None where memory is short; and the cost."""
    compiled, cost = compiled_and_cost(lowered, devices)
    if compiled is None or cost.total > devices.chip.memory:
        return None, cost
    try:
        first, *rest = _arguments(lowered, compiled, program)
        held = [first]

        def call():
            if program == "sampling":
                return compiled(first, *rest)
            held[0], metrics = compiled(held[0], *rest)  # the state that was given is gone
            return metrics

        return seconds_of(call), cost
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None, cost


def _arguments(lowered: programs.Lowered, compiled: Any, program: str) -> list[PyTree]:
    """The parameters or the state, and the other arguments of a program."""
    noise = np.random.default_rng(0).standard_normal(2**20, np.float32)

    def filled(shape: Any, sharding: Any, scale: float) -> Any:
        if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
            return jax.device_put(jnp.broadcast_to(jax.random.key(0), shape.shape), sharding)
        drawn = np.resize(scale * noise, shape.shape)
        if program == "sampling" and scale == 1.0 and len(shape.shape) == 1:
            drawn = np.linspace(0.99, 0.01, shape.shape[0])  # times of the steps
        if shape.dtype == np.uint8:
            drawn = 128.0 + 40.0 * drawn.clip(-3.0, 3.0)
        if jnp.issubdtype(shape.dtype, jnp.signedinteger):
            drawn = np.zeros(shape.shape)
        return jax.device_put(drawn.astype(shape.dtype), sharding)

    fill = lambda shapes, shardings, scale: jax.tree.map(lambda a, b: filled(a, b, scale), shapes, shardings)
    (shapes, *others), (shardings, *rest) = lowered.program.args_info[0], compiled.input_shardings[0]
    if program == "sampling":
        return [fill(shapes, shardings, 0.02), *fill(others, rest, 1.0)]
    params = fill(shapes.params, shardings.params, 0.02)
    return [dataclasses.replace(fill(shapes, shardings, 0.0), params=params), *fill(others, rest, 1.0)]
