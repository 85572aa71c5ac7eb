"""The figures of docs/typicality.md, all exact.

python -m experiments.projects.ood.typicality_figures --out=docs/typicality
"""

import jax
import numpy as np
from absl import app

from experiments.cli import flags as shared
from experiments.cli.endings import one_line
from experiments.reporting import curves
from scorekit import typicality

_OUT = shared.out("folder for the pictures", "docs/typicality")


def main(_) -> None:
    out = shared.results_folder(_OUT, names=("bubble.png", "equipartition.png", "mirage.png"))
    shell, mass, radius = map(
        jax.jit, (typicality.shell_mass, typicality.typical_mass, typicality.mirage_typical_radius)
    )
    edges = np.linspace(0.0, 2.2, 221)
    middle, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    dims = (1, 3, 10, 30, 100)
    density = {f"K = {k}": shell(float(k), edges[:-1] * k**0.5, edges[1:] * k**0.5) / width for k in dims}
    share = np.logspace(-3, 0, 100)
    kept = {f"K = {k:,}": mass(float(k), share * k) for k in (1, 10, 100, 1000, 10_000)}
    several = np.unique(np.round(np.logspace(0, 6, 80)))
    figures = [
        curves.curve(
            out / "bubble.png", middle, density, xlabel="radius / √K", ylabel="density",
            title="Where the mass of a standard Gaussian in K dimensions is",
        ),
        curves.curve(
            out / "equipartition.png", np.log10(share), kept, xlabel="log10 of ε / K (nats per dimension)",
            ylabel="mass of the typical set", title="The typical set of a Gaussian",
        ),
        curves.curve(
            out / "mirage.png", np.log10(several), {"mirage": radius(several) / np.sqrt(several)},
            xlabel="log10 of K", ylabel="typical radius / √K", lines={"Gaussian: 1": 1.0},
            title="The radius at which -log p = H",
        ),
    ]  # fmt: skip
    for path in figures:
        print(path)


if __name__ == "__main__":
    with one_line():
        app.run(main)
