"""Distilling a run into a student: the teacher, the recipe, and the run that the student becomes."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli import distributed
from experiments.cli.config import Config, ConfigError, leaves, save_resolved
from experiments.data.dataset import Dataset
from experiments.models import run_files
from experiments.models.conditioning import GUIDANCE, conditions_for
from experiments.tasks.diffusion import guidance
from experiments.tasks.diffusion.guidance import make_guided
from experiments.tasks.flow_maps import flow_map_students, students
from experiments.tasks.task import Run
from experiments.training.run import check_same
from scorekit import training
from scorekit.io import write_atomic
from scorekit.typing import PyTree

RECIPE = "distillation.json"
"""The file of a student with its teacher, method and settings."""


def teacher_of(config: Config, run: Run) -> students.Teacher:
    """The guided model, with γ from the conditions, or else from the config."""
    scale = guidance.traced_scale(config, config.sampling.guidance_scale)
    guided = make_guided(config, run.model)

    def teacher(given):
        others = {name: value for name, value in given.items() if name != GUIDANCE}
        return guided(run.params, others, given.get(GUIDANCE, scale), run.extras)

    return teacher


def check_teacher(config: Config, options: Config, run: Run, method: str) -> None:
    """Raises an error for guidance that no student can learn; compiles nothing."""
    flow_map_students.check(config, options)
    if method != "matching" and guidance.RULES[config.guidance[0]].traits.splits:
        raise ConfigError(
            f"config.guidance={','.join(config.guidance)}: must keep alpha x0 + sigma eps = x_t for "
            f"config.distillation.method={method}, which {config.guidance[0]} does not"
        )
    given = conditions_for(run.model, run.dataset, run.dataset.test["label"][:1])
    if options.get("guidance_max") is not None:
        given[GUIDANCE] = np.ones(1, np.float32)
    x = jnp.zeros((1, *run.model.shape))
    try:
        jax.eval_shape(lambda: teacher_of(config, run)(jax.tree.map(jnp.asarray, given))(x, jnp.full(1, 0.5)))
    except ValueError as error:
        raise ConfigError(f"config.guidance={','.join(config.guidance)}: {error}") from error


def facts(options: Config) -> dict[str, Any]:
    """The fields by name, without the section of an adversarial term that is off."""
    off = "adversarial" in options and options.adversarial.weight is None
    found = {f"config.distillation.{name}": value for name, value in leaves(options)}
    return {name: v for name, v in found.items() if not (off and name.startswith("config.distillation.adversarial."))}


def check_student(folder: Path) -> None:
    """Raises an error if the run in ``folder`` is no student."""
    if (folder / "config.json").exists() and not (folder / RECIPE).exists():
        raise ConfigError(f"--workdir={folder}: it holds a run that is not a student and is kept; use another folder")


def recipe_of(folder: Path) -> dict[str, Any]:
    """Teacher, method and settings of the student in ``folder``; empty without a student."""
    path = folder / RECIPE
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error}); use another --workdir") from error


def keep_recipe(folder: Path, recipe: dict[str, Any]) -> None:
    """Raises an error if the student in ``folder`` has another teacher, method or setting; saves new ones."""
    recipe, old = json.loads(json.dumps(recipe)), recipe_of(folder)
    if not old and distributed.is_first():
        write_atomic(folder / RECIPE, json.dumps(recipe, indent=2) + "\n")
    if old:
        check_same(recipe, old, folder)


def publish(config: Config, folder: Path, dataset: Dataset, params: PyTree, step: int) -> None:
    """Saves a student in ``folder`` as a run of ``experiments.train`` would be."""
    optimizer = training.make_optimizer(config.training.learning_rate, 0, config.training.steps)
    state = training.init_state(jax.random.key(config.seed), params, optimizer, config.training.ema_decays)
    if distributed.is_first():
        save_resolved(config, folder / "config.json")
    with training.Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(step, state, extra=run_files.record(config, dataset.encoder, dataset.class_names))
        checkpoints.wait()
