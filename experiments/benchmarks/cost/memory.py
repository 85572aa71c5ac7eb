"""Costs and savings of the memory switches of networks in a training step, which is compiled and not run.

For each switch: CPU seconds to trace and compile, XLA's temporary memory (activations and gradients; parameters and
moments of the optimiser are arguments and not in it) and the floating-point operations of matrix products and
convolutions. "unrolled" is the DiT with its scan over the blocks unrolled. On CPU, XLA drops the
barriers between the two computations of an activation, and rematerialisation outside a scan saves nothing; here they
are kept, as on GPU and TPU. It computes bfloat16 in float32 there, so that those figures are upper bounds.
"""

import time
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import optax
from absl import flags

import scorekit as sk
from experiments.cli.flags import chosen
from experiments.planning.counting import flops
from scorekit.networks import DiT, UNet

SCHEDULE = sk.schedules.cosine()


class Unrolled(DiT):
    """The same network, parameters and output with its scan over the blocks compiled as a sequence of blocks."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        scan = jax.lax.scan
        with mock.patch.object(jax.lax, "scan", lambda *args, **kwargs: scan(*args, **{**kwargs, "unroll": True})):
            return super().__call__(*args, **kwargs)


def switches(name: str, options: flags.FlagValues) -> dict[str, tuple[DiT | UNet, int]]:
    """Network and number of micro-batches, by switch; the U-Net has attention at half the resolution."""

    def make(kind: type[DiT] = DiT, **switches: Any) -> DiT | UNet:
        if name == "DiT":
            return kind(depth=options.depth, width=options.width, heads=options.width // 64, num_classes=10, **switches)
        of_unet: dict[str, Any] = {"multipliers": (1, 2, 2), "attention_resolutions": (options.side // 2,)}
        return UNet(channels=options.channels, blocks=2, heads=2, num_classes=10, **of_unet, **switches)

    found = {"none": (make(), 1), "remat": (make(remat=True), 1)}
    if name == "DiT":
        found["unrolled"] = (make(Unrolled), 1)
    return {
        **found,
        "bfloat16": (make(dtype=jnp.bfloat16), 1),
        "accumulate 4": (make(), 4),
        "remat + bfloat16": (make(remat=True, dtype=jnp.bfloat16), 1),
    }


def measure(network: DiT | UNet, accumulate: int, options: flags.FlagValues) -> tuple[float, float, float]:
    """CPU seconds to trace and compile a step of AdamW on the denoising loss, temporary memory in MB, and GFLOP.

    The gradient is a mean over micro-batches.
    """
    optimizer = optax.adamw(1e-4)

    def loss(params, key, x):
        labels = jnp.zeros(x.shape[0], jnp.int32)
        bound = lambda x_t, t: network.apply(params, x_t, SCHEDULE.log_snr(t) / 4, labels)
        return jnp.mean(sk.denoising_loss(key, bound, SCHEDULE, x)[0])

    def step(params, moments, key, x):
        def add(total, micro):
            return jax.tree.map(jnp.add, total, jax.grad(loss)(params, key, micro)), None

        zeros = jax.tree.map(jnp.zeros_like, params)
        if accumulate == 1:
            gradient = jax.grad(loss)(params, key, x)
        else:
            gradient = jax.lax.scan(add, zeros, x.reshape(accumulate, -1, *x.shape[1:]))[0]
        updates, moments = optimizer.update(gradient, moments, params)
        return optax.apply_updates(params, updates), moments

    x = jax.ShapeDtypeStruct((options.batch, options.side, options.side, 3), jnp.float32)
    params = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros(x.shape), 0.0))
    arguments = params, jax.eval_shape(optimizer.init, params), jax.random.key(0), x
    start = time.process_time()
    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(*arguments)
    keep: Any = {"xla_disable_hlo_passes": "cse_barrier_expander"} if jax.default_backend() == "cpu" else None
    memory: Any = lowered.compile(keep).memory_analysis()
    seconds = time.process_time() - start
    return seconds, memory.temp_size_in_bytes / 2**20, flops(jax.make_jaxpr(step)(*arguments).jaxpr) / 1e9


def run(options: flags.FlagValues) -> None:
    """Prints a table for each network, with the rows of some switches, or of all."""
    side = options.side
    tables = {name: switches(name, options) for name in chosen("networks", options.networks, ["DiT", "UNet"])}
    rows = chosen("switches", options.switches, dict.fromkeys(row for table in tables.values() for row in table))
    print(f"{jax.default_backend()}, jax {jax.__version__}; batch {options.batch} of {side} x {side} x 3")
    for name, table in tables.items():
        print(f"\n{name:18}{'compile, CPU s':>15}{'temporary MB':>14}{'GFLOP':>9}")
        for switch, (network, accumulate) in table.items():
            if switch in rows:
                seconds, temporary, operations = measure(network, accumulate, options)
                print(f"{switch:18}{seconds:15.1f}{temporary:14.1f}{operations:9.2f}", flush=True)
