"""Fashion-MNIST against MNIST and the reverse: our AUROCs beside published ones.

    python -m experiments.ood.data
    python -m experiments.benchmarks.ood --workdir=runs/ood

runs ``experiments.ood.detect`` with the configs ``ood_fashion`` and ``ood_mnist`` (``--kind=mixture`` needs no training) in
``WORKDIR/fashion_network`` and ``WORKDIR/mnist_network``, and reads what they wrote; a run that was stopped goes on.
The published values are for Fashion-MNIST against MNIST. Their sources stand below the table; the models differ from
ours and from each other.
"""

import json
import subprocess
import sys
from pathlib import Path

from absl import app, flags

_WORKDIR = flags.DEFINE_string("workdir", "runs/ood", "folder for the runs")
_KIND = flags.DEFINE_enum("kind", "network", ["network", "mixture", "gaussian"], "the model")
_SETS = flags.DEFINE_list("sets", ["fashion", "mnist"], "which in-distribution sets")
_OVERRIDES = flags.DEFINE_multi_string("set", [], "a field of the config, such as --set=examples=200")

COLLECTED = "Huang et al. 2024, table 1 (https://arxiv.org/abs/2401.04933)"
PUBLISHED = {
    "variational bound": (0.87, f"ELBO of a variational autoencoder; {COLLECTED}"),
    "density of states (DoSE)": (1.00, COLLECTED),
    "reconstruction, many steps (DDPM-OOD)": (0.97, f"with LPIPS beside the squared error; {COLLECTED}"),
}
"""By score: the AUROC and where it is from. (The same table has 0.99 for LMD, inpainting, which has no row here, and
https://github.com/gabrielraya/ddos tells of 0.98 for reconstruction by the reverse SDE.)"""
OTHER = {"fashion": "mnist", "mnist": "fashion_mnist"}


def main(_) -> None:
    found = {}
    for inside in _SETS.value:
        workdir = Path(_WORKDIR.value).expanduser().absolute() / f"{inside}_{_KIND.value}"
        options = [f"--config.{field}" for field in (f"kind={_KIND.value}", *_OVERRIDES.value)]
        config = f"--config={Path(__file__).parent.parent / 'configs' / f'ood_{inside}.py'}"
        command = [sys.executable, "-m", "experiments.ood", config, f"--workdir={workdir}", *options]
        subprocess.run(command, check=True, cwd=Path(__file__).parent.parent.parent)
        found[inside] = json.loads((workdir / "ood.json").read_text())
    print(f"\nAUROC, model: {_KIND.value}")
    print(f"{'score':40}" + "".join(f"{f'{inside} -> {OTHER[inside]}':>26}" for inside in found) + f"{'published':>22}")
    first = next(iter(found))
    for score in (name.split("/")[1] for name in found[first] if name.startswith(f"{OTHER[first]}/")):
        cells = "".join(f"{numbers[f'{OTHER[inside]}/{score}']:26.3f}" for inside, numbers in found.items())
        told = ""
        if "fashion" in found and score in PUBLISHED:
            published = PUBLISHED[score][0]
            told = f"{published:14.2f} ({found['fashion'][f'mnist/{score}'] - published:+.2f})"
        print(f"{score:40}{cells}{told}")
    for score, (_, source) in PUBLISHED.items():
        print(f"published, {score}: {source}")


if __name__ == "__main__":
    app.run(main)
