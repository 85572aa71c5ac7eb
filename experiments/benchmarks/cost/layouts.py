"""The cost of a training step for each device, by the number of devices and of those that share a copy of the state.

Runs on simulated devices of the CPU; nothing is timed. For each layout: megabytes of state, floating-point operations
as a fraction of the operations on one device, bytes moved over the size of the parameters (all-gather and
reduce-scatter count once, all-reduce twice), temporary memory, and the largest difference of the parameters after some
steps from a run on one device, over their largest value.
"""

import math
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import scorekit as sk
from experiments.benchmarks.options import chosen
from scorekit import training
from scorekit.networks import DiT, UNet
from scorekit.typing import PyTree

SIDE = 16
SCHEDULE = sk.schedules.cosine()
NETWORKS: dict[str, Any] = {
    "UNet": UNet(channels=32, blocks=1, num_classes=10),
    "DiT": DiT(depth=6, width=64, heads=2, num_classes=10, remat=True),
}


class Cost(NamedTuple):
    """Costs of one device: bytes of state, operations, bytes moved, collectives, bytes of temporary memory."""

    state: int
    flops: float
    moved: float
    collectives: int
    temporary: int


def layouts(devices: int) -> list[tuple[int, int]]:
    """Devices and ``fsdp``: every power of two, replicated, halved and fully split."""
    counts = [n for n in (1, 2, 4, 8, 16) if n <= devices]
    return [(n, fsdp) for n in counts for fsdp in dict.fromkeys((1, max(n // 2, 1), n))]


def make(network: Any, devices: int, fsdp: int) -> tuple[Any, Any]:
    """The training step of a network on a mesh, and its first state."""
    mesh = training.make_mesh(fsdp, jax.devices()[:devices])
    optimizer = training.make_optimizer(1e-3, 0, 1000)

    def prepare(key, batch):
        for_times, for_noise = jax.random.split(key)
        x = batch["x"]
        eps = jax.random.normal(for_noise, x.shape)
        return {**batch, "t": sk.times.draw(for_times, len(x), sk.times.uniform(), SCHEDULE).t, "eps": eps}

    def loss(params, batch):
        bound = lambda x_t, t: network.apply(params, x_t, SCHEDULE.log_snr(t) / 4, batch["label"])
        drawn = sk.times.Times(batch["t"], jnp.ones_like(batch["t"]))
        return sk.losses.denoising_loss_at(bound, SCHEDULE, batch["x"], batch["eps"], drawn)[0], {}

    gathers = getattr(network, "gathers", ())
    step = training.make_train_step(prepare, loss, optimizer, mesh=mesh, gathers=gathers)
    params = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3)), jnp.zeros(1))
    leaves = iter(jax.random.split(jax.random.key(1), len(jax.tree.leaves(params))))  # no layer starts at zero
    params = jax.tree.map(lambda p: p + 0.02 * jax.random.normal(next(leaves), p.shape), params)
    state = training.init_state(jax.random.key(0), params, optimizer, (0.999,))
    return step, training.place_state(state, mesh)


def batch_of(size: int) -> dict[str, np.ndarray]:
    """Images of noise."""
    x = np.random.default_rng(0).normal(size=(size, SIDE, SIDE, 3))
    return {"x": x.astype(np.float32), "label": np.arange(size, dtype=np.int32) % 10}


def measure(step: Any, state: training.TrainState, batch: PyTree) -> Cost:
    """The costs of a compiled step."""
    compiled = step.lower(state, batch).compile()
    moved, count = traffic(compiled.as_text())
    held = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves((state.params, state.opt_state, state.ema)))
    return Cost(held, compiled.cost_analysis()["flops"], moved, count, compiled.memory_analysis().temp_size_in_bytes)


# ---- what a compiled program moves -------------------------------------------------------------------------------

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_COLLECTIVE = re.compile(r" = (.*?) (all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(")
_CALLED = re.compile(r"(?:body|calls|to_apply|condition)=%?([\w.\-]+)")
_ARRAY = re.compile(r"(f64|f32|bf16|f16|s64|u64|s32|u32|s8|u8|pred)\[([\d,]*)\]")
_BYTES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s8": 1, "u8": 1, "pred": 1}


def traffic(hlo: str) -> tuple[float, int]:
    """Bytes that each device sends by the collectives of a compiled program, and how many of these run.

    All-gather and reduce-scatter count the full array once, all-reduce twice; loops count as often as they run.

    >>> traffic("ENTRY main (p: f32[8]) -> f32[8] {\\n  %a = f32[8]{0} all-reduce(%p), to_apply=%add\\n}")
    (64.0, 1)
    """
    bodies: dict[str, list[str]] = {}
    entry, lines = "", []
    for line in hlo.splitlines():
        if found := _COMPUTATION.match(line):
            lines = bodies[found[1]] = []
            entry = found[1] if line.startswith("ENTRY") else entry
        lines.append(line)
    return _traffic_of(entry, bodies)


def _traffic_of(name: str, bodies: dict[str, list[str]]) -> tuple[float, int]:
    total, count = 0.0, 0
    for line in bodies.get(name, [])[1:]:
        if found := _COLLECTIVE.search(line):
            total, count = total + _moved(found[2], found[1], line), count + 1
            continue
        trips = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
        times = int(trips[1]) if trips else 1
        for called in _CALLED.findall(line):
            inner, inside = _traffic_of(called, bodies)
            total, count = total + times * inner, count + times * inside
    return total, count


def _moved(kind: str, shape: str, line: str) -> float:
    """Bytes of one collective, whose result has this shape."""
    sizes = [(_BYTES[dtype], [int(n) for n in dims.split(",") if n]) for dtype, dims in _ARRAY.findall(shape)]
    result = sum(width * math.prod(dims) for width, dims in sizes)
    if kind == "reduce-scatter":  # its result is the part of one device
        groups = re.search(r"replica_groups=\{\{([\d,]+)\}", line)
        assert groups is not None, line
        return float(result * len(groups[1].split(",")))
    return (2.0 if kind == "all-reduce" else 1.0) * result


HEADER = ("devices", "fsdp", "state MB", "operations", "moved / params", "collectives", "temporary MB", "difference")


def run(options: flags.FlagValues) -> None:
    """Prints a table for each network, with a row for each layout of up to ``options.devices`` devices."""
    networks, most = chosen("networks", options.networks, NETWORKS), options.devices
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", most)
    batch = batch_of(options.batch)
    for name in networks:
        print(f"\n{name:5}" + "".join(f"{title:>16}" for title in HEADER))
        one: Any = None
        for devices, fsdp in layouts(most):
            step, state = make(NETWORKS[name], devices, fsdp)
            cost = measure(step, state, batch)
            for _ in range(options.steps):
                state, _ = step(state, batch)
            params = jax.device_get(state.params)
            one = (cost, params) if one is None else one
            size = sum(x.nbytes for x in jax.tree.leaves(params))
            off = max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (params, one[1])), strict=True))
            off /= max(np.abs(x).max() for x in jax.tree.leaves(one[1]))
            row = [devices, fsdp, f"{cost.state / 2**20:.2f}", f"{cost.flops / one[0].flops:.3f}"]
            row += [f"{cost.moved / size:.2f}", cost.collectives, f"{cost.temporary / 2**20:.1f}", f"{off:.1e}"]
            print(" " * 5 + "".join(f"{value:>16}" for value in row), flush=True)
