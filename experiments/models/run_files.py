"""Files of a run: its config, the parameters of its checkpoints, the meaning of its weights; errors name the flag.

Network, schedule, target, conditions and the scale of the data are part of trained weights: with other values the same
weights mean something else. Training saves these fields with every checkpoint. A program that opens the run must have
the same values, whether they come from the command line or from an edited ``config.json``. Data paths and splits,
sampling, evaluation and guidance are free. Weights that were trained on the embeddings of an encoder belong to the
weights of that encoder too.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import data
from experiments.cli import flags
from experiments.cli.config import Config, ConfigError, leaves, load_resolved, to_text
from experiments.cli.fields import Field, Section, Text
from experiments.cli.outputs import encodable
from scorekit import training
from scorekit.io import as_path
from scorekit.training import TrainState, power_ema_width, restore_extra
from scorekit.typing import PyTree

SNAPSHOTS = "snapshots"
"""The folder of a run with the snapshots of its power-function averages."""
EVALUATED = Field(
    "0.999",
    Text("a decay, none, or power_<width>"),
    """
    Which average is evaluated and used: one of training.ema_decays, "none", or "power_<width>" with a width of
    training.power_ema.""",
)
SAMPLED = Field(
    "0.999",
    Text("a decay, none, or power_<width>"),
    """
    Which average to sample from: one of training.ema_decays, "none", or, of a run with training.power_ema, any
    relative width in (0, 12^-1/2), as in "power_0.07"; while training one of those that are kept.""",
)


def config_of(folder: str | Path, given: str, task: str | None = None, fields: Section | None = None) -> Config:
    """The config that the run in ``folder`` saved.

    Args:
      folder: folder of the run.
      given: flag or field that names it, with which errors begin.
      task: task of the run; any by default.
      fields: fields whose values are validated.
    """
    path = as_path(folder) / "config.json"
    if not path.exists():
        raise ConfigError(f"{given}: there is no run here (no config.json); train one with experiments.train")
    config = load_resolved(path)
    if "task" not in config:
        raise ConfigError(f"{given}: {path} is not the config of a run: it has no field task")
    if task not in (None, config.task):
        kind = task.replace("_", " ")
        raise ConfigError(
            f"{given}: this run is no {kind} (config.task={config.task}); train one with experiments.train"
        )
    if fields is not None:
        fields.check_values(config)
    return config


def averaged(state: TrainState, ema: str) -> PyTree:
    """The parameters of a state that the average ``ema`` names; "none" is the parameters themselves."""
    return state.params if ema == "none" else state.ema[ema]


def restore(given: str, workdir: Path, step: int | None, ema: str, like: PyTree = None) -> tuple[int, PyTree]:
    """The step and the parameters of a checkpoint, the newest by default; errors begin with ``given``.

    A power-function average is read from the snapshots, up to that step or the newest of them.
    """
    decay, width = None if ema == "none" else ema, power_ema_width(ema)
    try:
        if width is not None:
            return training.post_hoc_ema(workdir / SNAPSHOTS, width, step=step, like=like)
        return training.restore_params(workdir / "checkpoints", step=step, decay=decay, like=like)
    except (ValueError, FileNotFoundError) as error:
        missing = width is not None and isinstance(error, FileNotFoundError)
        raise ConfigError(f"{given}: {error}" + "; training.power_ema keeps them" * missing) from error


FIELDS = ("network.", "classifier.", "autoencoder.", "dual_encoder.", "transcriber.", "schedule.", "noise_factor",
          "preconditioning.", "loss.", "data.name", "data.set", "data.label", "data.peak", "data.representation.",
          "conditions.map.", "conditions.vector.", "conditions.tokens.", "conditions.captions.",
          "conditions.embeddings.as_examples", "latents", "model", "symbols.", "order.")  # fmt: skip
_RECORD, _ENCODER, _NAMES = "weights", "encoder", "class_names"
_LEFT_OUT = {
    "conditions.tokens.name": "none",
    "loss.coupling.name": "independent",
    "loss.flow_map.name": "none",
    "loss.objective": "denoising",
    "preconditioning.noise.name": "log_snr",
}
"""Values that are not saved with the weights."""


def fields_of(config: Config) -> dict[str, Any]:
    """The fields that belong to the weights, as JSON; those that are None are left out.

    Of ``latents`` and ``conditions.captions.encoder``, which are paths, only whether they are set.
    """
    found = {f: v for f, v in leaves(config) if f.startswith(FIELDS) and v not in (None, _LEFT_OUT.get(f))}
    found |= dict.fromkeys(found.keys() & {"latents", "conditions.captions.encoder"}, "a folder")
    return json.loads(json.dumps(found))


def record(config: Config, encoder: str | None = None, class_names: Sequence[str] = ()) -> dict[str, Any]:
    """The record that training saves with a checkpoint: the fields, the checksum of the encoder of embeddings, and the
    names of the classes."""
    facts = {_ENCODER: encoder, _NAMES: list(map(encodable, class_names))}
    return {_RECORD: fields_of(config), **{name: value for name, value in facts.items() if value}}


def check_encoder(config: Config, encoder: str | None, saved: dict[str, Any], workdir: Path) -> None:
    """Validates that the embeddings of the data are the embeddings of training; warns where that is not known."""
    if encoder is None:
        return
    given = f"config.conditions.embeddings.encoder={config.conditions.embeddings.encoder}"
    if _ENCODER not in saved:
        unknown = f"{workdir}: saved without a checksum of its encoder; {given} is taken for it"
        warnings.warn(unknown, stacklevel=2)
    elif saved[_ENCODER] != encoder and flags.reinterpret():
        print(f"{given}: has other weights than {workdir} was trained with")
    elif saved[_ENCODER] != encoder:
        raise ConfigError(
            f"{given}: has other weights than the encoder that {workdir} was trained with; restore that one, train "
            f"anew in another folder, or pass --reinterpret_weights if this is meant"
        )


def check_class_names(class_names: Sequence[str], saved: dict[str, Any], workdir: Path) -> None:
    """Validates that the classes of the data have the names that a run was trained with, in the same order."""
    trained, names = saved.get(_NAMES, []), list(map(encodable, class_names))
    for i, (before, name) in enumerate(zip(trained, names, strict=False)):
        if before != name and not flags.reinterpret():
            raise ConfigError(
                f"config.data: class {i} is {to_text(name)}, the weights in {workdir} were trained with "
                f"{to_text(before)} as class {i}; restore its name, or pass --reinterpret_weights if this is meant"
            )


def recorded_encoder(workdir: Path) -> str | None:
    """The checksum of the encoder of embeddings that a run was trained with; None without one, or if it is unknown."""
    return (restore_extra(workdir / "checkpoints") or {}).get(_ENCODER)


def check_weights(config: Config, workdir: Path, step: int | None = None) -> dict[str, Any]:
    """Validates the config of an opened run against the fields that its weights were trained with, and returns all that
    was saved with the checkpoint."""
    saved = restore_extra(workdir / "checkpoints", step=step)
    if saved is None:  # a snapshot of averages, whose checkpoint has been deleted
        saved = restore_extra(workdir / "checkpoints")
    check_record(config, saved or {}, workdir)
    return saved or {}


def check_record(config: Config, saved: dict[str, Any], workdir: Path) -> None:
    """As :func:`check_weights`, against what was saved with a checkpoint; without fields there, against the file."""
    ours, trained = fields_of(config), saved.get(_RECORD)
    if trained is None:
        trained = fields_of(config_of(workdir, f"--workdir={workdir}"))
    shown = lambda value: tuple(value) if isinstance(value, list) else "its default" if value is None else value
    for field in sorted({*ours, *trained}):
        value, before = (to_text(shown(fields.get(field))) for fields in (ours, trained))
        if ours.get(field) == trained.get(field):
            continue
        if not flags.reinterpret():
            raise ConfigError(
                f"config.{field}={value}: the weights in {workdir} were trained with {before}; use that value, in "
                f"config.json too, or pass --reinterpret_weights if this is meant"
            )
        print(f"config.{field}={value}: reinterpreting the weights in {workdir}, trained with {before}")


PICTURES = ("name", "set", "path", "image_mode")
SPLITS = ("train_split", "test_split")
"""Fields of ``config.data`` that say which pictures there are, with their captions, and which of them are held out."""


def check_same_data(
    config: Config, other: Config, given: str, of: str, fields: Sequence[str] = (*PICTURES, *SPLITS)
) -> None:
    """Validates that two runs have the same data, by these fields of ``config.data``; nothing is loaded.

    ``given`` and ``of`` name the two runs in errors. Folders of pictures may move: another path is a warning.
    """

    def value_of(config: Config, field: str) -> Any:
        value = data.field_of(config, field)
        return str(Path(value).expanduser().absolute()) if field == "path" and value is not None else value

    for field in fields:
        ours, theirs = (value_of(one, field) for one in (config, other))
        if field == "path" and ours != theirs:
            warnings.warn(f"{given}: has config.data.path={ours}, {of} has {theirs}", stacklevel=2)
        elif ours != theirs and not (field == "image_mode" and None in (ours, theirs)):
            raise ConfigError(f"{given}: must be of the data of {of}, config.data.{field}={theirs}; it has {ours}")
