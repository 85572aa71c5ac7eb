"""The overhead of sampling: every fixed-grid solver against its reference implementation of :mod:`.reference`.

Time, first call (trace, compile, run) and XLA's temporary memory with a small MLP, so that the cost of everything but
the network is visible; the dependence on the number of steps, and the cost of saving the trajectory, for a few solvers;
and, with the U-Net of the digits config, the time of sampling over that of as many calls of the network alone. A figure
is the median of the ratio within a repetition, followed in brackets by the ratio of the two minima.
"""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.tree_util import Partial
from matplotlib.figure import Figure

from experiments.benchmarks.cost import reference as reference_samplers
from experiments.benchmarks.measuring import Timing, in_turns
from experiments.cli.config import ConfigError
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

Run = Partial
"""``(params, x, key) -> samples``: a compiled function of ``(ts, params, x, key)``, bound to its times."""


def ratio(timing: Timing) -> str:
    """The median ratio, and the ratio of the minima."""
    return f"{timing.ratio:6.3f} ({timing.minima:.3f})"


def first_calls(ours: Callable[[], Run], theirs: Callable[[], Run], arguments, turns: int) -> Timing:
    """Tracing, compiling and running new functions once, so that they share nothing but JAX's own caches."""
    return in_turns(lambda: ours()(*arguments), lambda: theirs()(*arguments), turns)


def first(timing: Timing) -> str:
    """The first call: the library over the reference, and the difference in seconds (medians)."""
    return f"{timing.ours / timing.theirs:5.2f} (+{timing.ours - timing.theirs:.2f} s)"


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

    time: dict[int, Timing]
    first: Timing
    memory: tuple[float, float]


def on_mlp(solver: Any, params, options: flags.FlagValues) -> Cost:
    """Time at each batch size, the first call at the last one, temporary memory at a large one."""
    ts = grid(options.steps)
    make = [functools.partial(side, solver, ts, mlp) for side in (library, reference)]
    ours, theirs = (fresh() for fresh in make)
    key, found, x = jax.random.key(2), {}, None
    for batch in map(int, options.batches):
        x = jax.random.normal(jax.random.key(1), (batch, 64))
        np.testing.assert_allclose(ours(params, x, key), theirs(params, x, key), rtol=2e-3, atol=2e-3)
        found[batch] = in_turns(lambda x=x: ours(params, x, key), lambda x=x: theirs(params, x, key), options.turns)
    memory = temporary(ours, params, (options.large, 64)), temporary(theirs, params, (options.large, 64))
    return Cost(found, first_calls(make[0], make[1], (params, x, key), options.first), memory)


def print_detailed(name: str, params, options: flags.FlagValues) -> None:
    """Prints the time at several numbers of steps, and the cost of the trajectory."""
    solver, x, key = SOLVERS[name], jax.random.normal(jax.random.key(1), (256, 64)), jax.random.key(2)

    def measured(ours: Run, theirs: Run) -> Timing:
        jax.block_until_ready((ours(params, x, key), theirs(params, x, key)))
        return in_turns(lambda: ours(params, x, key), lambda: theirs(params, x, key), options.turns)

    cells = []
    for n in (max(1, options.steps // 5), options.steps, 4 * options.steps):
        found = measured(*(side(solver, grid(n), mlp) for side in (library, reference)))
        cells.append(f"{n} steps {ratio(found)} of {1e3 * found.theirs:.2f} ms")
    print(f"{name}: {'; '.join(cells)}")
    ts = grid(options.steps)
    plain, saving = library(solver, ts, mlp), library(solver, ts, mlp, True)
    baseline = reference(solver, ts, mlp, True)
    plain_mb, saving_mb, base_mb = (temporary(run, params, (options.large, 64)) for run in (plain, saving, baseline))
    print(
        f"    with the trajectory {ratio(measured(saving, baseline))}, {ratio(measured(saving, plain))} over sampling "
        f"without it; temporary memory {saving_mb:.1f} MB ({base_mb:.1f} reference; {plain_mb:.1f} without it)"
    )


def on_unet(names: list[str], batch: int, turns: int, nfe: int = 8) -> dict[str, Timing]:
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
        found[name] = in_turns(ours, calls, turns)
    return found


def first_on_unet(solver: Any, options: flags.FlagValues) -> Timing:
    """The first call over that of the reference implementation."""
    network, params = unet()
    arguments = params, jax.random.normal(jax.random.key(1), (options.unet, 8, 8, 1)), jax.random.key(2)
    make = [functools.partial(side, solver, grid(8), network) for side in (library, reference)]
    return first_calls(make[0], make[1], arguments, options.first)


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


def run(options: flags.FlagValues, path: Path) -> None:
    """Prints the tables of some solvers, or of all, and plots them."""
    names, detailed = list(SOLVERS) if options.solvers == ["all"] else options.solvers, options.detailed
    batches = [*map(int, options.batches)]
    for flag, given in (("solvers", names), ("detailed", detailed)):
        for name in given:
            if name not in SOLVERS:
                raise ConfigError(f"--{flag}: {name!r} is not one of {', '.join(SOLVERS)}")
    params = mlp_params()
    print(f"MLP 3 x 128, 64 dimensions, {options.steps} steps; ratios to the reference: median (of the minima)")
    heads = "".join(f"{f'time, batch {b}':>18}{'reference, ms':>15}" for b in batches)
    print(f"{'':22}{heads}{'first call':>20}{f'MB at {options.large}':>15}{'reference':>11}")
    costs: dict[str, Cost] = {}
    for name in names:
        cost = costs[name] = on_mlp(SOLVERS[name], params, options)
        cells = "".join(f"{ratio(timing):>18}{1e3 * timing.theirs:15.2f}" for timing in cost.time.values())
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
        print_detailed(name, params, options)
    if options.unet:
        print(f"\ndigits U-Net, batch {options.unet}, 8 evaluations: over as many calls of the network alone")
        found = on_unet(names, options.unet, max(1, options.turns // 3))
        for name, timing in found.items():
            print(f"{name:22}{ratio(timing):>18}{1e3 * timing.theirs:13.1f} ms")
        firsts = (f"{name} {first(first_on_unet(SOLVERS[name], options))}" for name in detailed)
        print(f"first call over the reference: {'; '.join(firsts)}")
        panels.append(("U-Net: time over the network", 1.03, {n: timing.ratio for n, timing in found.items()}))
    draw(path, panels)
    print(f"\nplot: {path}")
