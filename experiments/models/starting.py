"""The parameters from which a run starts: random ones, or those of ``config.init_from``, which must fit the model."""

import dataclasses
import functools
from typing import Any, cast

import jax
import numpy as np

from experiments.cli.config import Config, ConfigError, require
from experiments.models.learned_schedule import SCHEDULE, init_schedule
from experiments.models.model import LOG_VARIANCE, Model, init_log_variance, init_params
from scorekit import io
from scorekit.io.preconditioning import BETAS, LogSNRInput, ddpm, vp
from scorekit.io.tensors import check_params
from scorekit.networks import with_new_parameters
from scorekit.typing import PyTree

_FREE = ("attention", "dropout", "dtype", "name", "parent", "remat")
"""Attributes of a network that parameters do not depend on."""


def check(config: Config) -> None:
    """Validates that ``config.init_from`` exists."""
    path = config.init_from
    if path is not None:
        require(io.as_path(path).exists(), "init_from", path, "a folder or file that exists")


def initial_params(config: Config, model: Model) -> PyTree:
    """The parameters at step 0.

    Raises:
      ConfigError: if those of ``config.init_from`` cannot be read, are of another network, or of one whose noise level,
        input or output mean something else than in the config.
    """
    if config.init_from is None:
        return init_params(model, jax.random.key(config.seed))
    given = f"config.init_from={config.init_from}"
    try:
        found = io.load(config.init_from)
    except (ValueError, OSError, ImportError) as error:
        raise ConfigError(f"{given}: {error}") from error
    _compare(given, "is", type(found.module).__name__, type(model.module).__name__)
    for field in dataclasses.fields(cast(Any, model.module)):
        if field.name not in _FREE:
            ours, theirs = (getattr(module, field.name) for module in (model.module, found.module))
            _compare(given, f"has {field.name} =", theirs, ours)
    for part, ours, theirs in (
        ("predicts", model.target, found.target),
        ("scales its input by sigma_data =", model.sigma_data, found.preconditioning.sigma_data),
        ("has the noise input", model.noise_input, found.preconditioning.noise_input),
    ):
        if not _equal(ours, theirs):
            _compare(given, part, _in_words(theirs), _in_words(ours))
    params = dict(found.params)
    if model.log_variance is not None and LOG_VARIANCE not in params:
        params[LOG_VARIANCE] = init_log_variance(model, jax.random.key(config.seed))
    if model.learns_schedule:
        theirs = found.preconditioning.schedule
        same = jax.tree.structure(theirs) == jax.tree.structure(model.schedule)
        params[SCHEDULE] = init_schedule(theirs if same else model.schedule)
    try:
        if model.flow_map is not None:  # a denoiser lacks the parameters of the length of the jump
            params = with_new_parameters(params, init_params(model, jax.random.key(config.seed)))
        check_params(params, jax.eval_shape(functools.partial(init_params, model), jax.random.key(0)))
    except ValueError as error:
        raise ConfigError(f"{given}: {error}") from error
    return params


def _compare(given: str, verb: str, theirs: object, ours: object) -> None:
    if theirs != ours:
        raise ConfigError(f"{given}: its network {verb} {theirs}, that of the config {ours}; they must be the same")


def _equal(one: PyTree, other: PyTree) -> bool:
    same = jax.tree.structure(one) == jax.tree.structure(other)
    return same and all(map(np.allclose, jax.tree.leaves(one), jax.tree.leaves(other)))


def _in_words(part: object) -> str:
    """A noise input as the overrides that choose it; anything else by its name."""
    if isinstance(part, LogSNRInput):
        return f"preconditioning.noise.name=log_snr, scale={part.scale:g}, offset={part.offset:g}"
    tables = {f"timestep, betas={name}": ddpm(name).noise_input for name in BETAS}
    for name, known in {**tables, "vp": vp().noise_input}.items():
        if _equal(part, known):
            return f"preconditioning.noise.name={name}"
    return str(part) if part is None or isinstance(part, float) else type(part).__name__
