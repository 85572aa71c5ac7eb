"""What the weights of a run mean: the fields of its config that belong to them.

Network, schedule, target, conditions and the scale of the data are part of trained weights: the same numbers mean
something else with other values. Training saves these fields with every checkpoint; whoever opens the run must have the
same ones, whether they come from the command line or from a ``config.json`` that was edited. Data paths and splits,
sampling, evaluation and guidance are free. Weights that are of the embeddings of an encoder belong to its weights too.
"""

import json
import warnings
from pathlib import Path
from typing import Any

from experiments.cli import flags
from experiments.cli.config import Config, ConfigError, leaves, load_resolved, to_text
from scorekit.training import restore_extra

FIELDS = ("network.", "classifier.", "autoencoder.", "dual_encoder.", "transcriber.", "schedule.", "noise_factor",
          "preconditioning.", "loss.", "data.name", "data.label", "data.peak", "data.latents", "data.representation.",
          "data.map.", "data.vector.", "data.tokens.", "data.captions.", "data.embeddings.as_examples", "model",
          "symbols.", "order.")  # fmt: skip
_RECORD, _ENCODER = "weights", "encoder"
_ADDED = {
    "data.tokens.name": "none",
    "loss.coupling.name": "independent",
    "loss.flow_map.name": "none",
    "loss.levels": "example",
    "preconditioning.noise.name": "log_snr",
}
"""Fields that runs were saved without, at the value that they all had."""


def fields_of(config: Config) -> dict[str, Any]:
    """The fields that belong to the weights, as JSON; those that are None are left out.

    Of ``data.latents`` and ``data.captions.encoder``, which are paths, only whether they are set.
    """
    found = {f: v for f, v in leaves(config) if f.startswith(FIELDS) and v is not None and _ADDED.get(f) != v}
    found |= dict.fromkeys(found.keys() & {"data.latents", "data.captions.encoder"}, "a folder")
    return json.loads(json.dumps(found))


def record(config: Config, encoder: str | None = None) -> dict[str, Any]:
    """What training saves with a checkpoint: the fields, and the checksum of the encoder of embeddings."""
    return {_RECORD: fields_of(config), **({} if encoder is None else {_ENCODER: encoder})}


def check_record(config: Config, saved: dict[str, Any], workdir: Path) -> None:
    """Validates the config against what was saved with a checkpoint of the run; nothing to do for an older one.

    Raises:
      ConfigError: naming the first field that differs, unless ``--reinterpret_weights`` is given.
    """
    if _RECORD in saved:
        _compare(fields_of(config), saved[_RECORD], workdir)


def check_encoder(config: Config, encoder: str | None, saved: dict[str, Any], workdir: Path) -> None:
    """Validates that the embeddings of the data are those that the run was trained on; warns where that is not known.

    Raises:
      ConfigError: if another encoder, or the same one after more training, has made them.
    """
    if encoder is None:
        return
    folder = config.data.embeddings.encoder
    if _ENCODER not in saved:
        unknown = f"{workdir}: saved without a checksum of its encoder; {folder} is taken for it"
        warnings.warn(unknown, stacklevel=2)
    elif saved[_ENCODER] != encoder and flags.reinterpret():
        print(f"config.data.embeddings.encoder={folder}: has other weights than {workdir} was trained with")
    elif saved[_ENCODER] != encoder:
        raise ConfigError(
            f"config.data.embeddings.encoder={folder}: has other weights than the encoder that {workdir} was trained "
            f"with; restore that one, train anew in another folder, or pass --reinterpret_weights if this is meant"
        )


def recorded_encoder(workdir: Path) -> str | None:
    """The checksum of the encoder of embeddings that a run was trained with; None without one, or if it is unknown."""
    return (restore_extra(workdir / "checkpoints") or {}).get(_ENCODER)


def check_weights(config: Config, workdir: Path, step: int | None = None) -> dict[str, Any]:
    """Validates the config of an opened run against the fields that its weights were trained with.

    A run that was saved without them is compared with its ``config.json``, which is printed.

    Returns:
      What was saved with the checkpoint.

    Raises:
      ConfigError: naming the first field that differs, unless ``--reinterpret_weights`` is given.
    """
    saved = restore_extra(workdir / "checkpoints", step=step)
    if saved is None:  # a snapshot of averages, whose checkpoint has been deleted
        saved = restore_extra(workdir / "checkpoints")
    if saved is not None and _RECORD in saved:
        check_record(config, saved, workdir)
    elif saved is not None and (workdir / "config.json").exists():
        print(f"{workdir}: saved by an earlier version, without what its weights mean; config.json is believed")
        _compare(fields_of(config), fields_of(load_resolved(workdir / "config.json")), workdir)
    return saved or {}


def _compare(ours: dict[str, Any], trained: dict[str, Any], workdir: Path) -> None:
    trained = {field: value for field, value in trained.items() if _ADDED.get(field) != value}
    for field in sorted({*ours, *trained}):
        value, before = (to_text(_shown(fields.get(field))) for fields in (ours, trained))
        if ours.get(field) == trained.get(field):
            continue
        if not flags.reinterpret():
            raise ConfigError(
                f"config.{field}={value}: the weights in {workdir} were trained with {before}; use that value, in "
                f"config.json too, or pass --reinterpret_weights if this is meant"
            )
        print(f"config.{field}={value}: reinterpreting the weights in {workdir}, trained with {before}")


def _shown(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else "its default" if value is None else value
