"""The overhead of a training step over a minimal implementation, and of the import; :mod:`.cost` measures sampling.

    python -m experiments.benchmarks.overhead

The two sides of a pair alternate in one process; a figure is the median over repetitions of the ratio within one, so
that a shared machine slows both sides alike.
"""

import functools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from jax.tree_util import Partial

from experiments.benchmarks.measuring import in_turns
from experiments.reporting.report import show
from scorekit import denoisers, losses, schedules, times, training
from scorekit.networks import UNet

_BATCH = flags.DEFINE_integer("batch", 128, "batch size of the training step")
_TURNS = flags.DEFINE_integer("turns", 31, "repetitions of the training step")
_IMPORTS = flags.DEFINE_integer("imports", 7, "repetitions of the import")

SCHEDULE = schedules.cosine()


def first_call(make: Callable[[], Callable[[], Any]]) -> float:
    """Seconds to trace, compile and run once."""
    start = time.perf_counter()
    jax.block_until_ready(make()())
    return time.perf_counter() - start


# ---- training ----------------------------------------------------------------------------------------------------


def training_row(batch: int, turns: int) -> list[Any]:
    """One training step of the digits U-Net: loss, gradient, clipping, Adam, moving average of the parameters."""
    module = UNet(channels=24, num_classes=10)
    data = {
        "x": np.random.default_rng(0).normal(size=(batch, 8, 8, 1)).astype(np.float32),
        "label": np.zeros(batch, np.int32),
    }
    params = jax.jit(module.init)(jax.random.key(0), data["x"][:1], jnp.zeros(1), data["label"][:1])
    optimizer = training.make_optimizer(1e-3, 10, 1000)

    def prepare(key, batch):
        for_times, for_noise = jax.random.split(key)
        drawn = times.draw(for_times, batch["x"].shape[0], times.uniform(), SCHEDULE)
        eps = jax.random.normal(for_noise, batch["x"].shape)
        return {**batch, "eps": eps, "t": drawn.t, "weight": drawn.weight}

    def loss(params, batch):
        network = denoisers.condition_on_log_snr(Partial(module.apply, params, labels=batch["label"]), SCHEDULE)
        drawn = times.Times(batch["t"], batch["weight"])
        value, aux = losses.denoising_loss_at(network, SCHEDULE, batch["x"], batch["eps"], drawn)
        return value, {"log_snr": aux.log_snr, "eps_mse": aux.eps_mse}

    step = training.make_train_step(prepare, loss, optimizer, mesh=training.make_mesh(devices=jax.devices()[:1]))
    copy = functools.partial(jax.tree.map, jnp.copy)
    ours_state = [training.init_state(jax.random.key(0), copy(params), optimizer)]

    def ours():
        ours_state[0], metrics = step(ours_state[0], data)
        return metrics["loss"]

    @functools.partial(jax.jit, donate_argnums=0)
    def minimal(carry, key, x, label):
        params, opt_state, average = carry
        for_times, for_noise = jax.random.split(key)
        t = jax.random.uniform(for_times, (batch,))
        eps = jax.random.normal(for_noise, x.shape)
        a, b = jnp.cos(0.5 * jnp.pi * t)[:, None, None, None], jnp.sin(0.5 * jnp.pi * t)[:, None, None, None]

        def objective(params):
            output = module.apply(params, a * x + b * eps, 0.5 * jnp.log(a / b)[:, 0, 0, 0], label)
            return jnp.mean(jnp.square(output - (a * eps - b * x)))

        value, gradient = jax.value_and_grad(objective)(params)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda e, p: 0.999 * e + 0.001 * p, average, params)
        return (params, opt_state, average), value

    theirs_state = [(copy(params), optimizer.init(params), copy(params))]
    count = [0]

    def theirs():
        count[0] += 1
        key = jax.random.fold_in(jax.random.key(0), count[0])
        theirs_state[0], value = minimal(theirs_state[0], key, data["x"], data["label"])
        return value

    cold = first_call(lambda: ours) / first_call(lambda: theirs)
    timing = in_turns(ours, theirs, turns)
    return [f"training step of the digits U-Net, batch {batch}", timing.ratio, cold, 1e3 * timing.theirs]


# ---- import ------------------------------------------------------------------------------------------------------


def import_seconds(turns: int) -> tuple[float, float]:
    """What ``import scorekit`` adds to ``import jax``, and the latter, in seconds (medians)."""
    code = (
        "import time; a = time.perf_counter(); import jax, jax.numpy; b = time.perf_counter(); import scorekit; "
        "c = time.perf_counter(); print(c - b, b - a)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
        for _ in range(turns)
    ]
    added, jax_alone = zip(*(map(float, run.stdout.split()) for run in runs), strict=True)
    return statistics.median(added), statistics.median(jax_alone)


def main(_) -> None:
    name, value, cold, base = training_row(_BATCH.value, _TURNS.value)
    print(f"{'':50}{'ratio':>8}{'first call':>12}{'minimal, ms':>13}")
    print(f"{name:50}{value:8.3f}{cold:12.2f}{base:13.2f}")
    added, jax_alone = import_seconds(_IMPORTS.value)
    print(f"import scorekit adds {show(added)} s to the {show(jax_alone)} s of import jax")


if __name__ == "__main__":
    app.run(main)
