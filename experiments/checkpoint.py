"""Opening a finished or running experiment from its folder."""

from pathlib import Path
from typing import NamedTuple

from experiments import build, evaluation, model
from experiments.config import Config, ConfigError, check_config
from experiments.configs import base
from experiments.datasets import Dataset, load_dataset
from scorekit import training
from scorekit.typing import PyTree


class Experiment(NamedTuple):
    """A trained model with its data and sampler, and the step of its checkpoint."""

    dataset: Dataset
    model: model.Model
    generate: evaluation.Generate
    params: PyTree
    step: int


def config_path(workdir: str | None) -> str:
    """The config that the run in ``workdir`` saved.

    Raises:
      ConfigError: if there is no run.
    """
    if not workdir:
        raise ConfigError("--workdir=… must be given: the folder of a run of experiments.train")
    path = Path(workdir).expanduser() / "config.json"
    if not path.exists():
        raise ConfigError(
            f"--workdir={workdir}: there is no run here (no config.json); train one with experiments.train"
        )
    return str(path)


def open_experiment(config: Config, workdir: Path, step: int | None) -> Experiment:
    """Loads the averaged parameters of a checkpoint (the newest, or that of ``step``).

    Raises:
      ConfigError: for a bad config or a checkpoint that is not there.
    """
    check_config(config, base.get_config())
    build.check_choices(config)
    average = None if config.sampling.ema == "none" else config.sampling.ema
    try:
        found, params = training.restore_params(workdir / "checkpoints", step=step, decay=average)
    except (ValueError, FileNotFoundError) as error:
        raise ConfigError(f"--workdir={workdir}: {error}") from error
    dataset = load_dataset(config)
    built = model.build_model(config, dataset)
    return Experiment(dataset, built, model.make_sampler(config, built, dataset), params, found)
