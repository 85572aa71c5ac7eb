"""Quality and cost of every guidance rule: fidelity against diversity, evaluations, time, recompilation.

    python -m experiments.benchmarks.guidance --workdir=runs/guidance                     # a mixture, exact denoisers
    python -m experiments.benchmarks.guidance --digits=runs/digits                        # and a trained network
    python -m experiments.benchmarks.guidance --fast                                      # a run of seconds

Fidelity is precision and the share of samples that are classified as the class they are conditioned on (by the exact
posterior, or by a reference classifier fitted to real images); diversity is recall, coverage, and the Vendi score
within a class. The energy and Fréchet distances measure both. All rules start from the same noise.
"""

import functools
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax.tree_util import Partial
from matplotlib.figure import Figure

from experiments.benchmarks.guidance_problems import Problem, digits_problem, mixture_problem
from experiments.cli import flags as shared
from experiments.cli.endings import one_line
from experiments.reporting import plots
from scorekit import guidance, metrics, predictions, process, samplers, schedules, solvers, trees
from scorekit.networks import UNet
from scorekit.solvers import grids
from scorekit.typing import Denoiser

LOW, HIGH = 0.15, 4.0
"""Bounds of the guidance interval, in sigma / alpha."""

RULES: dict[str, Callable[..., Denoiser]] = {
    "CFG": lambda c, u, s, g: guidance.classifier_free(c, u, g),
    "interval": lambda c, u, s, g: guidance.interval(guidance.classifier_free(c, u, g), c, s, LOW, HIGH),
    "increasing γ(t)": lambda c, u, s, g: guidance.classifier_free(c, u, guidance.weight_schedule(1.0, 2.0 * g - 1.0)),
    "rescale": lambda c, u, s, g: guidance.rescale(guidance.classifier_free(c, u, g), c, s, 0.7),
    "threshold": lambda c, u, s, g: guidance.dynamic_threshold(guidance.classifier_free(c, u, g), s, 0.99, 1.0),
    "APG": lambda c, u, s, g: guidance.apg(c, u, s, g, norm_threshold=2.5),
    "APG, momentum": lambda c, u, s, g: guidance.apg(c, u, s, g, momentum=-0.5, norm_threshold=2.5),
    "CFG++": lambda c, u, s, g: guidance.cfg_plus_plus(c, u, g / 10.0),  # at gamma / 10
    "CFG-Zero*": lambda c, u, s, g: guidance.cfg_zero_star(c, u, s, g),
    "tangential": lambda c, u, s, g: guidance.tangential(c, u, s, g),
    "frequency": lambda c, u, s, g: guidance.frequency_decoupled(c, u, g, (1.0, 0.5)),
}
"""``(cond, uncond, schedule, gamma) -> denoiser`` by the name in tables and plots."""
EULER = ("CFG++",)
"""Rules that are defined for DDIM."""
IMAGES = ("frequency", "threshold", "rescale")
"""Rules that are measured on images only."""

_DIGITS = flags.DEFINE_string("digits", None, "folder of a trained run, to measure its network too")
_MIXTURE = flags.DEFINE_bool("mixture", True, "whether to measure the mixture")
_SCALES = flags.DEFINE_list("scales", ["0", "1", "2", "3", "5", "10"], "guidance scales")
_SAMPLES = flags.DEFINE_integer("samples", 300, "samples of the network; the mixture has four times as many")
_STEPS = flags.DEFINE_integer("steps", 16, "steps of the sampler")
_TURNS = flags.DEFINE_integer("turns", 9, "repetitions of every timing")
_BATCH = flags.DEFINE_integer("batch", 32, "batch of the timings")
_FAST = flags.DEFINE_bool("fast", False, "the smallest sizes, as a test that everything runs")
_WORKDIR = shared.out("folder for the plots", "runs/guidance", "workdir")


METRICS = ("class accuracy", "precision", "recall", "coverage", "Vendi", "energy", "Fréchet")


# ---- quality ------------------------------------------------------------------------------------------------------


def rules_of(problem: Problem) -> dict[str, Callable[..., Denoiser]]:
    """The rules that apply to the problem."""
    found = {name: rule for name, rule in RULES.items() if len(problem.shape) == 3 or name not in IMAGES}
    if "weak" in problem.extra:
        found["autoguidance"] = lambda c, u, s, g: guidance.autoguidance(c, problem.extra["weak"], g)
    if "log posterior" in problem.extra:
        posterior = problem.extra["log posterior"]
        found["classifier"] = lambda c, u, s, g: guidance.classifier_guidance(u, posterior, s, g)
    return found


def make_compare(problem: Problem):
    """``samples -> metrics``, all of ``METRICS`` but the class accuracy."""
    classes = problem.null

    @jax.jit
    def compare(real, x):
        precision, recall = metrics.precision_recall(real, x)
        coverage = metrics.density_coverage(real, x).coverage
        each = x[: len(x) // classes * classes].reshape(-1, classes, x.shape[1]).swapaxes(0, 1)
        vendi = jnp.mean(jax.vmap(lambda one: metrics.vendi_score(one, problem.bandwidth))(each))
        distances = metrics.energy_distance(real, x), metrics.frechet_distance(real, x)
        return jnp.stack([precision, recall, coverage, vendi, *distances])

    return lambda x: np.asarray(compare(problem.real, jnp.asarray(x).reshape(len(x), -1)))


Found = dict[str, dict[float, np.ndarray]]
"""The values of ``METRICS``, by rule and scale."""


def quality(problem: Problem, scales: list[float], steps: int) -> tuple[Found, dict[str, dict[float, np.ndarray]]]:
    """The metrics of every rule and scale, and the first ten samples of each."""
    cond, uncond = guidance.branches(problem.conditional, problem.labels, problem.null)
    like = jax.ShapeDtypeStruct((len(problem.labels), *problem.shape), jnp.float32)
    noise = process.sample_prior(jax.random.key(0), problem.schedule, like)
    ts, compare = grids.uniform(steps), make_compare(problem)
    found: Found = {}
    pictures: dict[str, dict[float, np.ndarray]] = {}
    for name, rule in rules_of(problem).items():
        draw = jax.jit(samplers.sample)
        solver = solvers.Euler() if name in EULER else solvers.AdamsBashforth(order=2)
        for scale in scales:
            denoiser = rule(cond, uncond, problem.schedule, jnp.float32(scale))
            x = np.asarray(draw(None, denoiser, problem.schedule, solver, noise, ts))
            found.setdefault(name, {})[scale] = np.array([problem.accuracy(x), *compare(x)])
            pictures.setdefault(name, {})[scale] = x[:10]
    return found, pictures


def real_row(problem: Problem) -> np.ndarray:
    """The metrics of one half of the real data against the other."""
    order = np.random.default_rng(0).permutation(len(problem.real))
    one, other = np.array_split(problem.real[order], 2)
    vendi = jax.jit(lambda x: metrics.vendi_score(x, problem.bandwidth))

    @jax.jit
    def compare(one, other):
        coverage = metrics.density_coverage(one, other).coverage
        distances = metrics.energy_distance(one, other), metrics.frechet_distance(one, other)
        return metrics.precision_recall(one, other), coverage, distances

    (precision, recall), coverage, distances = compare(one, other)
    diversity = np.mean([vendi(x) for x in problem.by_class])
    return np.array([problem.real_accuracy, precision, recall, coverage, diversity, *distances], float)


def print_quality(problem: Problem, found: Found, steps: int) -> None:
    """Prints the metrics, and for every rule those at ``TARGET`` and at the highest coverage."""
    n = len(problem.labels)
    print(f"\n{problem.name}: {n} samples, {steps} steps; Vendi score of {n // problem.null} samples of a class")
    print(f"{'rule':16}{'γ':>5}" + "".join(f"{name:>15}" for name in METRICS))
    print(f"{'real, halves':21}" + "".join(f"{v:15.3f}" for v in real_row(problem)))
    for name, rows in found.items():
        for scale, values in rows.items():
            print(f"{name:16}{scale:5g}" + "".join(f"{v:15.3f}" for v in values))
    print(f"{'':16}{f'at class accuracy {TARGET:g} (interpolated)':>40}{'at the highest coverage':>33}")
    print(f"{'':16}" + "".join(f"{name:>10}" for name in ("γ", *AT)) + "".join(f"{name:>11}" for name in ("γ", *BEST)))
    coverage = 1 + METRICS.index("coverage")
    tables = {name: np.array([[scale, *values] for scale, values in rows.items()]) for name, rows in found.items()}
    for name, table in sorted(tables.items(), key=lambda item: -crossing(item[1])[coverage]):
        best = table[table[:, coverage].argmax()]
        pick = lambda row, names: [row[0], *(row[1 + METRICS.index(n)] for n in names)]
        cells = [f"{v:10.3f}" for v in pick(crossing(table), AT)] + [f"{v:11.3f}" for v in pick(best, BEST)]
        print(f"{name:16}" + "".join(cells))


TARGET, AT, BEST = 0.95, ("coverage", "Vendi", "energy"), ("coverage", "precision")


def crossing(table: np.ndarray) -> np.ndarray:
    """Scale and metrics where the class accuracy first reaches ``TARGET``, interpolated; NaN if it never does."""
    for low, high in itertools.pairwise(table):
        if low[1] < TARGET <= high[1]:
            return low + (high - low) * (TARGET - low[1]) / (high[1] - low[1])
    return table[0] if table[0, 1] >= TARGET else np.full(table.shape[1], np.nan)


PANELS = (("Vendi", "class accuracy"), ("recall", "precision"), ("coverage", "class accuracy"))
UNITS = {"Vendi": "Vendi score within a class (effective samples)", "recall": "recall (share of real data)"}
UNITS |= {"precision": "precision (share of samples)", "class accuracy": "class accuracy (share of samples)"}
UNITS |= {"coverage": "coverage (share of real data)", "energy": "energy distance (units of the data)"}


def draw_quality(path: Path, problem: Problem, found: Found) -> None:
    """Plots fidelity against diversity, one curve per rule, and the energy distance by scale."""
    figure = Figure(figsize=(21, 6), layout="constrained")
    axes = figure.subplots(1, len(PANELS) + 1)
    for i, (name, rows) in enumerate(found.items()):
        style = {"color": f"C{i % 10}", "marker": "os^vD"[i % 5], "markersize": 4, "linestyle": "-" if i < 10 else "--"}
        values = np.array(list(rows.values()))
        for ax, pair in zip(axes, PANELS, strict=False):
            across, up = (values[:, METRICS.index(kind)] for kind in pair)
            ax.plot(across, up, label=name, **style)
            ax.annotate(f"{list(rows)[-1]:g}", (across[-1], up[-1]), fontsize=7, color=style["color"])
        axes[-1].plot(list(rows), values[:, METRICS.index("energy")], label=name, **style)
    for ax, (across, up) in zip(axes, PANELS, strict=False):
        ax.set(xlabel=UNITS[across], ylabel=UNITS[up], title=f"{problem.name} (the number is the last γ)")
    axes[-1].set(xlabel="guidance scale γ", ylabel=UNITS["energy"], title="distance to the real data")
    axes[-1].set_yscale("symlog", linthresh=0.02)  # an unbiased estimate may be negative
    for ax in axes:
        ax.grid(alpha=0.25)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=7, fontsize=9)
    plots.save(figure, path)


# ---- cost ---------------------------------------------------------------------------------------------------------


def two_calls(conditional, labels, null, schedule, gamma):
    """CFG of two denoisers that share no computation."""
    cond, uncond = (guidance.branches(conditional, jnp.full(len(labels), c, jnp.int32))[0] for c in (labels, null))
    return guidance.classifier_free(cond, uncond, gamma)


def nested(c, u, s, g):
    """A composition of most rules."""
    guided = guidance.rescale(guidance.apg(c, u, s, g, momentum=-0.5), c, s, 0.5)
    return guidance.dynamic_threshold(guidance.interval(guided, c, s, LOW, HIGH), s)


def cost(module: UNet, batch: int, steps: int, turns: int) -> None:
    """Prints the time of sampling with an untrained digits U-Net over CFG in one call; medians of alternating runs."""
    schedule = schedules.cosine()
    labels = np.arange(batch, dtype=np.int32) % 10
    x = jax.random.normal(jax.random.key(0), (batch, 8, 8, 1))
    params = jax.jit(module.init)(jax.random.key(1), x[:1], jnp.zeros(1), labels[:1])

    def apply(params, x, t, labels):
        return predictions.V().to_prediction(module.apply(params, x, t, labels), x, t, schedule)

    conditional, gamma = Partial(apply, params), jnp.float32(3.0)
    cond, uncond = guidance.branches(conditional, labels, 10)
    rules = {name: rule(cond, uncond, schedule, gamma) for name, rule in RULES.items()}
    rules = {
        "CFG": rules.pop("CFG"),
        "no guidance": cond,
        "CFG, two calls": two_calls(conditional, labels, 10, schedule, gamma),
        **rules,
        "nested": nested(cond, uncond, schedule, gamma),
    }
    ts, solver = grids.uniform(steps), solvers.Euler()
    draw = jax.jit(samplers.sample)
    for denoiser in rules.values():
        jax.block_until_ready(draw(None, denoiser, schedule, solver, x, ts))
    ratios: dict[str, list[float]] = {name: [] for name in rules}
    for turn in range(turns):
        seconds = {}
        for name in list(rules)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            jax.block_until_ready(draw(None, rules[name], schedule, solver, x, ts))
            seconds[name] = time.perf_counter() - start
        for name, value in seconds.items():
            ratios[name].append(value / seconds["CFG"])
    noise = np.exp(-0.5 * np.asarray(schedule.log_snr(ts[:-1])))
    guided_steps = int(np.sum((noise > LOW) & (noise <= HIGH)))
    print(f"\ncost: digits U-Net, batch {batch}, {steps} steps, over CFG in one call; rows: evaluations per sample")
    print(f"{'rule':18}{'rows':>6}{'of CFG':>8}{'time':>8}{'quartiles':>14}")
    for name, values in ratios.items():
        rows = steps + (0 if name == "no guidance" else guided_steps if name in ("interval", "nested") else steps)
        low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        print(f"{name:18}{rows:6}{rows / (2 * steps):8.2f}{middle:8.2f}{f'{low:.2f}-{high:.2f}':>14}")


# ---- recompilation ------------------------------------------------------------------------------------------------


def recompilation() -> None:
    """Prints how often the network is traced, at first and when every hyper-parameter changes."""
    schedule, x, ts, traces = schedules.cosine(), jnp.ones((4, 8, 8, 1)), grids.uniform(4), []

    def conditional(x, t, label):
        traces.append(1)
        return predictions.V().to_prediction(jnp.sin(x + trees.expand(label, x)), x, t, schedule)

    cond, uncond = guidance.branches(conditional, jnp.ones(4), 0.0)
    cases: dict[str, Callable[[float], Denoiser]] = {
        name: functools.partial(lambda rule, f: rule(cond, uncond, schedule, 2.0 * f), rule)
        for name, rule in RULES.items()
    }
    guided = guidance.classifier_free(cond, uncond, 3.0)
    cases |= {
        "interval, bounds": lambda f: guidance.interval(guided, cond, schedule, 0.1 * f, 2.0 * f),
        "thresholds": lambda f: guidance.dynamic_threshold(
            guidance.static_threshold(guided, schedule, 2.0 * f), schedule, 0.9 / f, f
        ),
        "APG, all values": lambda f: guidance.apg(
            cond, uncond, schedule, 2.0 * f, parallel=0.2 * f, momentum=-0.5 / f, norm_threshold=2.0 * f
        ),
        "γ(t), its values": lambda f: guidance.classifier_free(
            cond, uncond, guidance.weight_schedule(f, 3.0 * f, "power", power=f)
        ),
    }
    print("\nrecompilation: traces of the network at the first call, and new ones when every hyper-parameter changes")
    for name, build in cases.items():
        draw = jax.jit(lambda *args: samplers.sample(*args))  # a new function: traces are shared by structure
        counts = []
        for factor in (1.0, 1.3):
            traces.clear()
            jax.block_until_ready(draw(None, build(factor), schedule, solvers.Euler(), x, ts))
            counts.append(len(traces))
        print(f"{name:18}{counts[0]:4}{counts[1]:4}")


def main(_) -> None:
    fast = _FAST.value
    scales = [0.0, 4.0] if fast else sorted(map(float, _SCALES.value))
    samples, steps = (40, 4) if fast else (_SAMPLES.value, _STEPS.value)
    if not scales or scales[0] < 0 or scales[-1] > 10:
        raise app.UsageError(f"--scales: must lie in 0 to 10, got {_SCALES.value}")
    folder = shared.results_folder(_WORKDIR, kind="plots of guidance rules")
    makers = [functools.partial(mixture_problem, 4 * samples)] if _MIXTURE.value else []
    if _DIGITS.value:
        makers.append(functools.partial(digits_problem, _DIGITS.value, samples))
    for make in makers:
        with one_line():
            problem = make()
        found, pictures = quality(problem, scales, steps)
        print_quality(problem, found, steps)
        draw_quality(folder / f"{problem.name}.png", problem, found)
        if problem.name == "digits":
            for name, strip in pictures.items():
                words = name.replace(" ", "_").replace(",", "").replace("*", "").replace("γ(t)", "scale")
                plots.guidance_strip(
                    folder / f"digits_{words}.png", strip, title=f"{name}: samples by guidance scale γ"
                )
        print(f"plot: {folder / f'{problem.name}.png'}", flush=True)
    if fast:
        cost(UNet(channels=8, multipliers=(1,), num_classes=10), 4, 2, 1)
    else:
        cost(UNet(channels=24, num_classes=10), _BATCH.value, _STEPS.value, _TURNS.value)
    recompilation()


if __name__ == "__main__":
    with one_line():
        app.run(main)
