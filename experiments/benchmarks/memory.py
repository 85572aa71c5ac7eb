"""What the memory switches of networks cost and save in a training step, which is compiled and not run.

    python -m experiments.benchmarks.memory --networks=DiT,UNet

For each switch: CPU seconds to trace and compile, XLA's temporary memory (activations and gradients; parameters and
moments of the optimiser are arguments and not in it) and the floating-point operations of matrix products and
convolutions. "unrolled" is the DiT with its scan over the blocks unrolled. On CPU, XLA drops the
barriers between the two computations of an activation, and rematerialisation outside a scan saves nothing; here they
are kept, as on GPU and TPU. It computes bfloat16 in float32 there, so that those figures are upper bounds.
"""

import time
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import optax
from absl import app, flags

import scorekit as sk
from experiments.benchmarks.measuring import flops
from scorekit.networks import DiT, UNet

_NETWORKS = flags.DEFINE_list("networks", ["DiT", "UNet"], "which of DiT, UNet")
_SWITCHES = flags.DEFINE_list("switches", ["all"], "which rows of the table; or all")
_BATCH = flags.DEFINE_integer("batch", 64, "examples in a step; a multiple of 4")
_SIDE = flags.DEFINE_integer("side", 32, "side of the images; a multiple of 8")
_DEPTH = flags.DEFINE_integer("depth", 12, "blocks of the DiT")
_WIDTH = flags.DEFINE_integer("width", 384, "width of the DiT; a multiple of 64, the features of a head")
_CHANNELS = flags.DEFINE_integer("channels", 64, "channels of the first level of the U-Net")

SCHEDULE = sk.schedules.cosine()


class Unrolled(DiT):
    """The same network, parameters and output with its scan over the blocks compiled as a sequence of blocks."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The output of the network."""
        scan = jax.lax.scan
        with mock.patch.object(jax.lax, "scan", lambda *args, **kwargs: scan(*args, **{**kwargs, "unroll": True})):
            return super().__call__(*args, **kwargs)


class Cost(NamedTuple):
    """CPU seconds to trace and compile, bytes of temporary memory, floating-point operations."""

    seconds: float
    temporary: int
    flops: float


def dit(kind: type[DiT] = DiT, **switches: Any) -> DiT:
    """The transformer of the flags."""
    return kind(depth=_DEPTH.value, width=_WIDTH.value, heads=_WIDTH.value // 64, num_classes=10, **switches)


def unet(**switches: Any) -> UNet:
    """The U-Net of the flags, with attention at half the resolution."""
    sizes: dict[str, Any] = {"multipliers": (1, 2, 2), "attention_resolutions": (_SIDE.value // 2,)}
    return UNet(channels=_CHANNELS.value, blocks=2, heads=2, num_classes=10, **sizes, **switches)


def switches(name: str) -> dict[str, tuple[DiT | UNet, int]]:
    """Network and number of micro-batches, by what is switched."""
    make = {"DiT": dit, "UNet": unet}[name]
    found: dict[str, tuple[DiT | UNet, int]] = {"none": (make(), 1), "remat": (make(remat=True), 1)}
    if name == "DiT":
        found["unrolled"] = (dit(Unrolled), 1)
    return {
        **found,
        "bfloat16": (make(dtype=jnp.bfloat16), 1),
        "accumulate 4": (make(), 4),
        "remat + bfloat16": (make(remat=True, dtype=jnp.bfloat16), 1),
    }


def measure(network: DiT | UNet, accumulate: int) -> Cost:
    """Compiles a step of AdamW on the denoising loss, whose gradient is the mean of those of the micro-batches."""
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

    x = jax.ShapeDtypeStruct((_BATCH.value, _SIDE.value, _SIDE.value, 3), jnp.float32)
    params = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros(x.shape), 0.0))
    arguments = params, jax.eval_shape(optimizer.init, params), jax.random.key(0), x
    start = time.process_time()
    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(*arguments)
    keep: Any = {"xla_disable_hlo_passes": "cse_barrier_expander"} if jax.default_backend() == "cpu" else None
    memory: Any = lowered.compile(keep).memory_analysis()
    seconds = time.process_time() - start
    return Cost(seconds, memory.temp_size_in_bytes, flops(jax.make_jaxpr(step)(*arguments).jaxpr))


def main(_) -> None:
    for name in _NETWORKS.value:
        if name not in ("DiT", "UNet"):
            raise app.UsageError(f"--networks: {name!r} is not one of DiT, UNet")
    known = ["all", *dict.fromkeys(switch for name in _NETWORKS.value for switch in switches(name))]
    for switch in _SWITCHES.value:
        if switch not in known:
            raise app.UsageError(f"--switches: {switch!r} is not one of {', '.join(known)}")
    print(f"{jax.default_backend()}, jax {jax.__version__}; batch {_BATCH.value} of {_SIDE.value} x {_SIDE.value} x 3")
    for name in _NETWORKS.value:
        print(f"\n{name:18}{'compile, CPU s':>15}{'temporary MB':>14}{'GFLOP':>9}")
        for switch, (network, accumulate) in switches(name).items():
            if _SWITCHES.value != ["all"] and switch not in _SWITCHES.value:
                continue
            cost = measure(network, accumulate)
            print(f"{switch:18}{cost.seconds:15.1f}{cost.temporary / 2**20:14.1f}{cost.flops / 1e9:9.2f}", flush=True)


if __name__ == "__main__":
    app.run(main)
