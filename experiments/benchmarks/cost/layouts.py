"""The cost of a training step for each device, by the number of devices and of those that share a copy of the state.

Runs on simulated devices of the CPU; nothing is timed. For each layout: megabytes of state, floating-point operations
as a fraction of the operations on one device, bytes moved over the size of the parameters (all-gather and
reduce-scatter count once, all-reduce twice), temporary memory, and the largest difference of the parameters after some
steps from a run on one device, over their largest value.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import scorekit as sk
from experiments.benchmarks.options import chosen
from experiments.planning.hlo import Program
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


def traffic(hlo: str) -> tuple[float, int]:
    """Bytes that the collectives of a compiled program move, and how many of these run.

    All-gather and reduce-scatter count the full array once, all-reduce twice; loops count as often as they run.
    """
    found = Program(hlo).collectives()
    return sum(one.moved for one in found), sum(one.calls for one in found)


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
