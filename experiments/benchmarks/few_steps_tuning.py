"""Tunes tables of :func:`scorekit.samplers.few_steps`: noise levels and weights for few evaluations.

    python -m experiments.benchmarks.few_steps_tuning --nfe=8 --out=/tmp/few_steps.json
    python -m experiments.benchmarks.few_steps_tuning --nfe=8,16 --guidance_scale=4 --rate=0.05 --updates=1200

The sampler works on ``u = x / hypot(alpha, sigma)`` by the angle ``atan(sigma / alpha)``, on which data of variance 1
stand still. Step k from angle ``a_k`` to ``a_k+1`` has free weights of the last five slopes, and a free factor of u:

    ``u_k+1 = (1 + d_k) u_k + (a_k+1 - a_k) sum_j w_kj v(u_k-j, a_k-j)``

It begins at ``sigma / alpha = 80``; the first slope is taken at a free, lower level, since at the beginning a network
can only return the mean of the data. All are optimised by Adam on random mixtures of Gaussians, whose variance is near
1, in 2, 8 and 64 dimensions: on the logarithm of the distance to the exact flow from the same noise, as mean and as
root mean square over draws, averaged over the mixtures. With a guidance scale, each draw is guided to one of three
classes of the modes. Tuning starts from the nearest table that there is, of the next lower guidance scale or number of
evaluations, and the file that is written holds the other tables too: it replaces ``scorekit/samplers/few_steps.json``.
``experiments.benchmarks.quality --table=few_steps`` compares the result with other solvers and grids, on other
distributions.
"""

import json
from importlib import resources
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.benchmarks import tabulation
from experiments.benchmarks.tabulation import TOP, Table
from experiments.cli import command_line
from experiments.cli import flags as shared

Tables: TypeAlias = dict[str, dict[str, list[list[float]]]]
_NFE = flags.DEFINE_list("nfe", ["8"], "evaluations to tune for, at most 24")
_SCALE = flags.DEFINE_float("guidance_scale", 1.0, "guidance scale to tune for; 1 is without guidance", lower_bound=1)
_UPDATES = flags.DEFINE_integer("updates", 200, "updates of Adam", lower_bound=1)
_RATE = flags.DEFINE_float("rate", 0.2, "learning rate times evaluations; it decays to 0", lower_bound=0)
_OUT = shared.out("file for all tables, as few_steps.json of the package", "few_steps.json")

SIZES = {2: (16, 128), 8: (8, 64), 64: (8, 32)}
"""Numbers of mixtures, and of draws from each, by number of dimensions."""


def as_table(rows: list[list[float]]) -> Table:
    """The table of these rows of the file: log-SNR of the evaluation, d, weights."""
    levels, keep, weights = [], [], np.zeros((len(rows), tabulation.SLOPES))
    for k, (level, factor, *used) in enumerate(rows):
        levels.append(level)
        keep.append(factor)
        weights[k, : len(used)] = used
    angles = jnp.arctan(jnp.exp(-0.5 * jnp.asarray(levels)))
    return Table(jnp.array([TOP, *angles[1:], 0.0]), angles, jnp.asarray(keep), jnp.asarray(weights))


def as_rows(table: Table) -> list[list[float]]:
    """The rows of the file."""
    levels = -2.0 * np.log(np.tan(table.evaluations))
    rows = zip(levels, table.keep, table.weights, strict=True)
    return [[float(f"{x:.6g}") for x in (level, keep, *row[: k + 1])] for k, (level, keep, row) in enumerate(rows)]


def as_text(tables: Tables) -> str:
    """The file, with a line for each number of evaluations."""
    ordered = lambda group: dict(sorted(group.items(), key=lambda pair: float(pair[0])))
    line = lambda n, rows: f'"{n}": {json.dumps(rows, separators=(",", ":"))}'
    groups = [
        f'"{scale}": {{\n' + ",\n".join(line(*pair) for pair in ordered(group).items()) + "\n}"
        for scale, group in ordered(tables).items()
    ]
    return "{\n" + ",\n".join(groups) + "\n}\n"


def nearest(tables: Tables, n: int, scale: float) -> Table:
    """The table to begin with: of the largest guidance scale up to ``scale``, and there of the number nearest to n."""
    scales = sorted((float(name), name) for name in tables if float(name) <= scale)
    groups = [tables[name] for _, name in scales]
    group = next((group for group in groups[::-1] if str(n) in group), groups[0])
    return as_table(group[min(group, key=lambda count: (abs(int(count) - n), -int(count)))])


def main(_) -> None:
    out = shared.results(_OUT, None, "")
    tables: Tables = json.loads(resources.files("scorekit.samplers").joinpath("few_steps.json").read_text())
    name = f"{_SCALE.value:g}"
    scale = 0.0 if name == "1" else _SCALE.value
    with jax.enable_x64(True):
        problems = tabulation.make_problems(0, SIZES, scale)
    problems = jax.tree.map(lambda leaf: np.asarray(leaf, bool if leaf.dtype == bool else np.float32), problems)
    for n in map(int, _NFE.value):
        free = tabulation.free_of(nearest(tables, n, _SCALE.value), n)
        table = tabulation.tune(free, problems, scale, _UPDATES.value, _RATE.value)
        tables.setdefault(name, {})[str(n)] = as_rows(table)
        out.write_text(as_text(tables))


if __name__ == "__main__":
    command_line.run(main)
