"""Exact log-likelihood: error in nats and seconds per 1000 points, compared with diffrax.

    python -m experiments.benchmarks.likelihood --out=/tmp/likelihood.png

The data are mixtures of known density, the network predicts their exact eps, the schedule is linear VP. The error is
against the density of the model, whose prior differs slightly from the noisy data: ``log p_0(x) + log N(x_1) - log
p_1(x_1)``. All solvers use the Dormand-Prince pair at the same tolerances. The library chooses its blocks of points
itself, or integrates all points together. diffrax integrates the drift in t, as is usual, with all directions of the
divergence at once, for all points together and in blocks. Each figure is a median over repetitions that alternate
between the solvers. The last table is the error of the estimators of the divergence in 64 dimensions.
"""

import importlib.util

from absl import flags
from matplotlib.figure import Figure

from experiments.benchmarks import log_densities
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.reporting import plots
from experiments.reporting.report import show
from scorekit import densities

_POINTS = flags.DEFINE_integer("points", 400, "points of the ring; half as many in 64 dimensions")
_BLOCK = flags.DEFINE_integer("block", 100, "points in one block of diffrax")
_TURNS = flags.DEFINE_integer("turns", 3, "repetitions of each measurement")
_TOLERANCES = flags.DEFINE_list("tolerances", ["1e-3", "1e-4", "1e-5", "1e-6"], "rtol = atol of all solvers")
_TANGENTS = flags.DEFINE_list("tangents", ["6", "12", "24", "48"], "tangents of each estimator of the divergence")
_OUT = shared.out("where to save the plot of error against time", "likelihood.png")


def print_rows(title: str, points: int, rows: list[log_densities.Row]) -> None:
    """Prints the table of one density."""
    print(f"\n{title}, {points} points")
    print(f"{'':18}{'rtol':>8}{'nfe':>7}{'mean |error|':>14}{'bias':>11}{'s per 1000':>12}")
    for row in rows:
        errors = f"{row.error:14.1e}{row.bias:11.1e}"
        print(f"{row.solver:18}{row.tolerance:8.0e}{row.nfe:7.0f}{errors}{show(row.seconds):>12}")


def main(_) -> None:
    out = shared.results(_OUT, None, "")
    solvers = {"scorekit": log_densities.ours, "scorekit, whole": lambda data: log_densities.ours(data, _POINTS.value)}
    if importlib.util.find_spec("diffrax") is None:
        print("diffrax is not installed (pip install diffrax): its rows are skipped")
    else:
        make = log_densities.with_diffrax
        solvers |= {"diffrax": make, "diffrax, blocks": lambda data: log_densities.in_blocks(make(data), _BLOCK.value)}
    peers = [name for name in solvers if name.startswith("diffrax")]
    figure = Figure(figsize=(9, 4), layout="constrained")
    cases = {
        "ring of 8 modes, 2-d": (densities.ring(), _POINTS.value),
        "low-rank mixture, 64-d": (log_densities.low_rank_mixture(), _POINTS.value // 2),
    }
    for axes, (title, (data, points)) in zip(figure.subplots(1, 2), cases.items(), strict=True):
        rows = log_densities.measure(data, points, solvers, [*map(float, _TOLERANCES.value)], _TURNS.value)
        print_rows(title, points, rows)
        for name in solvers:
            mine = [row for row in rows if row.solver == name]
            axes.loglog([row.seconds for row in mine], [row.error for row in mine], "o-", label=name)
        for name in (n for n in solvers if peers and n not in peers):
            times = {other: log_densities.at_equal_error(rows, name, other) for other in peers}
            better = min(times, key=lambda other: times[other])
            shown = ", ".join(f"{ratio:.2f} x as fast as {other}" for other, ratio in times.items())
            print(f"{name} at equal error: {shown}; {times[better]:.2f} x as fast as the better, {better}")
        axes.set(title=title, xlabel="seconds per 1000 points", ylabel="mean |error|, nats")
        axes.legend()
    print("\ntangents  RMSE in nats, 64-d")
    for tangents in map(int, _TANGENTS.value):
        errors = log_densities.estimator_errors(log_densities.low_rank_mixture(), 20, tangents)
        print(f"{tangents:8d}  " + ", ".join(f"{name} {show(error)}" for name, error in errors.items()))
    print(f"\nsaved {plots.save(figure, out)}")


if __name__ == "__main__":
    command_line.run(main)
