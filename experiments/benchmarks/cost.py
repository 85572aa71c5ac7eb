"""The overhead of sampling: every fixed-grid solver against its reference implementation of :mod:`.reference`.

    python -m experiments.benchmarks.cost --workdir=runs/cost

Time, first call (trace, compile, run) and XLA's temporary memory with a small MLP, so that the cost of everything but
the network is visible; the dependence on the number of steps, and the cost of saving the trajectory, for a few solvers;
and, with the U-Net of the digits config, the time of sampling over that of as many calls of the network alone. The two
sides of a pair alternate in one process: a figure is the median of the ratio within a repetition, followed in brackets
by the ratio of the two minima.
"""

import functools
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax.tree_util import Partial
from matplotlib.figure import Figure

from experiments.benchmarks import reference as reference_samplers
from experiments.cli import flags as shared
from experiments.cli.endings import one_line
from experiments.reporting import plots
from scorekit import denoisers, samplers, schedules, solvers
from scorekit.networks import UNet
from scorekit.typing import Array

SCHEDULE = schedules.cosine()
SOLVERS: dict[str, Any] = {
    "DDIM": solvers.Euler(),
    "Heun": solvers.Heun(),
    "midpoint": solvers.Midpoint(),
    "RK4": solvers.RK4(),
    "DPM++2S": solvers.DPMSolver(order=2),
    "DPM++3S": solvers.DPMSolver(order=3),
    "DPM++2M": solvers.DPMSolverPP2M(),
    "DPM++3M": solvers.DPMSolverPP3M(),
    "EAB3 x0": solvers.ExponentialAdamsBashforth(order=3, prediction="x0"),
    "EAB3 eps": solvers.ExponentialAdamsBashforth(order=3),
    "tAB-DEIS3": solvers.deis(3),
    "AB3 flow": solvers.AdamsBashforth(),
    "AB3 angle": solvers.AdamsBashforth(coordinate="angle"),
    "LMS4": solvers.linear_multistep(),
    "iPNDM4": solvers.IPNDM(),
    "UniPC2": solvers.UniPC(),
    "UniPC3 flow": solvers.UniPC(predictor=3, coordinate="flow"),
    "DDPM": solvers.Ancestral(),
    "Euler-Maruyama": solvers.EulerMaruyama(clock="log_snr"),
    "reverse diffusion": solvers.ReverseDiffusion(),
    "DPM++2M SDE": solvers.DPMSolverPP2MSDE(),
    "DPM++3M SDE": solvers.DPMSolverPP3MSDE(),
    "SA3": solvers.SASolver(steps=3),
    "EDM churn": solvers.StochasticHeun(gamma=0.1),
    "predictor-corrector": solvers.PredictorCorrector(),
    "annealed Langevin": solvers.AnnealedLangevin(steps=2),
}

_SOLVERS = flags.DEFINE_list("solvers", ["all"], f"which of {', '.join(SOLVERS)}; or all")
_DETAILED = flags.DEFINE_list("detailed", ["DDIM", "AB3 flow", "UniPC2"], "also by number of steps, with trajectories")
_STEPS = flags.DEFINE_integer("steps", 50, "steps with the MLP")
_BATCHES = flags.DEFINE_list("batches", ["256", "8"], "batch sizes with the MLP")
_LARGE = flags.DEFINE_integer("large", 16384, "batch size for temporary memory (compiled, not run)")
_TURNS = flags.DEFINE_integer("turns", 31, "repetitions of a pair with the MLP; a third as many with the U-Net")
_FIRST = flags.DEFINE_integer("first", 3, "repetitions of the first call")
_UNET = flags.DEFINE_integer("unet", 64, "batch size with the U-Net of the digits config; 0 skips it")
_WORKDIR = shared.out("folder for the plot", "runs/cost", "workdir")

Run = Partial
"""``(params, x, key) -> samples``: a compiled function of ``(ts, params, x, key)``, bound to its times."""


class Ratio(NamedTuple):
    """The library over the baseline.

    Attributes:
      median: of the ratio within a repetition.
      minima: the ratio of the minima.
      base: the median time of the baseline in milliseconds.
    """

    median: float
    minima: float
    base: float

    def __str__(self) -> str:
        return f"{self.median:6.3f} ({self.minima:.3f})"


class FirstCall(NamedTuple):
    """Time to trace, compile and run once: the library over the reference, and the difference in seconds (medians)."""

    ratio: float
    added: float

    def __str__(self) -> str:
        return f"{self.ratio:5.2f} (+{self.added:.2f} s)"


def alternate(ours: Callable[[], Any], theirs: Callable[[], Any], turns: int) -> Ratio:
    """The ratio of two run times, measured in alternation; the order changes with every repetition."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(turns):
        for mine in (bool(turn % 2), not turn % 2):
            start = time.perf_counter()
            jax.block_until_ready((ours if mine else theirs)())
            seconds[mine].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(seconds[True], seconds[False], strict=True)]
    base = 1e3 * statistics.median(seconds[False])
    return Ratio(statistics.median(ratios), min(seconds[True]) / min(seconds[False]), base)


def first_calls(ours: Callable[[], Run], theirs: Callable[[], Run], arguments, turns: int) -> FirstCall:
    """The first calls of new functions in alternation, so that they share nothing but JAX's own caches."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(turns):
        for mine in (bool(turn % 2), not turn % 2):
            start = time.perf_counter()
            jax.block_until_ready((ours if mine else theirs)()(*arguments))
            seconds[mine].append(time.perf_counter() - start)
    mine, base = statistics.median(seconds[True]), statistics.median(seconds[False])
    return FirstCall(mine / base, mine - base)


def temporary(run: Run, params, shape: tuple[int, ...]) -> float:
    """The temporary memory that XLA allocates, in megabytes, without arguments and results."""
    x, key = jax.ShapeDtypeStruct(shape, jnp.float32), jax.random.key(0)
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


def mlp(params, x, t):
    """Three hidden layers of 128, conditioned on the time."""
    h = jnp.concatenate([x, jnp.broadcast_to(t, (x.shape[0], 1))], axis=1)
    for weight in params[:-1]:
        h = jax.nn.silu(h @ weight)
    return h @ params[-1]


def mlp_params():
    """Its parameters."""
    sizes = [(65, 128), (128, 128), (128, 128), (128, 64)]
    keys = jax.random.split(jax.random.key(0), len(sizes))
    return [jax.random.normal(k, size) / math.sqrt(size[0]) for k, size in zip(keys, sizes, strict=True)]


def unet():
    """The network of the digits config, and its parameters."""
    module = UNet(channels=24, num_classes=10)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), jnp.zeros(1))
    return (lambda params, x, t: module.apply(params, x, jnp.broadcast_to(t, x.shape[:1]))), params


# ---- measurements --------------------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """One solver with the MLP: time by batch size, first call, and temporary memory of library and reference."""

    time: dict[int, Ratio]
    first: FirstCall
    memory: tuple[float, float]


def on_mlp(solver: Any, params, batches: list[int]) -> Cost:
    """Time at each batch size, the first call at the last one, temporary memory at a large one."""
    ts = grid(_STEPS.value)
    make = [functools.partial(side, solver, ts, mlp) for side in (library, reference)]
    ours, theirs = (fresh() for fresh in make)
    key, found, x = jax.random.key(2), {}, None
    for batch in batches:
        x = jax.random.normal(jax.random.key(1), (batch, 64))
        np.testing.assert_allclose(ours(params, x, key), theirs(params, x, key), rtol=2e-3, atol=2e-3)
        found[batch] = alternate(lambda x=x: ours(params, x, key), lambda x=x: theirs(params, x, key), _TURNS.value)
    memory = temporary(ours, params, (_LARGE.value, 64)), temporary(theirs, params, (_LARGE.value, 64))
    return Cost(found, first_calls(make[0], make[1], (params, x, key), _FIRST.value), memory)


def print_detailed(name: str, params) -> None:
    """Prints the time at several numbers of steps, and the cost of the trajectory."""
    solver, x, key = SOLVERS[name], jax.random.normal(jax.random.key(1), (256, 64)), jax.random.key(2)

    def measured(ours: Run, theirs: Run) -> Ratio:
        jax.block_until_ready((ours(params, x, key), theirs(params, x, key)))
        return alternate(lambda: ours(params, x, key), lambda: theirs(params, x, key), _TURNS.value)

    cells = []
    for n in (max(1, _STEPS.value // 5), _STEPS.value, 4 * _STEPS.value):
        found = measured(*(side(solver, grid(n), mlp) for side in (library, reference)))
        cells.append(f"{n} steps {found} of {found.base:.2f} ms")
    print(f"{name}: {'; '.join(cells)}")
    ts = grid(_STEPS.value)
    plain, saving = library(solver, ts, mlp), library(solver, ts, mlp, True)
    baseline = reference(solver, ts, mlp, True)
    plain_mb, saving_mb, base_mb = (temporary(run, params, (_LARGE.value, 64)) for run in (plain, saving, baseline))
    print(
        f"    with the trajectory {measured(saving, baseline)}, {measured(saving, plain)} over sampling without it; "
        f"temporary memory {saving_mb:.1f} MB ({base_mb:.1f} reference; {plain_mb:.1f} without it)"
    )


def on_unet(names: list[str], batch: int, turns: int, nfe: int = 8) -> dict[str, Ratio]:
    """The time of sampling over that of as many calls of the network alone, both compiled."""
    network, params = unet()
    bare, x, key = jax.jit(network), jax.random.normal(jax.random.key(1), (batch, 8, 8, 1)), jax.random.key(2)
    found = {}
    for name in names:
        solver = SOLVERS[name]
        n = max(1, nfe // solver.evals_per_step)
        run, evaluations = library(solver, grid(n), network), n * solver.evals_per_step
        ours = lambda run=run: run(params, x, key)
        calls = lambda k=evaluations: [jax.block_until_ready(bare(params, x, 0.5)) for _ in range(k)]
        jax.block_until_ready((ours(), calls()))
        found[name] = alternate(ours, calls, turns)
    return found


def first_on_unet(solver: Any, batch: int) -> FirstCall:
    """The first call over that of the reference implementation."""
    network, params = unet()
    arguments = params, jax.random.normal(jax.random.key(1), (batch, 8, 8, 1)), jax.random.key(2)
    make = [functools.partial(side, solver, grid(8), network) for side in (library, reference)]
    return first_calls(make[0], make[1], arguments, _FIRST.value)


# ---- output --------------------------------------------------------------------------------------------------------


def draw(path: Path, panels: list[tuple[str, float, dict[str, float]]]) -> None:
    """Plots a bar for every solver, with the target as a line."""
    num_bars = max(len(values) for _, _, values in panels)
    figure = Figure(figsize=(3 * len(panels) + 1.5, 0.28 * num_bars + 1.5), layout="constrained")
    for ax, (title, target, values) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        ax.barh(list(values), list(values.values()), color="#2166ac")
        ax.axvline(target, color="#d6604d", linestyle="--", label=f"target {target}")
        ax.set_title(title, fontsize=9)
        ax.set(xlabel="ratio (1 is no overhead)", xlim=(0.5, None))
        ax.tick_params(labelsize=8)
        ax.legend(fontsize=7)
        ax.invert_yaxis()
    plots.save(figure, path)


def main(_) -> None:
    names = list(SOLVERS) if _SOLVERS.value == ["all"] else _SOLVERS.value
    for flag, given in (("solvers", names), ("detailed", _DETAILED.value)):
        for name in given:
            if name not in SOLVERS:
                raise app.UsageError(f"--{flag}: {name!r} is not one of {', '.join(SOLVERS)}")
    path = shared.results_folder(_WORKDIR, names=("cost.png",)) / "cost.png"
    batches, params = [int(b) for b in _BATCHES.value], mlp_params()
    print(f"MLP 3 x 128, 64 dimensions, {_STEPS.value} steps; ratios to the reference: median (of the minima)")
    heads = "".join(f"{f'time, batch {b}':>18}{'reference, ms':>15}" for b in batches)
    print(f"{'':22}{heads}{'first call':>20}{f'MB at {_LARGE.value}':>15}{'reference':>11}")
    costs: dict[str, Cost] = {}
    for name in names:
        cost = costs[name] = on_mlp(SOLVERS[name], params, batches)
        cells = "".join(f"{cost.time[b]!s:>18}{cost.time[b].base:15.2f}" for b in batches)
        print(f"{name:22}{cells}{cost.first!s:>20}{cost.memory[0]:15.1f}{cost.memory[1]:11.1f}", flush=True)
    panels = [
        (f"MLP, batch {b}: time", 1.05 if b >= 64 else 1.10, {n: c.time[b].median for n, c in costs.items()})
        for b in batches
    ]
    panels.append(("MLP: first call", 1.3, {n: c.first.ratio for n, c in costs.items()}))
    memory = {n: c.memory[0] / max(c.memory[1], 1e-9) for n, c in costs.items()}
    panels.append((f"temporary memory, batch {_LARGE.value}", 1.2, memory))
    print("\nMLP, batch 256")
    for name in _DETAILED.value:
        print_detailed(name, params)
    if _UNET.value:
        print(f"\ndigits U-Net, batch {_UNET.value}, 8 evaluations: over as many calls of the network alone")
        found = on_unet(names, _UNET.value, max(1, _TURNS.value // 3))
        for name, ratio in found.items():
            print(f"{name:22}{ratio!s:>18}{ratio.base:13.1f} ms")
        firsts = (f"{name} {first_on_unet(SOLVERS[name], _UNET.value)}" for name in _DETAILED.value)
        print(f"first call over the reference: {'; '.join(firsts)}")
        panels.append(("U-Net: time over the network", 1.03, {n: r.median for n, r in found.items()}))
    draw(path, panels)
    print(f"\nplot: {path}")


if __name__ == "__main__":
    with one_line():
        app.run(main)
