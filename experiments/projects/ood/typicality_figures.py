"""The figures of docs/typicality.md, all exact.

python -m experiments.projects.ood.typicality_figures --out=docs/typicality
"""

import jax
import numpy as np

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.reporting.curves import Panel, curves, lines
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
    where, typical = "Where the mass of a standard Gaussian in K dimensions is", "The typical set of a Gaussian"
    mirage, ratio = "The radius at which -log p = H", {"mirage": radius(several) / np.sqrt(several)}
    over_share, over_dim = lines(np.log10(share), kept), lines(np.log10(several), ratio)
    label = "log10 of ε / K (nats per dimension)"
    panels = {
        "bubble": Panel(lines(middle, density), "radius / √K", "density", where),
        "equipartition": Panel(over_share, label, "mass of the typical set", typical),
        "mirage": Panel(over_dim, "log10 of K", "typical radius / √K", mirage, {"Gaussian: 1": 1.0}),
    }
    for name, panel in panels.items():
        print(curves(out / f"{name}.png", [panel]))


if __name__ == "__main__":
    command_line.run(main)
