"""What a run has saved: its config, and the parameters of its checkpoints; errors name the flag."""

from pathlib import Path

from experiments.cli.config import Config, ConfigError, choice, fill_missing, load_resolved, lookup, require
from experiments.cli.fields import Field, Section, Text
from scorekit import training
from scorekit.io import as_path
from scorekit.training import POWER_EMA_PREFIX, POWER_EMA_WIDEST, TrainState, power_ema_width
from scorekit.typing import PyTree

SNAPSHOTS = "snapshots"
"""The folder of a run with the snapshots of its power-function averages."""
EVALUATED = Field("0.999", Text("a decay, none, or power_<width>"), """
    Which average is evaluated and used: one of training.ema_decays, "none", or "power_<width>" with a width of
    training.power_ema.""")  # fmt: skip
SAMPLED = Field("0.999", Text("a decay, none, or power_<width>"), """
    Which average to sample from: one of training.ema_decays, "none", or, of a run with training.power_ema, any
    relative width in (0, 12^-1/2), as in "power_0.07"; while training one of those that are kept.""")  # fmt: skip

NETWORKS = {"classifier": "classifier", "autoencoder": "autoencoder", "dual_encoder": "dual_encoder",
            "transcriber": "transcriber", "symbols": "sequence"}  # fmt: skip
"""The task of runs whose config has a section of this name; only those are asked that say no task themselves."""


def named_task(config: Config) -> Config:
    """The config with the field ``task``, which runs were once saved without."""
    if "task" not in config:
        named = [task for section, task in NETWORKS.items() if section in config]
        with config.unlocked():
            config.task = (*named, "diffusion")[0]
    return config


def config_of(folder: str | Path, given: str, task: str | None = None, fields: Section | None = None) -> Config:
    """The config that the run in ``folder`` saved; errors begin with ``given``.

    Args:
      folder: of the run.
      given: the flag or field that names it.
      task: its task; any by default.
      fields: whose values are validated, and filled in where they were added since.

    Raises:
      ConfigError: if there is no run, or one of another task.
    """
    path = as_path(folder) / "config.json"
    if not path.exists():
        raise ConfigError(f"{given}: there is no run here (no config.json); train one with experiments.train")
    config = named_task(load_resolved(path))
    if task not in (None, config.task):
        kind = task.replace("_", " ")
        raise ConfigError(
            f"{given}: this run is no {kind} (config.task={config.task}); train one with experiments.train"
        )
    if fields is not None:
        config = fill_missing(config, fields.defaults())
        fields.check_values(config)
    return config


def check_average(config: Config, field: str, *, post_hoc: bool = False) -> None:
    """Validates ``config.<field>``, the name of an average: one that training keeps, or "none".

    Args:
      config: the full config.
      field: the dotted path.
      post_hoc: whether it may be of any relative width, if training keeps power-function averages.
    """
    kept, name = config.training.power_ema or (), lookup(config, field)
    width = power_ema_width(name) if post_hoc and kept else None
    if width is not None:
        allowed = f"{POWER_EMA_PREFIX}<relative width>, in (0, 12^-1/2 = {POWER_EMA_WIDEST:.4f})"
        require(0 < width < POWER_EMA_WIDEST, field, name, allowed)
        return
    decays = tuple(map(str, config.training.ema_decays)) or ("none",)
    choice(field, name, (*decays, "none", *(f"{POWER_EMA_PREFIX}{float(width)}" for width in kept)))


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
