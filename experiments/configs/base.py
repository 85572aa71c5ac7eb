"""The fields that a config of every task has, with defaults; a config file overwrites what it needs.

A section that is chosen by its field ``name`` has the fields of the choice; another name drops those that it lacks. A
field left at None is the default of the choice.
"""

from experiments import tasks
from experiments.cli.config import Config, ConfigError, hint


def get_config(task: str = "diffusion") -> Config:
    """The common defaults of a task."""
    return tasks.named(task).fields().defaults()


def check_argument(argument: str, *allowed: str) -> None:
    """Validates the argument of a config file, ``--config=file.py:argument``; without one it is empty.

    >>> check_argument("bond", "band", "latents")
    Traceback (most recent call last):
    ...
    experiments.cli.config.ConfigError: --config=….py:bond: must be band or latents, or nothing (did you mean band?)
    """
    if argument not in ("", *allowed):
        words = f"must be {' or '.join(allowed)}, or nothing{hint(argument, allowed)}"
        raise ConfigError(f"--config=….py:{argument}: {words}")


# ---- changes that configs of several kinds of data share; each takes a config of a diffusion, and returns it --------


def unconditional(config: Config) -> Config:
    """Drops all labels, and samples with the null label."""
    config.loss.label_dropout = 1.0
    config.guidance = ("unconditional",)
    config.sampling.guidance_scale = 0.0
    config.evaluation.guidance_scales = (0.0,)
    return config


def one_scale(config: Config) -> Config:
    """Samples without guidance."""
    config.guidance = ("conditional",)
    config.sampling.guidance_scale = 1.0
    config.evaluation.guidance_scales = (1.0,)
    return config


def coupled(config: Config) -> Config:
    """A rectified flow from noise that optimal transport pairs with the data, in eight steps."""
    config.schedule.name = "rectified_flow"
    config.preconditioning.noise.name = "clock"
    config.loss.target.name = "velocity"
    config.loss.weighting.name = "flow"
    config.loss.coupling.name = "optimal_transport"
    config.sampling.solver.name = "euler"
    config.sampling.grid.name = "uniform"
    config.sampling.steps = 8
    config.evaluation.step_counts = (2, 4, 8)
    return one_scale(config)


def shortcut(config: Config) -> Config:
    """A shortcut model, which samples in 1, 2 or 4 steps."""
    config.schedule.name = "rectified_flow"
    config.preconditioning.noise.name = "clock"
    config.loss.target.name = "velocity"
    config.loss.flow_map.name = "shortcut"
    config.evaluation.step_counts = (1, 2, 4)
    return flow_map(config, steps=1)


def flow_map(config: Config, steps: int) -> Config:
    """Samples by the jumps of a flow map, in so many steps."""
    config.sampling.solver.name = "flow_map"
    config.sampling.grid.name = "uniform"
    config.sampling.steps = steps
    return one_scale(config)
