"""Why denoising: bias, variance and cost of the objectives of score matching, and networks of the ring by each of them.

    python -m experiments.benchmarks.score_matching --out=docs/score_matching

The first tables are of the loss of one score of noisy data by dimension, whose mean is known, and of the CPU time of a
gradient step. The last one is of score networks and energies that are trained on a ring of eight modes: the energy
distance of their samples, whether their field is conservative, and the log-density of the energies against the exact
one. ``--out`` is a folder for the figure of the variance.
"""

from absl import app

from experiments.benchmarks.score_matching import objectives, ring
from experiments.cli import flags as shared
from experiments.cli.endings import one_line
from experiments.reporting.curves import Panel, curves, lines, scale
from experiments.reporting.tables import tables_as_text

_OUT = shared.out("folder for the picture", "docs/score_matching")
_NUM = shared.count("num", 8000, "Examples of each variance.", 100)
_STEPS = shared.count("steps", 1500, "Steps of training on the ring.")
_SEEDS = shared.count("seeds", 2, "Seeds of the networks of the ring.", 1)
_TURNS = shared.count("turns", 7, "Repetitions of each timing.")
STDS, DIMS, TIMED = (0.1, 1.0), (1, 2, 4, 16, 64), [2, 16, 64]


def main(_) -> None:
    out = shared.results_folder(_OUT, names=("objectives.png",))
    found = {dim: objectives.moments(dim, STDS, _NUM.value) for dim in DIMS}
    tables = objectives.tables(found, objectives.costs(TIMED, STDS[0], _TURNS.value))
    print(tables_as_text(tables))
    deviations = lambda std: {name: [found[dim][std][name][1] for dim in DIMS] for name in objectives.OBJECTIVES}
    by_std = {f"noise {std:g}, data of deviation 0.5": deviations(std) for std in STDS}
    log = {"xscale": "log", "yscale": scale(*(values for found in by_std.values() for values in found.values()))}
    draw = lambda title, y: Panel(lines(DIMS, y), "dimension", "standard deviation of the loss", title, axes=log)
    print(curves(out / "objectives.png", [draw(*each) for each in by_std.items()], share=True))
    runs = {}
    for name in ring.RUNS:
        runs[name] = ring.measure(name, ring.train(name, _SEEDS.value, _STEPS.value))
        print(f"{name}: energy distance {runs[name][0]['energy distance']:.4f}", flush=True)
    print(tables_as_text([ring.table(runs, _STEPS.value)]))


if __name__ == "__main__":
    with one_line():
        app.run(main)
