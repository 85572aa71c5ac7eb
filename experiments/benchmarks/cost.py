"""What sampling costs over code written by hand: every fixed-grid solver beside its twin of :mod:`.by_hand`.

    python -m experiments.benchmarks.cost --workdir=runs/cost

Time, first call (trace, compile, run) and XLA's temporary memory on a small MLP, where whatever is not the network
shows; growth with the number of steps, and saving the trajectory, for a few solvers; and, on the U-Net of the digits
config, sampling over as many calls of the bare network. The two sides of a pair run in turn in one process: a figure is
the median of the ratio within a turn, and beside it, in brackets, the ratio of the two minima.
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

from experiments.benchmarks import by_hand
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
_CLOSELY = flags.DEFINE_list("closely", ["DDIM", "AB3 flow", "UniPC2"], "solvers to measure growth and trajectories of")
_STEPS = flags.DEFINE_integer("steps", 50, "steps on the MLP")
_BATCHES = flags.DEFINE_list("batches", ["256", "8"], "batch sizes on the MLP")
_LARGE = flags.DEFINE_integer("large", 16384, "batch size at which temporary memory is read off (nothing is run)")
_TURNS = flags.DEFINE_integer("turns", 31, "repetitions of a pair on the MLP; about a third as many on the U-Net")
_FIRST = flags.DEFINE_integer("first", 3, "repetitions of the first call")
_UNET = flags.DEFINE_integer("unet", 64, "batch size on the U-Net of the digits config; 0 leaves it out")
_WORKDIR = flags.DEFINE_string("workdir", "runs/cost", "where the plot goes")

Run = Partial
"""``(params, x, key) -> samples``: a compiled function of ``(ts, params, x, key)`` at its times."""


class Ratio(NamedTuple):
    """Ours over theirs: the median within a turn, and of the minima; the median of theirs in milliseconds."""

    median: float
    minima: float
    base: float

    def __str__(self) -> str:
        return f"{self.median:6.3f} ({self.minima:.3f})"


class First(NamedTuple):
    """Seconds to trace, compile and run once: ours over theirs, and ours less theirs (medians)."""

    ratio: float
    added: float

    def __str__(self) -> str:
        return f"{self.ratio:5.2f} (+{self.added:.2f} s)"


def in_turns(ours: Callable[[], Any], theirs: Callable[[], Any], turns: int) -> Ratio:
    """Both, alternating which goes first."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(turns):
        for mine in (bool(turn % 2), not turn % 2):
            start = time.perf_counter()
            jax.block_until_ready((ours if mine else theirs)())
            seconds[mine].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(seconds[True], seconds[False], strict=True)]
    base = 1e3 * statistics.median(seconds[False])
    return Ratio(statistics.median(ratios), min(seconds[True]) / min(seconds[False]), base)


def first_calls(ours: Callable[[], Run], theirs: Callable[[], Run], arguments, turns: int) -> First:
    """Fresh functions in turns, so that nothing but jax's own caches is shared."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(turns):
        for mine in (bool(turn % 2), not turn % 2):
            start = time.perf_counter()
            jax.block_until_ready((ours if mine else theirs)()(*arguments))
            seconds[mine].append(time.perf_counter() - start)
    mine, base = statistics.median(seconds[True]), statistics.median(seconds[False])
    return First(mine / base, mine - base)


def temporary(run: Run, params, shape: tuple[int, ...]) -> float:
    """Megabytes that XLA reserves beside arguments and results."""
    x, key = jax.ShapeDtypeStruct(shape, jnp.float32), jax.random.key(0)
    return run.func.lower(*run.args, params, x, key).compile().memory_analysis().temp_size_in_bytes / 2**20


def library(solver: Any, ts: Array, network, trajectory: bool = False) -> Run:
    """The library's, with the times as an argument, as in a program that may change its grid."""

    @jax.jit
    def run(ts, params, x, key):
        denoiser = denoisers.denoiser_from_network(Partial(network, params), SCHEDULE)
        key = key if solver.stochastic else None
        return samplers.sample(key, denoiser, SCHEDULE, solver, x, ts, trajectory=trajectory)

    return Partial(run, ts)


def twin(solver: Any, ts: Array, network, trajectory: bool = False) -> Run:
    """The hand-written one, with the times in its table of constants."""
    run = by_hand.sampler(solver, SCHEDULE, np.asarray(ts), network, trajectory)
    return Partial(jax.jit(lambda ts, *arguments: run(*arguments)), ts)


def grid(n: int) -> Array:
    """From a level that every solver takes."""
    return solvers.grids.uniform(n, 0.98, 0.0)


# ---- the networks ------------------------------------------------------------------------------------------------


def mlp(params, x, t):
    """Three hidden layers of 128, told the time."""
    h = jnp.concatenate([x, jnp.broadcast_to(t, (x.shape[0], 1))], axis=1)
    for weight in params[:-1]:
        h = jax.nn.silu(h @ weight)
    return h @ params[-1]


def mlp_params():
    sizes = [(65, 128), (128, 128), (128, 128), (128, 64)]
    keys = jax.random.split(jax.random.key(0), len(sizes))
    return [jax.random.normal(k, size) / math.sqrt(size[0]) for k, size in zip(keys, sizes, strict=True)]


def unet():
    """The network of the digits config, and parameters."""
    module = UNet(channels=24, num_classes=10)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), jnp.zeros(1))
    return (lambda params, x, t: module.apply(params, x, jnp.broadcast_to(t, x.shape[:1]))), params


# ---- measurements --------------------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """One solver on the MLP: time by batch size, the first call, and temporary memory, ours and theirs."""

    time: dict[int, Ratio]
    first: First
    memory: tuple[float, float]


def on_mlp(solver: Any, params, batches: list[int]) -> Cost:
    """Time at each batch size, the first call at the last one, memory at a large one."""
    ts = grid(_STEPS.value)
    make = [functools.partial(side, solver, ts, mlp) for side in (library, twin)]
    ours, theirs = (fresh() for fresh in make)
    key, found, x = jax.random.key(2), {}, None
    for batch in batches:
        x = jax.random.normal(jax.random.key(1), (batch, 64))
        np.testing.assert_allclose(ours(params, x, key), theirs(params, x, key), rtol=2e-3, atol=2e-3)
        found[batch] = in_turns(lambda x=x: ours(params, x, key), lambda x=x: theirs(params, x, key), _TURNS.value)
    memory = temporary(ours, params, (_LARGE.value, 64)), temporary(theirs, params, (_LARGE.value, 64))
    return Cost(found, first_calls(make[0], make[1], (params, x, key), _FIRST.value), memory)


def print_closely(name: str, params) -> None:
    """More steps, and the trajectory."""
    solver, x, key = SOLVERS[name], jax.random.normal(jax.random.key(1), (256, 64)), jax.random.key(2)

    def measured(ours: Run, theirs: Run) -> Ratio:
        jax.block_until_ready((ours(params, x, key), theirs(params, x, key)))
        return in_turns(lambda: ours(params, x, key), lambda: theirs(params, x, key), _TURNS.value)

    cells = []
    for n in (max(1, _STEPS.value // 5), _STEPS.value, 4 * _STEPS.value):
        found = measured(*(side(solver, grid(n), mlp) for side in (library, twin)))
        cells.append(f"{n} steps {found} of {found.base:.2f} ms")
    print(f"{name}: {'; '.join(cells)}")
    ts = grid(_STEPS.value)
    plain, kept, by_twin = library(solver, ts, mlp), library(solver, ts, mlp, True), twin(solver, ts, mlp, True)
    plain_mb, kept_mb, twin_mb = (temporary(run, params, (_LARGE.value, 64)) for run in (plain, kept, by_twin))
    print(
        f"    with the trajectory {measured(kept, by_twin)}, {measured(kept, plain)} over sampling without it; "
        f"temporary memory {kept_mb:.1f} MB ({twin_mb:.1f} by hand; {plain_mb:.1f} without it)"
    )


def on_unet(names: list[str], batch: int, turns: int, nfe: int = 8) -> dict[str, Ratio]:
    """Sampling over as many calls of the bare network, both compiled."""
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
        found[name] = in_turns(ours, calls, turns)
    return found


def first_on_unet(solver: Any, batch: int) -> First:
    """The first call over that of the hand-written sampler."""
    network, params = unet()
    arguments = params, jax.random.normal(jax.random.key(1), (batch, 8, 8, 1)), jax.random.key(2)
    make = [functools.partial(side, solver, grid(8), network) for side in (library, twin)]
    return first_calls(make[0], make[1], arguments, _FIRST.value)


# ---- output --------------------------------------------------------------------------------------------------------


def draw(path: Path, panels: list[tuple[str, float, dict[str, float]]]) -> None:
    """A bar for every solver, beside the target."""
    solvers_shown = max(len(values) for _, _, values in panels)
    figure = Figure(figsize=(3 * len(panels) + 1.5, 0.28 * solvers_shown + 1.5), layout="constrained")
    for ax, (title, target, values) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        ax.barh(list(values), list(values.values()), color="#2166ac")
        ax.axvline(target, color="#d6604d", linestyle="--", label=f"target {target}")
        ax.set_title(title, fontsize=9)
        ax.set(xlabel="ratio (1 is no cost)", xlim=(0.5, None))
        ax.tick_params(labelsize=8)
        ax.legend(fontsize=7)
        ax.invert_yaxis()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def main(_) -> None:
    names = list(SOLVERS) if _SOLVERS.value == ["all"] else _SOLVERS.value
    for flag, given in (("solvers", names), ("closely", _CLOSELY.value)):
        for name in given:
            if name not in SOLVERS:
                raise app.UsageError(f"--{flag}: {name!r} is not one of {', '.join(SOLVERS)}")
    batches, params = [int(b) for b in _BATCHES.value], mlp_params()
    print(f"MLP 3 x 128, 64 dimensions, {_STEPS.value} steps; ratios to the sampler by hand: median (of the minima)")
    heads = "".join(f"{f'time, batch {b}':>18}{'by hand, ms':>13}" for b in batches)
    print(f"{'':22}{heads}{'first call':>20}{f'MB at {_LARGE.value}':>15}{'by hand':>9}")
    costs: dict[str, Cost] = {}
    for name in names:
        cost = costs[name] = on_mlp(SOLVERS[name], params, batches)
        cells = "".join(f"{cost.time[b]!s:>18}{cost.time[b].base:13.2f}" for b in batches)
        print(f"{name:22}{cells}{cost.first!s:>20}{cost.memory[0]:15.1f}{cost.memory[1]:9.1f}", flush=True)
    panels = [
        (f"MLP, batch {b}: time", 1.05 if b >= 64 else 1.10, {n: c.time[b].median for n, c in costs.items()})
        for b in batches
    ]
    panels.append(("MLP: first call", 1.3, {n: c.first.ratio for n, c in costs.items()}))
    memory = {n: c.memory[0] / max(c.memory[1], 1e-9) for n, c in costs.items()}
    panels.append((f"temporary memory, batch {_LARGE.value}", 1.2, memory))
    print("\nMLP, batch 256")
    for name in _CLOSELY.value:
        print_closely(name, params)
    if _UNET.value:
        print(f"\ndigits U-Net, batch {_UNET.value}, 8 evaluations: over the bare network, called as often")
        found = on_unet(names, _UNET.value, max(1, _TURNS.value // 3))
        for name, ratio in found.items():
            print(f"{name:22}{ratio!s:>18}{ratio.base:13.1f} ms")
        firsts = (f"{name} {first_on_unet(SOLVERS[name], _UNET.value)}" for name in _CLOSELY.value)
        print(f"first call over the sampler by hand: {'; '.join(firsts)}")
        panels.append(("U-Net: time over the network", 1.03, {n: r.median for n, r in found.items()}))
    path = Path(_WORKDIR.value).expanduser() / "cost.png"
    draw(path, panels)
    print(f"\nplot: {path}")


if __name__ == "__main__":
    app.run(main)
