"""Layouts of published checkpoints, a file each: from tensors by their foreign names to a network and parameters.

A module of this package has two functions: ``recognises(names)``, whether these are names of its layout, and
``convert(tensors, **options) -> (network, parameters)``. ``attributes(config) -> options``, where there is one, reads
what no tensor tells from the ``config.json`` that diffusers stores alongside the tensors. ``convert`` raises a
``ValueError`` that names the first tensor that is missing, unused or of an unexpected shape.

Args:
  names: foreign names of the tensors of a checkpoint.
  tensors: tensors of a checkpoint by their foreign names.
  config: fields of ``config.json``.

Returns:
  Whether the layout is this one; the options by name; or the network and its parameters in float32.
"""

import importlib
from collections.abc import Callable, Container
from types import ModuleType
from typing import TYPE_CHECKING, Any

from scorekit.io import preconditioning

if TYPE_CHECKING:
    from scorekit.io.formats import (
        adm,
        autoencoder_kl,
        bert,
        ddpm,
        dhariwal,
        dit,
        edm2,
        inception,
        score_sde,
        song_unet,
        terrain,
        vgg,
    )

__all__ = [
    "FORMATS",
    "adm",
    "autoencoder_kl",
    "bert",
    "ddpm",
    "dhariwal",
    "dit",
    "edm2",
    "find_format",
    "inception",
    "score_sde",
    "song_unet",
    "terrain",
    "vgg",
]


FORMATS: dict[str, Callable[[], preconditioning.Preconditioning] | None] = {
    "adm": None,
    "autoencoder_kl": None,
    "ddpm": None,
    "dhariwal": None,
    "dit": preconditioning.ddpm,
    "edm2": preconditioning.edm,
    "score_sde": None,
    "song_unet": None,
}
"""The modules by name, and the preconditioning of all checkpoints of the layout; None if there are several, or if the
network is no denoiser. A new layout is a module and a line here."""


def find_format(names: Container[str]) -> tuple[str, ModuleType] | None:
    """The first layout that recognises the names of tensors, or None.

    Returns:
      The name of the layout and its module.

    >>> find_format({"x_embedder.proj.weight", "y_embedder.embedding_table.weight"})[0]
    'dit'
    """
    modules = ((name, importlib.import_module(f"{__name__}.{name}")) for name in FORMATS)
    return next(((name, module) for name, module in modules if module.recognises(names)), None)


def __getattr__(name: str) -> Any:
    """Modules are imported when they are asked for."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
