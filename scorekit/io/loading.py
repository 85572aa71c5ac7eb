"""Published weights, or an exported run, as a network with the meaning of its inputs and outputs.

Three lines to a picture::

    loaded = scorekit.io.load("weights/DiT-XL-2-256")
    solver, ts = samplers.recommended(loaded.schedule, 25)
    z = samplers.sample(loaded.denoiser(labels=labels), loaded.schedule, solver, loaded.prior(key, 4), ts)

and ``loaded.decode(z)`` are the images, if the folder has an autoencoder.
"""

import dataclasses
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.arguments import PositiveInt, checked
from scorekit.denoisers import denoiser_from_network
from scorekit.io import _exporting as exporting
from scorekit.io import _hub as hub
from scorekit.io._config import check_example
from scorekit.io._naming import check_none, gathering, naming
from scorekit.io.files import as_path, read_json
from scorekit.io.formats import FORMATS, find_format
from scorekit.io.preconditioning import Preconditioning, ddpm, edm, from_scheduler, precondition, ve, vp
from scorekit.io.reading import WEIGHTS, read_weights
from scorekit.io.tensors import Tensors
from scorekit.predictions import Target
from scorekit.process import sample_prior
from scorekit.typing import Array, Denoiser, Key, Network, PyTree, Schedule


@dataclasses.dataclass(frozen=True)
class _Apply:
    """A module as a function of its parameters; equal for equal modules, so that nothing is traced twice."""

    module: nn.Module

    def __call__(self, params, conditions, x, noise):
        output: Any = self.module.apply(params, x, noise, **conditions)
        return output[..., : x.shape[-1]]  # without the variance that some networks predict too


@dataclasses.dataclass(frozen=True, eq=False)
class Loaded:
    """A network with its parameters, and the meaning of its inputs and output.

    Attributes:
      module: the Flax module.
      params: its parameters.
      preconditioning: scaling of its noise level and input, and the meaning of its output.
      shape: shape of one example, or None where nothing says it.
      autoencoder: module and parameters, or None.

    >>> from scorekit.networks import MLP
    >>> module = MLP(features=4, blocks=1)
    >>> params = jax.jit(module.init)(jax.random.key(0), jnp.ones((1, 2)), 0.0)
    >>> loaded = Loaded(module, params, edm(), (2,))
    >>> x = loaded.prior(jax.random.key(1), 3)
    >>> loaded.denoiser()(x, 1.0).x0.shape, loaded.network()(x, 1.0).shape
    ((3, 2), (3, 2))
    >>> loaded.decode(x)
    Traceback (most recent call last):
    ValueError: latents must be those of a checkpoint with an autoencoder, this one has none
    """

    module: nn.Module
    params: PyTree
    preconditioning: Preconditioning
    shape: tuple[int, ...] | None = None
    autoencoder: tuple[nn.Module, PyTree] | None = None

    @property
    def schedule(self) -> Schedule:
        """The noise schedule."""
        return self.preconditioning.schedule

    @property
    def target(self) -> Target:
        """The meaning of the network's output."""
        return self.preconditioning.target

    def network(self, **conditions: Any) -> Network:
        """The network ``(x_t, t) -> output`` with the meaning of its inputs.

        Args:
          **conditions: conditions of the module, such as ``labels``, each for the batch or for one example; by default
            absent.
        """
        return precondition(Partial(_Apply(self.module), self.params, conditions), self.preconditioning)

    def denoiser(self, **conditions: Any) -> Denoiser:
        """The denoiser ``(x_t, t) -> Prediction``, for :func:`scorekit.samplers.sample`; unconditional by default.

        Args:
          **conditions: conditions of :meth:`network`.
        """
        return denoiser_from_network(self.network(**conditions), self.schedule, self.target)

    @checked
    def prior(self, key: Key, num: PositiveInt) -> Array:
        """Noise at t = 1, from which to sample; the shape of an example must be known, or given to :func:`load`.

        The result is float32 ``(num, *shape)``.

        Args:
          key: PRNG key.
          num: number of examples.
        """
        if self.shape is None:
            raise ValueError("shape must be given to load: this checkpoint does not hold the shape of an example")
        return sample_prior(key, self.schedule, jax.ShapeDtypeStruct((num, *self.shape), jnp.float32))

    def decode(self, latents: Array) -> Array:
        """Latents as images, by the autoencoder, ``(B, H stride, W stride, channels)``.

        Args:
          latents: ``(B, H, W, C)``.
        """
        if self.autoencoder is None:
            raise ValueError("latents must be those of a checkpoint with an autoencoder, this one has none")
        module, params = self.autoencoder
        return cast(Array, module.apply(params, latents, method="decode"))


def load(
    path: str | Path,
    *,
    preconditioning: Preconditioning | None = None,
    shape: tuple[int, ...] | None = None,
    key: str | None = None,
    revision: str | None = None,
    **options: Any,
) -> Loaded:
    """Reads published weights, or weights that :func:`scorekit.io.export` wrote.

    Args:
      path: a folder of :func:`~scorekit.io.export`, of a diffusers pipeline (``model_index.json``), or of one model of
        a pipeline; a file, see :func:`scorekit.io.reading.read_weights`; or ``hf:organisation/repository``, which is
        downloaded.
      preconditioning: meaning of inputs and outputs (:mod:`scorekit.io.preconditioning`); by default from the folder or
        the layout.
      shape: shape of one example, ``(H, W, C)``, where the checkpoint does not hold it.
      key: key of the dictionary in a file, by default of the average.
      revision: revision of a repository of the hub.
      **options: options of the layout's ``convert`` (:mod:`scorekit.io.formats`) that neither tensors nor configs
        determine.

    Raises:
      FileNotFoundError: without the file, or without weights in the folder.
      ValueError: naming a tensor that is missing, unused or of another shape, or an argument that does not fit; and,
        of a model of diffusers, all options of all parts that are not supported.

    >>> load("missing.pt")
    Traceback (most recent call last):
    FileNotFoundError: there is no file or folder missing.pt
    """
    _check(preconditioning, shape)
    if str(path).startswith(hub.PREFIX):
        path = hub.fetch(str(path), revision)
    elif revision is not None:
        raise ValueError(f"revision must be None for a path outside the hub, got {revision!r}")
    path = as_path(path)
    if not path.exists():
        hint = f"; a repository of the hub is named {hub.PREFIX}{path}" if len(path.parts) == 2 else ""
        raise FileNotFoundError(f"there is no file or folder {path}{hint}")
    if path.is_dir() and exporting.is_export(path):
        if key is not None or options:
            given = ", ".join([*options, *(["key"] if key is not None else [])])
            raise ValueError(f"options must be none for a folder of scorekit.io.export, which holds all, got {given}")
        found = exporting.read(path, shape)
        parts = found.pop("module"), found.pop("params"), preconditioning or found.pop("preconditioning")
        return Loaded(*parts, found["shape"], found["autoencoder"])
    weights, config = _weights_and_config(path, ("unet", "transformer"))
    problems: list[str] = []
    autoencoder = scheduler = None
    with gathering(problems):
        if path.is_dir() and preconditioning is None:
            scheduler = _scheduler(path)
    with gathering(problems):
        if path.is_dir() and (path / "vae").is_dir():
            autoencoder = _convert(*_weights_and_config(path / "vae", ()), None, {})[1:3]
    with gathering(problems):
        name, module, params, facts = _convert(weights, config, key, options)
        with naming(weights):
            of_class = _of_class(facts)
        preconditioning = preconditioning or scheduler or of_class
        if preconditioning is None and not problems:
            preconditioning = (FORMATS[name] or _unknown)()
    check_none(problems, "\n")
    sides = config.get("sample_size")
    if shape is None and sides is not None and "in_channels" in config:
        sides = sides if isinstance(sides, list) else (sides, sides)
        shape = (*sides, config["in_channels"])
        with naming(weights.parent / "config.json"):
            check_example(sides)
            check_example(shape)
    return Loaded(module, params, cast(Preconditioning, preconditioning), shape, autoencoder)


def _check(preconditioning: Any, shape: Any) -> None:
    if not (preconditioning is None or isinstance(preconditioning, Preconditioning)):
        raise ValueError(
            "preconditioning must be a Preconditioning, such as edm(0.5) of scorekit.io.preconditioning, got "
            f"{preconditioning!r}"
        )
    if shape is not None:
        check_example(shape)


def _unknown() -> Preconditioning:
    raise ValueError(
        "preconditioning must be given for this checkpoint, whose tensors do not tell it: see "
        "scorekit.io.preconditioning (ddpm, vp, ve, edm), got None"
    )


_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
_FILES = [f"{stem}{suffix}" for suffix in WEIGHTS for stem in _STEMS]


def _weights_and_config(path: Path, parts: tuple[str, ...]) -> tuple[Path, dict[str, Any]]:
    """The file of the weights, and the config beside it, of a file, a model of diffusers, or a pipeline."""
    if not path.is_dir():
        config = path.parent / "config.json"
        found = read_json(config) if config.exists() else {}
        return path, found if "_class_name" in found else {}
    folder = next((path / part for part in parts if (path / part).is_dir()), path)
    weights = next((folder / name for name in _FILES if (folder / name).exists()), None)
    if weights is None:
        there = ", ".join(sorted(found.name for found in folder.iterdir())[:5]) or "nothing"
        raise FileNotFoundError(
            f"no weights in {folder}: it must hold a file named {', '.join(_STEMS[:-1])} or {_STEMS[-1]}, ending in "
            f"one of {', '.join(WEIGHTS)}; there is {there}. Weights of another name are read by the path of their file"
        )
    return weights, read_json(folder / "config.json") if (folder / "config.json").exists() else {}


def _scheduler(path: Path) -> Preconditioning | None:
    for found in (path / "scheduler" / "scheduler_config.json", path / "scheduler_config.json"):
        if found.exists():
            with naming(found):
                return from_scheduler(read_json(found))
    return None


def _of_class(facts: Mapping[str, Any]) -> Preconditioning | None:
    """The preconditioning of a pickled wrapper of EDM or EDM2, by the name of its class."""
    name = facts.get("class")
    if name in ("EDMPrecond", "Precond"):
        return edm(facts.get("sigma_data", 0.5))
    if name == "VPPrecond":
        low = facts.get("beta_min", 0.1)
        return vp(low, low + facts.get("beta_d", 19.9))
    return {"VEPrecond": ve, "iDDPMPrecond": lambda: ddpm("squaredcos_cap_v2")}.get(str(name), lambda: None)()


def _convert(
    weights: Path, config: Mapping[str, Any], key: str | None, options: Mapping[str, Any]
) -> tuple[str, nn.Module, PyTree, dict[str, Any]]:
    """The name of the layout, the network, its parameters, and the other values of the file."""
    named, facts = read_weights(weights, key)
    tensors = Tensors(named, str(weights))
    found = find_format(tensors)
    while found is None and len({name.split(".")[0] for name in tensors}) == 1 and all("." in n for n in tensors):
        tensors = tensors.under(next(iter(tensors)).split(".")[0])  # a wrapper around the network
        found = find_format(tensors)
    if found is None:
        first = ", ".join(list(named)[:3])
        of = f", of {config['_class_name']}" if "_class_name" in config else ""
        raise ValueError(f"{weights}: no layout ({', '.join(FORMATS)}) has tensors of the names {first}, ...{of}")
    name, layout = found
    with naming(weights.parent / "config.json"):
        given = {**(layout.attributes(config) if config and hasattr(layout, "attributes") else {}), **options}
    allowed = list(inspect.signature(layout.convert).parameters)[1:]
    for option in given:
        if option not in allowed:
            raise ValueError(f"options must be among {', '.join(allowed)} for the layout {name}, got {option!r}")
    with naming(weights):
        module, params = layout.convert(tensors, **given)
    return name, module, jax.tree.map(jnp.asarray, params), facts
