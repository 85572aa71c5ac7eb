"""Models that were trained for one restoration of sound, as a bridge or conditional on what is observed."""

from collections.abc import Sequence

import numpy as np

from experiments.cli.config import Config, ConfigError, hint, leaves, require
from experiments.data.dataset import Batch, preprocess
from experiments.data.sounds import Sounds
from experiments.models.conditioning import conditions
from experiments.projects.audio.sound import drawing, problems
from experiments.tasks.diffusion import guidance
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.sampling import at_steps, build_sampler

_SAME = ("data.name", "data.set", "data.crop", "data.test_split", "data.peak")


def check_trained(task: str, folders: Sequence[str], config: Config) -> None:
    """Raises an error unless the runs were trained for the task, on the sounds of ``config``; nothing is loaded."""
    if folders and task not in problems.TRAINED_FOR:
        names = problems.TRAINED_FOR
        raise ConfigError(
            f"--trained={folders[0]}: --task must be one of {', '.join(names)}, got {task}{hint(task, names)}"
        )
    for folder in folders:
        its = diffusion.saved(folder)
        drawing.check_kind(Sounds, its, folder)
        for field, value in problems.TRAINED_FOR[task].items():
            found = its.conditions.map[field]
            fits = found == value or (found is None and field != "name")
            require(fits, f"conditions.map.{field}", found, f"{value} in --trained={folder} for --task={task}")
        ours, theirs = dict(leaves(config.data, "data.")), dict(leaves(its.data, "data."))
        same_fields = _SAME if config.data.representation.name == "controls" else (*_SAME, "data.representation")
        for field, value in theirs.items():
            same = ours.get(field) == value or not field.startswith(same_fields)
            require(same, field, value, f"{ours.get(field)} in --trained={folder}, as in --workdir")


def restore(folders: Sequence[str], steps: int, seed: int, batch: Batch) -> dict[str, tuple[np.ndarray, int]]:
    """Sounds ``(N, L)`` by the models of runs, in another number of steps, and the evaluations of each, by name.

    ``batch`` is of the test set, as it is stored.
    """
    found = {}
    for folder in folders:
        config = at_steps(diffusion.saved(folder), steps)
        run, path = drawing.open_kind(Sounds, config, folder)
        given = conditions(run.model, preprocess(run.dataset, batch))
        sounds = run.generate(run.params, seed, given, config.sampling.guidance_scale)
        solver, ts = build_sampler(config, run.model.schedule)
        pair = not guidance.is_plain(config, config.sampling.guidance_scale)
        found[f"{path.name}, {steps} steps"] = sounds, solver.evals_per_step * (len(ts) - 1) * (1 + pair)
    return found
