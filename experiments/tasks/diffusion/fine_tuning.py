"""The parameters at step 0: random, or the weights that ``config.init_from`` names.

Network and preconditioning belong to weights. A config leaves a choice of them unset where it has the default name and
no other fields, and a field where it is None: :func:`take_unset` fills these in, so that ``config.json`` says all.
"""

import dataclasses
import inspect
import itertools
import math
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, cast

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from experiments.cli import distributed
from experiments.cli.config import Config, ConfigError, lookup, require
from experiments.models import choices
from experiments.models.networks import NETWORKS
from experiments.tasks.diffusion.build import build_schedule
from experiments.tasks.diffusion.fields import MODEL_FIELDS
from experiments.tasks.diffusion.model import LOG_VARIANCE, SCHEDULE, Model, init_schedule
from scorekit import io, networks
from scorekit.io import Loaded
from scorekit.io.preconditioning import BETAS, ClockInput, LogSNRInput
from scorekit.io.tensors import check_params
from scorekit.trees import is_traced
from scorekit.typing import Key, PyTree

_FREE = ("attention", "dropout", "dtype", "remat")
"""Attributes of a network that parameters do not depend on."""
_LABELS = "labels"
"""The parameters that belong to the classes, in every network."""
_TABLES = {
    "network": NETWORKS,
    "schedule": choices.SCHEDULES,
    "preconditioning.noise": choices.NOISE_INPUTS,
    "loss.target": choices.TARGETS,
}
_PLAIN = {"negative_eps": "eps", "velocity": "flow", **{name: name for name in ("edm", "eps", "score", "v", "x0")}}
"""The weighting that is the plain squared error of a target."""


def take_unset(config: Config) -> None:
    """Fills in what the config leaves unset: network and preconditioning from the weights of ``init_from``, and the
    plain weighting of their target where that is another one.

    Raises:
      ConfigError: with overrides for all fields that are set to other values than the weights have.
    """
    weights, differing, target = _load(config), {}, config.loss.target.name
    for section, theirs in _sections_of(weights, config).items():
        differing |= _take(config, section, theirs)
    if config.loss.target.name != target and _is_unset(config, "loss.weighting"):
        config.loss.weighting.name = _PLAIN[config.loss.target.name]
        if "sigma_data" in config.loss.weighting:
            config.loss.weighting.sigma_data = config.loss.target.sigma_data
    theirs, ours = weights.preconditioning.sigma_data, config.preconditioning.sigma_data
    if ours is None and theirs is not None:
        config.preconditioning.sigma_data = float(theirs)
    elif not _same(ours, theirs):
        differing["preconditioning.sigma_data"] = theirs
    if differing:
        overrides = " ".join(f"--config.{field}={shlex.quote(_typed(value))}" for field, value in differing.items())
        raise ConfigError(f"config.init_from={config.init_from}: the config must have its values: {overrides}")


def _is_unset(config: Config, path: str) -> bool:
    """Whether a section has the choice that it has by default, and no other fields of parameters."""
    section, default = lookup(config, path), lookup(cast(Any, MODEL_FIELDS), path).default
    return section.name == default and all(section[field] is None for field in section if field not in (*_FREE, "name"))


def _take(config: Config, path: str, theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Sets the unset fields of a section; returns the values of the weights where others are set."""
    ours, differing, name = lookup(config, path), {}, theirs["name"]
    unset, same_name = _is_unset(config, path), ours.name == name
    if unset:
        ours.name = name
    elif not same_name:
        differing[f"{path}.name"] = name
    of_name = inspect.signature(_TABLES[path][name]).parameters
    for field in [field for field in ours if field not in (*_FREE, "name")]:
        default = of_name[field].default if field in of_name else None
        value = theirs.get(field, default)
        if ours[field] is None and (unset or same_name):
            ours[field] = None if _same(value, default) else value
        elif not _same(default if ours[field] is None else ours[field], value):
            differing[f"{path}.{field}"] = value
    return differing


def _sections_of(weights: Loaded, config: Config) -> dict[str, dict[str, Any]]:
    """The sections of the config that make the network, the noise input and the target, where there are such."""
    module, meaning, sections = cast(Any, weights.module), weights.preconditioning, {}
    name = next((kind.lower() for kind in networks.DENOISING if type(module) is getattr(networks, kind)), None)
    if name is not None:
        fields = [field for field in inspect.signature(NETWORKS[name]).parameters if hasattr(module, field)]
        left = (*_FREE, *MODEL_FIELDS["network"].supplied)
        sections["network"] = {"name": name, **{f: getattr(module, f) for f in fields if f not in left}}
    own = choices.NOISE_INPUTS.build(config, "preconditioning.noise", schedule=build_schedule(config))
    for path, part, ours, candidates in (
        ("loss.target", meaning.target, choices.TARGETS.build(config, "loss.target"), _targets),
        ("preconditioning.noise", meaning.noise_input, own, _noise_inputs),
    ):
        for schedule, values in () if _equal(ours, part) else candidates(part):
            name, *given = values.items()
            given += [] if schedule is None else [("schedule", choices.SCHEDULES[schedule]())]
            if _equal(_TABLES[path][name[1]](**dict(given)), part):
                sections |= {path: values} if schedule is None else {path: values, "schedule": {"name": schedule}}
                break
    return sections


Candidates = Iterator[tuple[str | None, dict[str, Any]]]
"""The name of a schedule, where it matters, with the fields of a section."""


def _targets(target: Any) -> Candidates:
    given = {"sigma_data": float(target.sigma_data)} if hasattr(target, "sigma_data") else {}
    for name, factory in choices.TARGETS.items():
        if inspect.signature(factory).parameters.keys() == given.keys():
            yield None, {"name": name, **given}


def _noise_inputs(noise: Any) -> Candidates:
    if isinstance(noise, LogSNRInput):
        yield None, {"name": "log_snr", "scale": float(noise.scale), "offset": float(noise.offset)}
    elif isinstance(noise, ClockInput):
        yield None, {"name": "clock", "scale": float(noise.scale)}
    else:
        yield from _timesteps(noise)


def _timesteps(noise: Any) -> Candidates:
    schedule = noise.schedule
    if hasattr(schedule, "beta_min"):
        yield None, {"name": "vp", **{name: float(getattr(schedule, name)) for name in ("beta_min", "beta_max")}}
    table = getattr(getattr(schedule, "base", schedule), "table", None)
    if table is not None:
        kept = 1 / (1 + np.exp(-np.asarray(table, np.float64)))
        first, last = (float(f"{beta:.3g}") for beta in (1 - kept[0], 1 - kept[-1] / kept[-2]))
        for betas, zero_snr, ends in itertools.product(BETAS, (False, True), ({}, {"start": first, "end": last})):
            yield None, {"name": "timestep", "betas": betas, "count": len(kept), **ends, "zero_snr": zero_snr}
    for name in choices.SCHEDULES:
        yield name, {"name": "time", "scale": float(noise.last)}


def _load(config: Config) -> Loaded:
    path, given = io.as_path(config.init_from), f"config.init_from={config.init_from}"
    require(path.exists(), "init_from", config.init_from, "a folder or file that exists")
    if (path / "checkpoints").is_dir():
        export = f"python -m experiments.export --workdir={config.init_from} --out=…"
        raise ConfigError(f"{given}: is a run; train from what {export} writes")
    try:
        return io.load(config.init_from)
    except (ValueError, OSError, ImportError) as error:
        if "preconditioning must be given" in str(error):
            allowed = "a pipeline that is saved with its scheduler, as by DDPMPipeline(unet, scheduler).save_pretrained"
            raise ConfigError(f"{given}: must be {allowed}; a network alone does not say what it predicts") from error
        raise ConfigError(f"{given}: {error}") from error


def initial_params(config: Config, model: Model, key: Key) -> PyTree:
    """The parameters at step 0; one line on the terminal counts those from ``init_from`` and the random ones."""
    if is_traced(key):
        return model.init(key)
    weights, given = _load(config), f"config.init_from={config.init_from}"
    if wrong := _misfits(model, weights):
        raise ConfigError(f"{given}: {'; '.join(wrong)}")
    params = dict(weights.params)
    if model.objective.learns_schedule:
        theirs = weights.preconditioning.schedule
        same = jax.tree.structure(theirs) == jax.tree.structure(model.schedule)
        params[SCHEDULE] = init_schedule(theirs if same else model.schedule)
    old, shapes = _flat(params), jax.eval_shape(model.init, key)
    drawn = [path for path, leaf in _flat(shapes).items() if _is_new(model, path, leaf, old)]
    fresh = _flat(model.init(key)) if drawn else {}
    for path in drawn:
        null = path in old and len(old[path]) == cast(Any, weights.module).num_classes + 1
        old[path] = fresh[path].at[-1].set(old[path][-1]) if null else fresh[path]
    params = unflatten_dict(old)
    theirs, ours = weights.shape, model.shape
    sizes = "" if theirs in (None, ours) else f", of examples {_by(theirs)}, not {_by(ours)}"
    try:
        check_params(params, shapes)
    except ValueError as error:
        raise ConfigError(f"{given}: {error}{sizes}") from error
    if distributed.is_first():
        count = lambda paths: f"{sum(np.size(old[path]) for path in paths):,}"
        new = f"{count(drawn)} random: {', '.join('.'.join(path[1:]) for path in drawn)}" if drawn else "none random"
        kept = count(old.keys() - set(drawn))
        print(f"{kept} parameters from {config.init_from} ({type(weights.module).__name__}{sizes}), {new}", flush=True)
    return params


def _flat(params: PyTree) -> dict[tuple[str, ...], Any]:
    return cast(Any, flatten_dict(params))


def _is_new(model: Model, path: tuple[str, ...], leaf: Any, old: Mapping[tuple[str, ...], Any]) -> bool:
    """Whether weights do not hold these parameters: of other classes, of a log-variance or the length of a jump."""
    if path in old:
        return _LABELS in path and np.shape(old[path]) != leaf.shape
    return model.is_flow_map or LOG_VARIANCE in path


def _misfits(model: Model, weights: Loaded) -> list[str]:
    """What differs between a model and weights apart from the fields of the config, in words."""
    module, theirs, meaning, wrong = cast(Any, model.module), cast(Any, weights.module), weights.preconditioning, []
    if type(module) is not type(theirs):
        return [f"its network is a {type(theirs).__name__}, not the {type(module).__name__} of the config"]
    if theirs.num_classes is None and module.num_classes is not None:
        wrong.append(f"its network has no classes, the data have {module.num_classes}: add --config.data.label=none")
    if theirs.num_classes is not None and module.num_classes is None:
        wrong.append(f"its network has {theirs.num_classes} classes: leave config.data.label=none out")
    if weights.shape is not None and (len(weights.shape), weights.shape[-1]) != (len(model.shape), model.shape[-1]):
        wrong.append(f"its examples are {_by(weights.shape)}, the data {_by(model.shape)}")
    for field in dataclasses.fields(module):
        if field.name not in (*_FREE, "name", "parent", "num_classes", "divergence"):
            has, needs = (getattr(one, field.name) for one in (theirs, module))
            if has != needs:
                wrong.append(f"its network has {field.name} = {has}, the model of the config {needs}")
    for part, has, needs in (
        ("predicts", meaning.target, model.target),
        ("scales its input by sigma_data =", meaning.sigma_data, model.sigma_data),
        ("has the noise input", meaning.noise_input, model.noise_input),
    ):
        if not _equal(has, needs):
            wrong.append(f"its network {part} {_in_words(has)}, the model of the config {_in_words(needs)}")
    return wrong


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _in_words(part: object) -> str:
    return str(part) if part is None or isinstance(part, float | LogSNRInput) else type(part).__name__


def _equal(one: PyTree, other: PyTree) -> bool:
    same = jax.tree.structure(one) == jax.tree.structure(other)
    leaves = jax.tree.leaves(one), jax.tree.leaves(other)
    return same and all(np.shape(a) == np.shape(b) and np.allclose(a, b, 1e-4) for a, b in zip(*leaves, strict=True))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        return None not in (one, other) and math.isclose(one, other, rel_tol=1e-5)
    return one == other


def _typed(value: Any) -> str:
    """A value as an override."""
    return (",".join(map(str, value)) or "()") if isinstance(value, tuple) else str(value)
