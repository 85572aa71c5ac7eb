"""Calibration of posterior samplers: coverage of intervals, means, modes and evidence against exact posteriors.

    python -m experiments.projects.posteriors.calibration --workdir=runs/calibration
    python -m experiments.projects.posteriors.calibration --method=annealed --signals=50 --noise=0.1,0.3
    python -m experiments.projects.posteriors.calibration --law=gaussian --method=annealed \
        --steps=2,4,8,16  # bias against cost
    python -m experiments.projects.posteriors.calibration --digits=runs/digits --signals=20 \
        --samples=64     # a trained model

Signals of 64 values, by laws of :mod:`.problems`, are observed through 4 operators with noise. Gaussians and their
mixture have the exact denoiser, the Lévy laws a network that is trained first (minutes). A cell is one method on the
signals of one law, operator and noise level. Columns: coverage of
central intervals of 50 and 90 % with its standard error over signals; the excess of the squared error of the mean over
the smallest possible (1 / samples for exact samples); the mean error of the weight of a mode; the mean error of the
log-evidence and its standard deviation; batched evaluations of the denoiser for one posterior and their gradients.
"""

import itertools
from pathlib import Path

from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.flags import chosen
from experiments.projects.posteriors.calibration import cells, digits, methods, problems
from experiments.reporting.tables import Table, tables_as_text
from scorekit.io import write_atomic

_LAW = flags.DEFINE_list("law", ["all"], f"Laws: {', '.join(problems.LAWS)}.")
_OPERATOR = flags.DEFINE_list("operator", ["all"], f"Operators: {', '.join(problems.OPERATORS)}.")
_METHOD = flags.DEFINE_list("method", ["all"], f"Methods: {', '.join(methods.METHODS)}.")
_NOISE = flags.DEFINE_list("noise", ["0.1"], "Standard deviations of the noise.")
_SIGNALS = shared.count("signals", 50, "Signals of a cell.", 2)
_SAMPLES = shared.count("samples", 256, "Samples of a posterior, or particles.", 8)
_STAGES = shared.count("stages", 40, "annealed: number of levels.")
_STEPS = flags.DEFINE_list("steps", ["12"], "annealed: numbers of steps of a draw, a cell each.")
_TRAINING = shared.count("training", 4000, "Training steps of a network.", 100)
_DRAWS = shared.count("draws", 200, "Sweeps of each of two Gibbs chains for exact means of Lévy laws; 0: none.", 0)
_SEED = shared.seed("Seed of signals, noise and samples.")
_DIGITS = flags.DEFINE_string("digits", None, "Folder of a run on images, to measure it instead of signals.")
_WORKDIR = shared.out("folder for networks, cells and the table", "runs/calibration", "workdir")


def row(result: dict) -> list:
    """A row of the table."""
    fixed = lambda name: None if result.get(name) is None else f"{result[name]:.3f}"
    pair = lambda a, b: None if result.get(a) is None else f"{result[a]:.3f} ± {result[b]:.3f}"
    coverage = [pair(f"coverage_{level:g}", f"error_{level:g}") for level in cells.LEVELS]
    evidence = pair("log_evidence", "log_evidence_std")
    what = [result[name] for name in ("law", "operator", "noise", "method")]
    seconds = round(result["cpu_seconds"] / result["signals"], 2)
    cost = [result["evaluations"], result["gradients"], seconds]
    return [*what, *coverage, fixed("gap"), fixed("weights"), evidence, *cost]


def show(table: Table, folder: Path) -> None:
    """Prints the table and saves it."""
    text = f"{tables_as_text([table])}{table.caption}\n"
    print(f"\n{text}", flush=True)
    write_atomic(folder / ("digits.txt" if table.caption else "table.txt"), text.encode())


def main(_) -> None:
    laws, operators = chosen("law", _LAW.value, problems.LAWS), chosen("operator", _OPERATOR.value, problems.OPERATORS)
    named = chosen("method", _METHOD.value, methods.METHODS)
    noises = shared.all_of("noise", _NOISE.value, float, lambda std: 0 < std <= 10, "numbers above 0, at most 10")
    steps = shared.all_of("steps", _STEPS.value, int, lambda n: 0 < n <= 1000, "numbers above 0, at most 1000")
    folder = shared.results_folder(_WORKDIR, continues=True)
    sizes, results = (_SIGNALS.value, _SAMPLES.value), []
    if _DIGITS.value:
        path = Path(_DIGITS.value).expanduser()
        show(digits.measured(path, folder / "digits.png", *sizes, noises[0], _STAGES.value, steps[0]), folder)
        return
    (folder / "cells").mkdir(exist_ok=True)
    (folder / "networks").mkdir(exist_ok=True)
    for name in laws:
        law = problems.law(name, folder / "networks", _TRAINING.value)
        for operator, noise, method in itertools.product(operators, noises, named):
            if method == "repaint" and operator != "inpaint":
                continue
            stages = _STAGES.value if method == "annealed" else 0
            for n in steps if stages else [0]:
                cell = cells.Cell(name, operator, noise, method, *sizes, stages, n, _SEED.value)
                results.append(cells.measured(cell, law, folder / "cells", _DRAWS.value))
    header = ["law", "operator", "noise", "method", "50 %", "90 %", "gap", "weights", "log-evidence"]
    table = Table([*header, "evaluations", "gradients", "CPU s"], [row(result) for result in results])
    show(table, folder)


if __name__ == "__main__":
    command_line.run(main)
