"""Fashion-MNIST against MNIST and the reverse: our AUROCs beside published ones.

    python -m experiments.ood_data
    python -m experiments.benchmarks.ood --workdir=runs/ood

runs ``experiments.ood`` with the configs ``ood_fashion`` and ``ood_mnist`` (``--kind=mixture`` needs no training) and
reads what they wrote. The published values (ELBO, DoSE, DDPM-OOD) are for Fashion-MNIST against MNIST, as collected in
table 1 of the likelihood path paper of Huang et al. 2024.
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

PUBLISHED = {
    "variational bound": 0.87,
    "density of states (DoSE)": 1.00,
    "reconstruction, many steps (DDPM-OOD)": 0.97,
}
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
    print(f"{'score':40}" + "".join(f"{f'{inside} -> {OTHER[inside]}':>26}" for inside in found) + f"{'published':>12}")
    first = next(iter(found))
    for score in (name.split("/")[1] for name in found[first] if name.startswith(f"{OTHER[first]}/")):
        cells = "".join(f"{numbers[f'{OTHER[inside]}/{score}']:26.3f}" for inside, numbers in found.items())
        published = PUBLISHED.get(score) if "fashion" in found else None
        print(f"{score:40}{cells}{'' if published is None else f'{published:12.2f}'}")


if __name__ == "__main__":
    app.run(main)
