"""Calibration of posterior samplers: coverage of intervals, means, modes and evidence against exact posteriors.

    python -m experiments.projects.posteriors.calibration --workdir=runs/calibration
    python -m experiments.projects.posteriors.calibration --method=annealed --signals=50 --noise=0.3
    python -m experiments.projects.posteriors.calibration --law=gaussian --method=annealed --steps=4

Signals of 64 values, by laws of :mod:`.problems`, are observed through 4 operators with noise; their denoisers are
exact. A row is one method on the signals of one law and operator. Columns: coverage of central intervals of 50 and 90 %
with its standard error over signals; the excess of the squared error of the mean over the smallest possible (1 /
samples for exact samples); the mean error of the weight of a mode; the mean error of the log-evidence and its standard
deviation; batched evaluations of the denoiser for one posterior and their gradients. The table and, for each law and
operator, the curves of coverage at all levels are written into ``--workdir``.
"""

import time

import jax
import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.progress import Progress
from experiments.projects.posteriors import methods, problems
from experiments.reporting.curves import Line, Panel, curves, lines
from experiments.reporting.tables import Cell, Table, tables_as_text
from scorekit import densities, metrics
from scorekit.io import write_atomic

_LAW = flags.DEFINE_list("law", ["all"], f"Laws: {', '.join(problems.LAWS)}.")
_OPERATOR = flags.DEFINE_list("operator", ["all"], f"Operators: {', '.join(problems.OPERATORS)}.")
_METHOD = flags.DEFINE_list("method", ["all"], f"Methods: {', '.join(methods.METHODS)}.")
_NOISE = flags.DEFINE_float("noise", 0.1, "Standard deviation of the noise.", lower_bound=0.01, upper_bound=10.0)
_SIGNALS = shared.count("signals", 50, "Signals of a row.", 2)
_SAMPLES = shared.count("samples", 256, "Samples of a posterior, or particles.", 8)
_STAGES = shared.count("stages", 40, "annealed: number of levels.")
_STEPS = shared.count("steps", 12, "annealed: number of steps of a draw.")
_SEED = shared.seed("Seed of signals, noise and samples.")
_WORKDIR = shared.out("folder for the table and curves", "runs/calibration", "workdir")
LEVELS = np.linspace(0.05, 0.95, 19)
"""Nominal coverages; the table has the columns of those of 50 and 90 %."""
HEADER = ["law", "operator", "method", "50 %", "90 %", "excess", "weights", "log-evidence", "evaluations", "gradients"]


def observed(key, data, matrix, number: int, noise: float):
    """Signals ``(N, 64)`` of a law and their observations."""
    for_signals, for_noise = jax.random.split(key)
    x, seen = data.sample(for_signals, (number,)), np.abs(np.asarray(matrix)).sum(1) > 1e-6
    return x, x @ matrix.T + noise * seen * jax.random.normal(for_noise, x.shape)


def scores(samples: np.ndarray, x: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The coverages of :data:`LEVELS`, their standard errors over signals, and the excess; samples ``(N, S, 64)``.

    The excess is the mean of ``|mean - E[x | y]|^2`` over the mean of ``|x - E[x | y]|^2``: 1 / S for exact samples.
    """
    covered = [metrics.interval_coverage(f[None], t[None], LEVELS).mean(1) for f, t in zip(samples, x, strict=True)]
    excess = float(np.mean((samples.mean(1) - mean) ** 2) / np.mean((x - mean) ** 2))
    return np.mean(covered, 0), np.std(covered, 0, ddof=1) / len(x) ** 0.5, excess


def measured(method: str, label: str, denoiser, data, matrix, x, y, exact: problems.Exact):
    """The cells of a method from its coverage on, and its curve of coverage."""
    samples, log_evidence, start = [], [], time.process_time()
    with Progress(len(y), batch_size=1, label=f"{label}, {method}", unit="signals") as bar:
        for i, key in enumerate(jax.random.split(jax.random.key(_SEED.value + 1), len(y))):
            sizes = _NOISE.value, _SAMPLES.value, _STAGES.value, _STEPS.value
            one, evidence = methods.draw(key, method, denoiser, matrix, y[i], *sizes)
            samples.append(np.asarray(one))
            log_evidence.append(float(evidence))
            bar.update(i + 1)
    cost: list[Cell] = [*methods.cost(method, _STAGES.value, _STEPS.value), time.process_time() - start]
    if not np.all(np.isfinite(samples)):
        return ["diverges", *[None] * 4, *cost], None
    coverage, errors, excess = scores(np.stack(samples), np.asarray(x), exact.mean)
    pair = lambda mean, error: f"{mean:.3f} ± {error:.3f}"
    shown = [int(np.abs(LEVELS - level).argmin()) for level in (0.5, 0.9)]
    weights, evidence = None, None
    if isinstance(data, densities.Mixture):
        of_samples = np.stack([np.asarray(data.responsibilities(one)).mean(0) for one in samples])
        weights = f"{np.abs(of_samples - exact.weights)[:, 0].mean():.3f}"
    if np.all(np.isfinite(log_evidence)):
        difference = np.array(log_evidence) - exact.log_evidence
        evidence = pair(difference.mean(), difference.std())
    return [*map(pair, coverage[shown], errors[shown]), excess, weights, evidence, *cost], coverage


def main(_) -> None:
    laws = shared.chosen("law", _LAW.value, problems.LAWS)
    operators = shared.chosen("operator", _OPERATOR.value, problems.OPERATORS)
    named = shared.chosen("method", _METHOD.value, methods.METHODS)
    folder, rows = shared.results_folder(_WORKDIR, continues=".calibration"), []
    key = jax.random.key(_SEED.value)
    for law in laws:
        data, denoiser = problems.law(law)
        for operator in operators:
            matrix = problems.matrix_of(operator)
            x, y = observed(key, data, matrix, _SIGNALS.value, _NOISE.value)
            exact = problems.exact(data, matrix, y, _NOISE.value)
            of_methods = {}
            for method in named:
                if method != "repaint" or operator == "inpaint":
                    row, curve = measured(method, f"{law}, {operator}", denoiser, data, matrix, x, y, exact)
                    rows.append([law, operator, method, *row])
                    of_methods |= {} if curve is None else {method: curve}
            exact_line = {"exact": Line([0, 1], [0, 1], style={"color": "0.35", "linestyle": "--", "marker": ""})}
            title, axes = f"{law}, {operator}", {"xlim": (0, 1), "ylim": (0, 1)}
            panel = Panel(exact_line | lines(LEVELS, of_methods), "nominal coverage", "coverage", title, axes=axes)
            curves(folder / f"{law}_{operator}.png", [panel])
    text = tables_as_text([Table([*HEADER, "CPU s"], rows)])
    print(f"\n{text}", flush=True)
    write_atomic(folder / "table.txt", text.encode())


if __name__ == "__main__":
    command_line.run(main)
