"""Makes the table of :func:`scorekit.samplers.few_steps`: noise levels and weights for few evaluations.

    python -m experiments.benchmarks.few_steps_tuning --nfe=8 --out=/tmp/few            # 1 to 5 minutes each
    python -m experiments.benchmarks.few_steps_tuning --nfe= --out=/tmp/few --module=table.py  # all of them as source

The sampler works on ``u = x / hypot(alpha, sigma)`` by the angle ``atan(sigma / alpha)``, on which data of variance 1
stand still. Step k from angle ``a_k`` to ``a_k+1`` has free weights of the last five slopes, and a free factor of u:

    ``u_k+1 = (1 + d_k) u_k + (a_k+1 - a_k) sum_j w_kj v(u_k-j, a_k-j)``

It begins at ``sigma / alpha = 80``; the first slope is taken at a free, lower level, since at the beginning a network
can only return the mean of the data. All are optimised by Adam on random mixtures of Gaussians, whose variance is near
1, in 2, 8 and 64 dimensions: on the logarithm of the distance to the exact flow from the same noise, as mean and as
root mean square over draws, averaged over the mixtures. ``experiments.benchmarks.quality
--table=few_steps`` compares the result with other solvers and grids, on other distributions.
"""

import json
from pathlib import Path

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from experiments.benchmarks.tabulation import Table, make_problems, tune
from experiments.cli import command_line
from experiments.cli import flags as shared

_NFE = flags.DEFINE_list("nfe", ["5", "6", "7", "8", "10", "12", "15", "20"], "evaluations to tune for")
_UPDATES = flags.DEFINE_integer("updates", 200, "updates of Adam", lower_bound=1)
_RATE = flags.DEFINE_float("rate", 0.3, "learning rate times evaluations; it decays to 0", lower_bound=0)
_OUT = shared.out("folder with a file for each number of evaluations", "few_steps")
_MODULE = flags.DEFINE_string("module", None, "module to write with the tables that are in the folder")

SIZES = {2: (10, 128), 8: (5, 64), 64: (6, 32)}
"""Numbers of mixtures, and of draws from each, by number of dimensions."""


def save(folder: Path, table: Table) -> None:
    """Writes the table to ``folder/n.json``."""
    columns = {"log_snr": -2.0 * np.log(np.tan(table.evaluations)), "keep": table.keep, "weights": table.weights}
    fields = {name: values.tolist() for name, values in columns.items()}
    (folder / f"{len(table.keep)}.json").write_text(json.dumps(fields))


def as_module(tables: dict[int, dict[str, list]]) -> str:
    """The source of the module that holds the tables."""
    lines = [
        '"""The table of :mod:`.few_steps`, written by ``experiments.benchmarks.few_steps_tuning``."""\n',
        "Step = tuple[float, float, tuple[float, ...]]",
        "TABLE: dict[int, tuple[Step, ...]] = {",
    ]
    number = lambda value: f"{value:.6g}" if float(f"{value:.6g}") % 1 else f"{value:.1f}"
    for n, table in tables.items():
        lines.append(f"    {n}: (")
        for k, (level, keep, weights) in enumerate(zip(table["log_snr"], table["keep"], table["weights"], strict=True)):
            used = "".join(f"{number(w)}, " for w in weights[: k + 1])
            lines.append(
                f"        ({number(level)}, {number(keep)}, ({used.rstrip() if k == 0 else used.rstrip(', ')})),"
            )
        lines.append("    ),")
    text = '"""By number of steps: log-SNR of the evaluation, d, and weights, newest first, of each step."""'
    return "\n".join([*lines, "}", text, ""])


def main(_) -> None:
    folder = shared.results_folder(_OUT, names=[f"{n}.json" for n in map(int, _NFE.value)])
    module = shared.results(_MODULE, None, "") if _MODULE.value else None
    with jax.enable_x64(True):
        if _NFE.value:
            problems = make_problems(0, SIZES)
        for n in map(int, _NFE.value):
            save(folder, tune(n, problems, _UPDATES.value, _RATE.value))
    if module is not None:
        tables = {int(path.stem): json.loads(path.read_text()) for path in folder.glob("*.json")}
        module.write_text(as_module(dict(sorted(tables.items()))))


if __name__ == "__main__":
    command_line.run(main, ConfigDict, lambda config: None)
