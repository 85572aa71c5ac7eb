"""Bits per dimension of published weights on test data: the exact likelihood and the variational bound.

    python -m experiments.projects.published.bits_per_dim --weights=edm-cifar10-32x32-uncond-vp.pkl \\
        --config=experiments/configs/published/cifar10_edm.py --config.evaluation.exact_examples=1000
    python -m experiments.projects.published.bits_per_dim --weights=checkpoint_26.pth --preconditioning=vp --config=…

``--weights`` is any file or folder that ``scorekit.io.load`` reads, whose layout is recognised. Of the config only
``data``, ``evaluation`` and ``seed`` are used. ``--preconditioning`` gives the meaning of the network's input and
output where the file does not. Prints the tables that ``experiments.evaluate --bits_per_dim`` prints for a run, with
the offset and the kind of dequantisation; ``--out`` writes the values as JSON.
"""

import dataclasses
from typing import Any, cast

import flax.linen as nn
from absl import flags

from experiments import data, tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.cli.outputs import write_results
from experiments.data.dataset import Dataset
from experiments.models.devices import everywhere
from experiments.reporting.tables import tables_as_text
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.metrics.exact import exact_bits
from experiments.tasks.diffusion.metrics.run_metrics import variational_bound
from experiments.tasks.diffusion.model import Model
from experiments.tasks.diffusion.objectives import Denoising
from experiments.tasks.diffusion.report import bound_table, exact_table
from scorekit import io, times, weightings
from scorekit.io import preconditioning
from scorekit.typing import Array, PyTree

PRECONDITIONINGS = {
    "ddpm": preconditioning.ddpm,
    "edm": preconditioning.edm,
    "ve": preconditioning.ve,
    "vp": preconditioning.vp,
}
"""What the input and the output of a network mean, where its file does not say it."""

_CONFIG = shared.config()
_WEIGHTS = flags.DEFINE_string("weights", None, "File or folder of published weights.", required=True)
_MEANING = flags.DEFINE_enum("preconditioning", None, list(PRECONDITIONINGS), "Preconditioning, if not in the file.")
_OUT = shared.out("The .json file to write.")


@dataclasses.dataclass(frozen=True)
class _Labelled:
    """A module that takes labels whether it has classes or not; without the variance that some predict."""

    module: nn.Module
    has_classes: bool

    def apply(self, params: PyTree, x: Array, noise: Array, *, labels: Array) -> Array:
        given: Any = {"labels": labels} if self.has_classes else {}
        output: Any = self.module.apply(params, x, noise, **given)
        return output[..., : x.shape[-1]]


def open_foreign(path: str, named: str | None, dataset: Dataset) -> tuple[Model, PyTree]:
    """The model and the parameters of a file or folder that :func:`scorekit.io.load` reads.

    Args:
      path: path of the weights.
      named: one of :data:`PRECONDITIONINGS`; None is what the file or its layout says.
      dataset: the data; a network with as many classes is given their labels, a network without classes none.

    Raises:
      ConfigError: if there are no such weights, or they are of data of another shape or other classes.
    """
    given = f"--weights={path}"
    try:
        loaded = io.load(path, preconditioning=PRECONDITIONINGS[named]() if named else None)
    except (ValueError, OSError, ImportError) as error:
        choose = f" (--preconditioning={'|'.join(PRECONDITIONINGS)})"
        hint = choose if "preconditioning must be given" in str(error) else ""
        raise ConfigError(f"{given}: {error}{hint}") from error
    classes = getattr(loaded.module, "num_classes", None)
    for what, theirs, ours in (
        ("shape", loaded.shape, dataset.shape),
        ("num_classes", classes, dataset.num_classes),
    ):
        if theirs is not None and theirs != ours:
            raise ConfigError(f"{given}: its network has {what} {theirs}, {dataset.name} {ours}; must be the same")
    meaning = loaded.preconditioning
    model = Model(
        module=cast(Any, _Labelled(loaded.module, classes is not None)),  # only apply is called
        schedule=meaning.schedule,
        target=meaning.target,
        objective=Denoising(times.Uniform(), weightings.eps),
        num_classes=dataset.num_classes,
        shape=dataset.shape,
        extracts={},
        noise_input=meaning.noise_input,
        sigma_data=meaning.sigma_data,
    )
    return model, loaded.params


def main(config: Config) -> str:
    out = shared.results(_OUT, None, "") if _OUT.value else None
    dataset = data.load(config)
    dataset.num_samples(config.evaluation.num_samples)
    model, params = open_foreign(_WEIGHTS.value, _MEANING.value, dataset)
    params = everywhere(params)
    print(f"{_WEIGHTS.value} on test data of {dataset.name} …", flush=True)
    exact, bound = exact_bits(config, model, dataset, params), variational_bound(config, model, dataset, params)
    print(tables_as_text([exact_table(exact), bound_table(bound)]))
    if out is not None:
        results = {"weights": _WEIGHTS.value, "exact": exact._asdict(), "bound": bound._asdict()}
        write_results(out, results)
    return _OUT.value or _WEIGHTS.value


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.opened(_CONFIG.value), diffusion.check_fields)
