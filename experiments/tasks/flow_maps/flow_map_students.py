"""Distillation into flow maps: the losses of two times with the velocity of a teacher, guided or not."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from experiments.cli.config import Config, require
from experiments.cli.fields import FRACTION, NON_NEGATIVE, POSITIVE, Field, Section
from experiments.tasks.diffusion import guidance
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from experiments.tasks.diffusion.model import Model, build_model
from experiments.tasks.task import Run
from scorekit.arguments import Between, Count
from scorekit.networks import with_new_parameters
from scorekit.typing import PyTree

LOSSES: Mapping[str, str] = {
    "eulerian": "mean_flow",
    "lagrangian": "lagrangian",
    "semigroup": "shortcut",
    "stable_consistency": "stable_consistency",
}
"""The loss of ``config.loss.flow_map`` that is given the velocity of the teacher, by method."""


_GUIDED = Section(
    guidance_max=Field(
        None,
        Between(1, open="low"),
        """
    The student takes γ as a condition, drawn for each example from 1 to this, for sampling.guidance_scale to
    choose; None is a student of the γ of the teacher.""",
    )
)
_TWO_TIMES = Section(
    divergence=Field(None, POSITIVE, "Weight of the loss of a divergence head, as in config.loss; None is no head."),
    diagonal=Field(0.25, FRACTION, "The share of the batch with s = t, which learns the velocity of the teacher."),
    power=Field(0.0, NON_NEGATIVE, "Of the adaptive weight of an example, 1 / (loss + offset)^power; 0 is none."),
    offset=Field(0.01, POSITIVE, "Of the adaptive weight."),
    **_GUIDED,
)
SECTIONS: Mapping[str, Section] = {
    "eulerian": _TWO_TIMES.but(power=0.5),
    "lagrangian": _TWO_TIMES,
    "semigroup": Section(
        levels=Field(
            5,
            Count(1, 20),
            """
            Lengths of the jumps, each half of the one before; the halves of the shortest are steps of the teacher.""",
        ),
        **_TWO_TIMES,
    ),
    "stable_consistency": Section(
        normalise=Field(0.1, POSITIVE, "Offset of the norm of the tangent."),
        warmup=Field(
            0.1,
            Between(0, 1, "low"),
            """
            Share of the training in which the tangent grows to its full size.""",
        ),
        **_GUIDED,
    ),
}
"""The fields of ``config.distillation`` for each method."""

TRAINING: Mapping[str, Mapping[str, Any]] = {name: {"steps": 2000, "learning_rate": 1e-3} for name in LOSSES}
"""Fields of ``config.training`` by method."""


class Student(NamedTuple):
    """A student before its training; ``prepare`` and ``loss`` are for the training step."""

    model: Model
    params: PyTree
    prepare: Callable
    loss: Callable


def check(config: Config, options: Config) -> None:
    """Validates that γ is a condition only where the guidance of the teacher depends on it alone."""
    rule, most = config.guidance[0], options.get("guidance_max")
    allowed = f"None with config.guidance={','.join(config.guidance)}, which has no guidance scale"
    require(most is None or guidance.takes(rule, "guidance_scale"), "distillation.guidance_max", most, allowed)


def configured(config: Config, method: str, options: Config, steps: int, scale: float) -> Config:
    """The config of a student with its loss, network and sampler, from ``students.config_of_student``.

    ``scale`` is γ that it is sampled at by default, of a student with γ as a condition.
    """
    most, times = options.get("guidance_max"), config.sampling.grid.times
    config.loss.flow_map.name = LOSSES[method]
    for field in config.loss.flow_map:
        if field != "name":
            config.loss.flow_map[field] = options.get(field)
    config.loss.update(guidance_max=most, divergence=options.get("divergence"))
    ends_only = method == "stable_consistency"  # then every jump but the last adds noise
    config.sampling.solver.update(name="flow_map", t_min=None, gamma=1.0 if ends_only else None)
    config.sampling.grid.update(name="uniform", t_max=times[0], t_min=times[-1])
    if most is not None:
        config.sampling.guidance_scale = min(scale, most)
        config.evaluation.guidance_scales = (config.sampling.guidance_scale,)
    return config


def student_of(config: Config, run: Run, teacher: Callable) -> Student:
    """The student that a config describes: the network of the teacher, which gains the length of the jump.

    ``teacher`` takes conditions, with γ where it is one, to the denoiser that the student is to follow.
    """
    model = build_model(config, run.dataset)
    fresh = model.init(jax.random.key(config.seed))
    params = jax.tree.map(jnp.array, with_new_parameters(run.params, fresh))
    objective = cast(Any, model.objective)._replace(teacher=teacher)
    fixed = replace(model, schedule=run.model.schedule, objective=objective)
    return Student(fixed, params, make_prepare(fixed, run.dataset), make_loss(fixed))
