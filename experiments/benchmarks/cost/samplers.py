"""The overhead of sampling: every fixed-grid solver against its reference implementation of :mod:`.reference`.

Time, first call (trace, compile, run) and XLA's temporary memory with a small MLP, so that the cost of everything but
the network is visible; the dependence on the number of steps, and the cost of saving the trajectory, for a few solvers;
and, with the U-Net of the digits config, the time of sampling over the time of as many calls of the network alone. A
figure is the median of the ratio within a repetition, followed in brackets by the ratio of the two minima.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.tree_util import Partial

from experiments.benchmarks.cost import reference as reference_samplers
from experiments.benchmarks.measuring import Timing, in_turns
from experiments.benchmarks.named_solvers import DETERMINISTIC, STOCHASTIC
from experiments.cli.flags import chosen
from experiments.reporting.curves import Line, Panel, curves
from scorekit import denoisers, samplers, schedules, solvers
from scorekit.networks import UNet
from scorekit.typing import Array

SCHEDULE = schedules.cosine()
SOLVERS: dict[str, Any] = {
    **DETERMINISTIC,
    **STOCHASTIC,
    "predictor-corrector": lambda n: solvers.PredictorCorrector(),
    "annealed Langevin": lambda n: solvers.AnnealedLangevin(steps=2),
}
Arguments = tuple[Any, Array, Array]
"""Parameters, noise and key."""
Run = Partial
"""``(params, x, key) -> samples``: a compiled function of ``(ts, params, x, key)``, bound to its times."""


def solver_of(name: str) -> Any:
    """The solver of this name, a stochastic one as for 50 steps."""
    return SOLVERS[name] if name in DETERMINISTIC else SOLVERS[name](50)


def temporary(run: Run, params, rows: int) -> float:
    """The temporary memory that XLA allocates, in megabytes, without arguments and results."""
    x, key = jax.ShapeDtypeStruct((rows, 64), jnp.float32), jax.random.key(0)
    return run.func.lower(*run.args, params, x, key).compile().memory_analysis().temp_size_in_bytes / 2**20


def library(solver: Any, ts: Array, network, trajectory: bool = False) -> Run:
    """The sampler of the library, with the times as an argument, as in a program that may change its grid."""

    @jax.jit
    def run(ts, params, x, key):
        denoiser = denoisers.denoiser_from_network(Partial(network, params), SCHEDULE)
        key = key if solver.stochastic else None
        return samplers.sample(key, denoiser, SCHEDULE, solver, x, ts, trajectory=trajectory)

    return Partial(run, ts)


def reference(solver: Any, ts: Array, network, trajectory: bool = False) -> Run:
    """The reference implementation, with the times in its table of constants."""
    run = reference_samplers.sampler(solver, SCHEDULE, np.asarray(ts), network, trajectory)
    return Partial(jax.jit(lambda ts, *arguments: run(*arguments)), ts)


def grid(n: int) -> Array:
    """A uniform grid from a time that every solver can start at."""
    return solvers.grids.uniform(n, 0.98, 0.0)


# ---- the networks ------------------------------------------------------------------------------------------------


def forward(layers: Iterable[Callable], x: Array, t: Array) -> Array:
    """A perceptron of these layers, conditioned on the time."""
    h = jnp.concatenate([x, jnp.broadcast_to(t, (x.shape[0], 1))], axis=1)
    *inner, last = layers
    for layer in inner:
        h = jax.nn.silu(layer(h))
    return last(h)


def mlp(params, x, t):
    """Three hidden layers of 128."""
    return forward([lambda h, w=w: h @ w for w in params], x, t)


def on_mlp(batch: int) -> Arguments:
    """The arguments of a run with random parameters of the MLP."""
    sizes = [(65, 128), (128, 128), (128, 128), (128, 64)]
    keys = jax.random.split(jax.random.key(0), len(sizes))
    params = [jax.random.normal(k, size) / math.sqrt(size[0]) for k, size in zip(keys, sizes, strict=True)]
    return params, jax.random.normal(jax.random.key(1), (batch, 64)), jax.random.key(2)


def on_unet(batch: int) -> tuple[Callable, Arguments]:
    """The network of the digits config, and the arguments of a run with random parameters."""
    module = UNet(channels=24, num_classes=10)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), jnp.zeros(1))
    network = lambda params, x, t: module.apply(params, x, jnp.broadcast_to(t, x.shape[:1]))
    return network, (params, jax.random.normal(jax.random.key(1), (batch, 8, 8, 1)), jax.random.key(2))


# ---- measurements --------------------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """One solver with the MLP: time by batch size, first call, and temporary memory of library and reference."""

    time: dict[int, Timing]
    first: Timing
    memory: tuple[float, float]


def timed(ours: Run, theirs: Run, arguments: Arguments, turns: int) -> Timing:
    """Compiled runs in turns."""
    jax.block_until_ready((ours(*arguments), theirs(*arguments)))
    return in_turns(lambda: ours(*arguments), lambda: theirs(*arguments), turns)


def first_calls(solver: Any, ts: Array, network: Callable, arguments: Arguments, turns: int) -> Timing:
    """Tracing, compiling and running new functions once, so that they share nothing but JAX's own caches."""
    call = lambda side: lambda: side(solver, ts, network)(*arguments)
    return in_turns(call(library), call(reference), turns)


def measure(solver: Any, options: flags.FlagValues) -> Cost:
    """Time at each batch size, the first call at the last one, temporary memory at a large one."""
    ts, time, arguments = grid(options.steps), {}, on_mlp(1)
    ours, theirs = (side(solver, ts, mlp) for side in (library, reference))
    for batch in map(int, options.batches):
        arguments = on_mlp(batch)
        np.testing.assert_allclose(ours(*arguments), theirs(*arguments), rtol=2e-3, atol=2e-3)
        time[batch] = timed(ours, theirs, arguments, options.turns)
    memory = temporary(ours, arguments[0], options.large), temporary(theirs, arguments[0], options.large)
    return Cost(time, first_calls(solver, ts, mlp, arguments, options.first), memory)


def print_detailed(name: str, options: flags.FlagValues) -> None:
    """Prints the time at several numbers of steps, and the cost of the trajectory."""
    solver, arguments, cells = solver_of(name), on_mlp(256), []
    for n in (max(1, options.steps // 5), options.steps, 4 * options.steps):
        ours, theirs = (side(solver, grid(n), mlp) for side in (library, reference))
        found = timed(ours, theirs, arguments, options.turns)
        cells.append(f"{n} steps {found.shown} of {1e3 * found.theirs:.2f} ms")
    print(f"{name}: {'; '.join(cells)}")
    ts = grid(options.steps)
    plain, saving, base = library(solver, ts, mlp), library(solver, ts, mlp, True), reference(solver, ts, mlp, True)
    over_base, over_plain = (timed(saving, other, arguments, options.turns).shown for other in (base, plain))
    plain_mb, saving_mb, base_mb = (temporary(run, arguments[0], options.large) for run in (plain, saving, base))
    print(
        f"    with the trajectory {over_base}, {over_plain} over sampling without it; "
        f"temporary memory {saving_mb:.1f} MB ({base_mb:.1f} reference; {plain_mb:.1f} without it)"
    )


def over_network(names: list[str], batch: int, turns: int, nfe: int = 8) -> dict[str, Timing]:
    """The time of sampling over the time of as many calls of the U-Net alone, both compiled."""
    network, arguments = on_unet(batch)
    bare, found = jax.jit(network), {}
    for name in names:
        solver = solver_of(name)
        n = max(1, nfe // solver.evals_per_step)
        evaluations = n * solver.evals_per_step
        calls = lambda params, x, key, k=evaluations: [jax.block_until_ready(bare(params, x, 0.5)) for _ in range(k)]
        found[name] = timed(library(solver, grid(n), network), Partial(calls), arguments, turns)
    return found


# ---- output --------------------------------------------------------------------------------------------------------


def draw(path: Path, panels: list[tuple[str, float, dict[str, float]]]) -> None:
    """Plots a dot for every solver, with the target as a line."""
    label, drawn, dots = "ratio (1 is no overhead)", [], {"linestyle": "", "marker": "o"}
    for title, target, values in panels:
        names = list(values)[::-1]
        line = Line([values[name] for name in names], names, style=dots)
        places = {f"target {target}": target}
        drawn.append(Panel({"": line}, label, "", title, places=places, axes={"xlim": (0.5, None)}))
    num_rows = max(len(values) for _, _, values in panels)
    curves(path, drawn, columns=len(drawn), size=(3.4, 0.28 * num_rows + 1.1))


def run(options: flags.FlagValues, path: Path) -> None:
    """Prints the tables of some solvers, or of all, and plots them."""
    names, detailed = chosen("solvers", options.solvers, SOLVERS), chosen("detailed", options.detailed, SOLVERS)
    batches = [*map(int, options.batches)]
    first = lambda timing: f"{timing.ours / timing.theirs:5.2f} (+{timing.ours - timing.theirs:.2f} s)"
    print(f"MLP 3 x 128, 64 dimensions, {options.steps} steps; ratios to the reference: median (of the minima)")
    heads = "".join(f"{f'time, batch {b}':>18}{'reference, ms':>15}" for b in batches)
    print(f"{'':22}{heads}{'first call':>20}{f'MB at {options.large}':>15}{'reference':>11}")
    costs: dict[str, Cost] = {}
    for name in names:
        cost = costs[name] = measure(solver_of(name), options)
        cells = "".join(f"{timing.shown:>18}{1e3 * timing.theirs:15.2f}" for timing in cost.time.values())
        print(f"{name:22}{cells}{first(cost.first):>20}{cost.memory[0]:15.1f}{cost.memory[1]:11.1f}", flush=True)
    panels = [
        (f"MLP, batch {b}: time", 1.05 if b >= 64 else 1.10, {n: c.time[b].ratio for n, c in costs.items()})
        for b in batches
    ]
    panels.append(("MLP: first call", 1.3, {n: c.first.ours / c.first.theirs for n, c in costs.items()}))
    memory = {n: c.memory[0] / max(c.memory[1], 1e-9) for n, c in costs.items()}
    panels.append((f"temporary memory, batch {options.large}", 1.2, memory))
    print("\nMLP, batch 256")
    for name in detailed:
        print_detailed(name, options)
    if options.unet:
        print(f"\ndigits U-Net, batch {options.unet}, 8 evaluations: over as many calls of the network alone")
        found = over_network(names, options.unet, max(1, options.turns // 3))
        for name, timing in found.items():
            print(f"{name:22}{timing.shown:>18}{1e3 * timing.theirs:13.1f} ms")
        network, arguments = on_unet(options.unet)
        firsts = {name: first_calls(solver_of(name), grid(8), network, arguments, options.first) for name in detailed}
        print("first call over the reference: " + "; ".join(f"{name} {first(each)}" for name, each in firsts.items()))
        panels.append(("U-Net: time over the network", 1.03, {n: timing.ratio for n, timing in found.items()}))
    draw(path, panels)
    print(f"\nplot: {path}")
