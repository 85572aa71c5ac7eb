"""Layouts of published checkpoints, a file each: from tensors by their foreign names to a network and parameters.

A module of this package has two functions: ``recognises(names)``, whether these names of tensors are of its layout, and
``convert(tensors, **options) -> (network, parameters)``, with parameters in float32. ``attributes(config) -> options``,
where there is one, reads settings that no tensor determines from the fields of the ``config.json`` that diffusers
stores alongside the tensors. ``convert`` raises a ``ValueError`` that names the first tensor that is missing, unused or
of an unexpected shape.

>>> from scorekit.io.formats import autoencoder_kl, dit
>>> from scorekit.io.tensors import Tensors
>>> names = {"x_embedder.proj.weight", "y_embedder.embedding_table.weight"}
>>> find_format(names)[0], dit.recognises(names), autoencoder_kl.recognises(names)
('dit', True, False)
>>> autoencoder_kl.attributes({"scaling_factor": 0.13025})
{'scaling_factor': 0.13025, 'shift_factor': 0.0, 'groups': 32}
>>> dit.convert(Tensors({}))
Traceback (most recent call last):
ValueError: the checkpoint has no tensor 'pos_embed.proj.weight'
"""

import importlib
from collections.abc import Callable, Container
from types import ModuleType
from typing import TYPE_CHECKING

from scorekit._lazy import attach
from scorekit.io import preconditioning

if TYPE_CHECKING:
    from scorekit.io.formats import adm as adm
    from scorekit.io.formats import autoencoder_kl as autoencoder_kl
    from scorekit.io.formats import bert as bert
    from scorekit.io.formats import ddpm as ddpm
    from scorekit.io.formats import dhariwal as dhariwal
    from scorekit.io.formats import dit as dit
    from scorekit.io.formats import edm2 as edm2
    from scorekit.io.formats import inception as inception
    from scorekit.io.formats import score_sde as score_sde
    from scorekit.io.formats import song_unet as song_unet
    from scorekit.io.formats import terrain as terrain

__getattr__, __dir__ = attach(__name__)


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
    """The name and the module of the first layout that recognises the names of tensors, or None.

    Args:
      names: foreign names of the tensors of a checkpoint.
    """
    modules = ((name, importlib.import_module(f"{__name__}.{name}")) for name in FORMATS)
    return next(((name, module) for name, module in modules if module.recognises(names)), None)
