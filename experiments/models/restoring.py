"""Parameters from the checkpoints of a run: which average, which step, and errors that name the flag."""

from pathlib import Path

from experiments.cli.config import Config, ConfigError, choice
from scorekit import training
from scorekit.training import TrainState
from scorekit.typing import PyTree


def check_average(config: Config, field: str) -> None:
    """Validates ``config.<field>``, the name of an average: one of ``training.ema_decays``, or "none"."""
    section, name = field.split(".")
    decays = tuple(map(str, config.training.ema_decays)) or ("none",)
    choice(field, config[section][name], (*decays, "none"))


def averaged(state: TrainState, ema: str) -> PyTree:
    """The parameters of a state that the average ``ema`` names; "none" is the parameters themselves."""
    return state.params if ema == "none" else state.ema[ema]


def restore(given: str, workdir: Path, step: int | None, ema: str, like: PyTree = None) -> tuple[int, PyTree]:
    """The step and the parameters of a checkpoint, the newest by default; errors begin with ``given``."""
    decay = None if ema == "none" else ema
    try:
        return training.restore_params(workdir / "checkpoints", step=step, decay=decay, like=like)
    except (ValueError, FileNotFoundError) as error:
        raise ConfigError(f"{given}: {error}") from error
