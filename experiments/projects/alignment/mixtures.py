"""Fine-tuning and steering to a reward on mixtures, against exact tilted laws at equal evaluations of the network.

    python -m experiments.projects.alignment.mixtures --out=runs/alignment_mixtures
    python -m experiments.projects.alignment.mixtures --law=2 --reward=kink --method=adjoint,steered --steps=500

The network is the exact denoiser of a mixture of four modes and the correction of a small MLP that starts at 0, so that
the law before fine-tuning is exact. A row is one method. Columns, KL divergences in nats: of the limit of the method
from the law of the model (of its probability-flow ODE), with the standard error over samples of the limit; of the limit
from the tilted law, where these differ; the energy distance of samples to those of the tilted law, and the p-value of
its permutation test; mean rewards of both; the weight in the tilted law of modes that have less than half of it in the
samples; evaluations of the network (of one sample for methods without training); CPU seconds with compilation.
"""

import itertools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.progress import Progress
from experiments.projects.alignment import methods
from experiments.projects.alignment.laws import REWARDS, SCHEDULE, Problem, energy_test, lost, nft_limit, problem, start
from experiments.projects.alignment.methods import BATCH, FREE, TRAINED, as_denoiser, model
from experiments.reporting.curves import Line, Panel, curves, lines
from experiments.reporting.tables import Table, tables_as_text
from scorekit import samplers, solvers
from scorekit.io import write_atomic
from scorekit.likelihood import log_likelihood

HEADER = ["D", "reward", "method", "limit from model", "limit from tilted", "energy", "p", "reward", "exact", "lost"]
HEADER += ["evaluations", "CPU s"]
LIMITED = ("nft", "weighted", "policy", "gradient", "adjoint")
"""Methods whose limit has a density."""
PANELS = {
    "noise that depends on the sample": ("adjoint", "adjoint_half", "adjoint_quiet"),
    "without KL, and best of 4": ("gradient", "collapse", "best_of"),
}
_LAW = flags.DEFINE_list("law", ["all"], "Dimensions of the mixture: 2, 16.")
_REWARD = flags.DEFINE_list("reward", ["all"], f"Rewards: {', '.join(REWARDS)}.")
_METHOD = flags.DEFINE_list("method", ["all"], f"Methods: {', '.join([*TRAINED, *FREE])}.")
_TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "lambda.", lower_bound=0.05, upper_bound=100.0)
_STEPS = shared.count("steps", 2000, f"Updates of the cheapest method, of {BATCH} examples.", 4)
_PATH = shared.count("path", 24, "Steps of a path of training; without training twice as many.", 2)
_SAMPLES = shared.count("samples", 2000, "Samples of a comparison.", 16)
_RATE = flags.DEFINE_float("rate", 5e-3, "Largest step size of Adam.", lower_bound=1e-6, upper_bound=1.0)
_SEED = shared.seed("Seed of training and samples.")
_OUT = shared.out("folder for the table and curves", "runs/alignment_mixtures")


def divergence(p: Problem, limit: Callable | None, key, count: int):
    """``params -> (KL, its error)`` from samples of the limit (None: the tilted law), and the limit from that law."""
    x = p.tilted.sample(key, (count,)) if limit is None else drawn(key, limit, p, count)
    log_p = lambda network: log_likelihood(as_denoiser(network), SCHEDULE, x, rtol=1e-4, atol=1e-4).log_p
    reference, own = p.tilted.log_density(x), None
    if limit is not None:
        of_limit = jax.jit(lambda: log_p(limit))()
        reference, own = of_limit, mean_and_error(of_limit - reference)
    of = jax.jit(lambda params: log_p(model(p, params)))
    return (lambda params: mean_and_error(reference - of(params))), own


def mean_and_error(values) -> tuple[float, float]:
    values = np.asarray(values, float)
    return values.mean(), values.std(ddof=1) / len(values) ** 0.5


def drawn(key, network: Callable, p: Problem, count: int):
    """Samples of the probability-flow ODE of a network."""
    ts = jnp.linspace(1.0, 0.0, 65)
    run = lambda x: samplers.sample(as_denoiser(network), SCHEDULE, solvers.DPMSolverPP2M(), x, ts)
    return jax.jit(run)(start(key, p, 1.0, count))


def show(pair) -> str | None:
    return None if pair is None else f"{pair[0]:.4f} ± {pair[1]:.4f}"


def measured(method: str, p: Problem, exact: np.ndarray):
    """The cells of a method from its divergence on, its samples, and its curve (evaluations, divergence, error).

    Args:
      method: one of ``TRAINED`` or ``FREE``.
      p: the problem.
      exact: samples of the tilted law, more than those of a comparison.
    """
    temperature, n, count = _TEMPERATURE.value, _PATH.value, _SAMPLES.value
    for_training, for_samples, for_limit = jax.random.split(jax.random.key(_SEED.value + 1), 3)
    of, kl, own, curve, seconds = None, None, None, [], 0.0
    if method in LIMITED:
        limit = nft_limit(p) if method == "nft" else None
        of, own = divergence(p, limit, for_limit, count if p.data.dim == 2 else count // 8)
    begin = time.process_time()
    if method in FREE:
        draw = lambda key: methods.without_training(key, method, p, temperature, 2 * n, count)
        x, evals = jax.block_until_ready(jax.jit(draw)(for_samples)), FREE[method] * 2 * n
        seconds = time.process_time() - begin
    else:
        for params, evals in methods.trained(for_training, method, p, temperature, _STEPS.value, n, _RATE.value):
            seconds += time.process_time() - begin
            if of is not None:
                kl = of(params)
                curve.append((evals, *kl))
            begin = time.process_time()
        if method in LIMITED:
            x = drawn(for_samples, model(p, params), p, count)
        else:
            x = methods.by_paths(for_samples, method, model(p, params), p, n, count)
    x = np.asarray(x)
    rewards = [float(np.mean(p.reward(s))) for s in (x, exact)]
    row = [show(kl), show(own), *energy_test(x, exact[:count]), *rewards, lost(p.data, x, exact), evals, seconds]
    return row, x, curve


def figure(path, tilted: np.ndarray, results) -> None:
    """Curves of training, and densities of the first coordinate."""
    panels, edges = [], np.linspace(-2.5, 2.5, 51)
    training = {method: Line(*np.transpose(curve)) for method, (_, curve) in results.items() if curve}
    if training:
        axes, title = {"yscale": "log", "xscale": "log"}, "model from the limit of the method"
        panels = [Panel(training, "evaluations", "KL (nats)", title, {"goal": 0.02}, axes=axes)]
    samples = {"tilted law": tilted} | {method: x for method, (x, _) in results.items()}
    for title, names in PANELS.items():
        density = lambda m: np.histogram(samples[m][:, 0], edges, density=True)[0]
        shown = {m: density(m) for m in ("tilted law", *names) if m in samples}
        if len(shown) > 1:
            panels.append(Panel(lines(edges, shown), "first coordinate", "density", title))
    if panels:
        curves(path, panels)


def main(_) -> None:
    dims = map(int, shared.chosen("law", _LAW.value, ("2", "16")))
    rewards = shared.chosen("reward", _REWARD.value, REWARDS)
    named = shared.chosen("method", _METHOD.value, (*TRAINED, *FREE))
    folder, rows = shared.results_folder(_OUT, continues=".mixtures"), []
    for dim, name in itertools.product(dims, rewards):
        p, key = problem(dim, name, _TEMPERATURE.value), jax.random.key(_SEED.value)
        exact = np.asarray(p.tilted.sample(key, (20 * _SAMPLES.value,)))
        results = {}
        with Progress(len(named), batch_size=1, label=f"{name}, D = {dim}", unit="methods") as bar:
            for i, method in enumerate(named):
                row, *results[method] = measured(method, p, exact)
                rows.append([dim, name, method, *row])
                write_atomic(folder / "table.txt", tables_as_text([Table(HEADER, rows)]).encode())
                bar.update(i + 1)
        figure(folder / f"{name}_{dim}.png", exact, results)
    print(f"\n{tables_as_text([Table(HEADER, rows)])}", flush=True)


if __name__ == "__main__":
    command_line.run(main)
