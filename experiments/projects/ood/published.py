"""Fashion-MNIST against MNIST and the reverse: AUROCs compared with published ones.

    python -m experiments.projects.ood.fetch mnist fashion_mnist
    python -m experiments.projects.ood.published --workdir=runs/ood

Runs ``experiments.projects.ood.detect`` with the configs ``ood_fashion.py`` and ``ood_fashion.py:mnist``
(``--kind=mixture`` needs no training) in ``WORKDIR/fashion_network`` and ``WORKDIR/mnist_network``, and reads their
results; the same command continues a run that was stopped. The published values are for Fashion-MNIST against MNIST,
with their sources below the table; the models differ from these and from each other.
"""

import json
import subprocess
import sys
from pathlib import Path

from absl import flags

from experiments.cli import command_line

_WORKDIR = flags.DEFINE_string("workdir", "runs/ood", "folder for the runs")
_KIND = flags.DEFINE_enum("kind", "network", ["network", "mixture", "gaussian"], "the model")
_OVERRIDES = flags.DEFINE_multi_string("set", [], "a field of the config, as in --set=examples=200")

COLLECTED = "Huang et al. 2024, table 1 (https://arxiv.org/abs/2401.04933)"
PUBLISHED = {
    "variational bound": (0.87, f"ELBO of a variational autoencoder; {COLLECTED}"),
    "density of states (DoSE)": (1.00, COLLECTED),
    "reconstruction, many steps (DDPM-OOD)": (0.97, f"with LPIPS and the squared error; {COLLECTED}"),
}
"""AUROC and source by score. (The same table has 0.99 for LMD, inpainting, which has no row here, and
https://github.com/gabrielraya/ddos reports 0.98 for reconstruction by the reverse SDE.)"""
SETS = {"fashion": ("mnist", "ood_fashion.py"), "mnist": ("fashion_mnist", "ood_fashion.py:mnist")}
"""The out-of-distribution set and the config by the in-distribution set."""
ROOT = Path(__file__).parents[3]


def main(_) -> None:
    found = {}
    for name, (_, config) in SETS.items():
        workdir = Path(_WORKDIR.value).expanduser().absolute() / f"{name}_{_KIND.value}"
        options = [f"--config.{field}" for field in (f"kind={_KIND.value}", *_OVERRIDES.value)]
        config = f"--config={ROOT / 'experiments' / 'configs' / 'ood' / config}"
        command = [sys.executable, "-m", "experiments.projects.ood.detect", config, f"--workdir={workdir}", *options]
        subprocess.run(command, check=True, cwd=ROOT)
        found[name] = json.loads((workdir / "ood.json").read_text())
    print(f"\nAUROC, model: {_KIND.value}")
    print(f"{'score':40}{'fashion -> mnist':>26}{'mnist -> fashion_mnist':>26}{'published':>22}")
    for score in (name.split("/")[1] for name in found["fashion"] if name.startswith("mnist/")):
        aurocs = [found[name][f"{other}/{score}"] for name, (other, _) in SETS.items()]
        published, _ = PUBLISHED.get(score, (None, ""))
        comparison = "" if published is None else f"{published:14.2f} ({aurocs[0] - published:+.2f})"
        print(f"{score:40}" + "".join(f"{auroc:26.3f}" for auroc in aurocs) + comparison)
    for score, (_, source) in PUBLISHED.items():
        print(f"published, {score}: {source}")


if __name__ == "__main__":
    command_line.run(main)
