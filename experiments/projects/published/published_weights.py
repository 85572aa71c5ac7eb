"""Published weights in files as the model of a data set."""

import dataclasses
from typing import Any, cast

import flax.linen as nn

from experiments.cli.config import ConfigError
from experiments.data.dataset import Dataset
from experiments.tasks.diffusion.model import Model
from experiments.tasks.diffusion.objectives import Denoising
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
        found = io.load(path, preconditioning=PRECONDITIONINGS[named]() if named else None)
    except (ValueError, OSError, ImportError) as error:
        choose = f" (--preconditioning={'|'.join(PRECONDITIONINGS)})"
        hint = choose if "preconditioning must be given" in str(error) else ""
        raise ConfigError(f"{given}: {error}{hint}") from error
    classes = getattr(found.module, "num_classes", None)
    for what, theirs, ours in (
        ("shape", found.shape, dataset.shape),
        ("num_classes", classes, dataset.num_classes),
    ):
        if theirs is not None and theirs != ours:
            raise ConfigError(f"{given}: its network has {what} {theirs}, {dataset.name} {ours}; must be the same")
    meaning = found.preconditioning
    model = Model(
        module=cast(Any, _Labelled(found.module, classes is not None)),  # only apply is called
        schedule=meaning.schedule,
        target=meaning.target,
        objective=Denoising(times.uniform(), weightings.eps),
        num_classes=dataset.num_classes,
        shape=dataset.shape,
        extracts={},
        noise_input=meaning.noise_input,
        sigma_data=meaning.sigma_data,
    )
    return model, found.params
