"""The configs of a distillation: the fields of each method, the teacher's config with them, and the student's own."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, require
from experiments.cli.fields import FRACTION, NON_NEGATIVE, POSITIVE, Field, Section, Text
from experiments.tasks.diffusion import guidance
from experiments.tasks.diffusion.build import build_sampler, has_listed_times
from experiments.tasks.diffusion.solvers import GRIDS
from scorekit import flow_maps
from scorekit.arguments import Between, Count, OneOf
from scorekit.schedules import RectifiedFlow
from scorekit.typing import Array, ArrayLike, Schedule

MAP_LOSSES: Mapping[str, str] = {
    "eulerian": "mean_flow",
    "lagrangian": "lagrangian",
    "semigroup": "shortcut",
    "stable_consistency": "stable_consistency",
}
"""The methods whose student is a flow map: the loss of ``config.loss.flow_map`` that gets the teacher's velocity."""

_GUIDED = Section(
    guidance_max=Field(None, Between(1, open="low"), """
        The student takes γ as a condition, drawn for each example from 1 to this, for sampling.guidance_scale to
        choose; None is a student of the γ of the teacher."""),
)  # fmt: skip
_TWO_TIMES = Section(
    diagonal=Field(0.25, FRACTION, "The share of the batch with s = t, which learns the velocity of the teacher."),
    power=Field(0.0, NON_NEGATIVE, "Of the adaptive weight of an example, 1 / (loss + offset)^power; 0 is none."),
    offset=Field(0.01, POSITIVE, "Of the adaptive weight."),
    **_GUIDED,
)
_OWN: Mapping[str, Section] = {
    "progressive": Section(
        teacher_steps=Field(16, Count(1, 10**6), "Steps of the teacher in the first round, at least."),
    ),
    "consistency": Section(
        first=Field(8, Count(1, 10**6), "Pieces of a path at the beginning of training."),
        last=Field(16, Count(1, 10**6), "Pieces at the end, by doublings."),
        scale=Field(0.1, POSITIVE, "Of the pseudo-Huber distance."),
    ),
    "matching": Section(
        student_rate=Field(0.2, POSITIVE, "The learning rate of the student over that of the fake network."),
        t_min=Field(0.02, Between(0, 1, "high"), "The least noise at which the distributions are matched."),
        t_max=Field(0.98, Between(0, 1, "low"), "The most noise at which they are."),
    ),
    "eulerian": _TWO_TIMES.but(power=0.5),
    "lagrangian": _TWO_TIMES,
    "semigroup": Section(
        levels=Field(5, Count(1, 20), """
            Lengths of the jumps, each half of the one before; the halves of the shortest are steps of the teacher."""),
        **_TWO_TIMES,
    ),
    "stable_consistency": Section(
        normalise=Field(0.1, POSITIVE, "Offset of the norm of the tangent."),
        warmup=Field(0.1, Between(0, 1, "low"), """
            Share of the training in which the tangent grows to its full size."""),
        **_GUIDED,
    ),
}  # fmt: skip
SECTIONS: Mapping[str, Section] = {
    method: Section(
        teacher=Field(None, Text("a folder"), "Folder of the run of the teacher."),
        method=Field(method, OneOf(*_OWN), "What the student learns."),
        steps=Field(4, Count(1, 10**8), "Steps that the student draws in."),
        checkpoint=Field(None, Count(0), "Checkpoint of the teacher; None is the newest."),
        **own,
    )
    for method, own in _OWN.items()
}
"""The fields of ``config.distillation`` for each method."""

_TRAINING: Mapping[str, Mapping[str, Any]] = {
    "progressive": {"steps": 800, "learning_rate": 1e-3},
    "consistency": {"steps": 3000, "learning_rate": 2e-3},
    "matching": {"steps": 1500, "learning_rate": 1e-3},
    **{method: {"steps": 2000, "learning_rate": 1e-3} for method in MAP_LOSSES},
}
"""Fields of ``config.training`` by method; the steps are of a round."""
_NO_SNAPSHOTS = dict.fromkeys(("power_ema", "snapshot_every"))


def with_fields(config: Config, method: str) -> Config:
    """The config of a teacher's run with the section and the training of a method."""
    with config.unlocked():
        config.distillation = SECTIONS[method].defaults()
        config.training.optimizer = "adamw"  # whatever the teacher was trained with: the student starts close to it
    config.training.update(warmup_steps=50, ema_decays=(0.99,), **_NO_SNAPSHOTS, **_TRAINING[method])
    return config.lock()


def split_fields(config: Config) -> tuple[Config, Config]:
    """The config of the teacher and the section ``distillation``, separated."""
    options = config.distillation
    config = config.copy_and_resolve_references()
    with config.unlocked():
        del config["distillation"]
    return config, options


def config_of_student(config: Config, options: Config, schedule: Schedule) -> Config:
    """The config of the run that the student becomes: ``options.steps`` steps of its own, without guidance.

    ``config`` is the teacher's, and ``options`` the section ``distillation``.
    """
    if options.method == "progressive":
        ts = first_times(config, options, schedule)
        return config_at(config, options.method, ts[:: (len(ts) - 1) // options.steps])
    ends = build_sampler(config, schedule)[1]
    student = config_at(config, options.method, flow_grid(schedule, options.steps, ends[0], ends[-1]))
    if options.method in MAP_LOSSES:
        _as_flow_map(student, options, config.sampling.guidance_scale)
    return student


def config_at(config: Config, method: str, ts: Array) -> Config:
    """The config of a student that is sampled at these times, with no guidance, which it has learned."""
    config = config.copy_and_resolve_references()
    for section in (config.sampling.solver, config.sampling.grid):
        section.update({field: None for field in section if field != "name"})
    with config.unlocked():
        config.rules = guidance.RULES.defaults()
    config.sampling.solver.name = "euler" if method == "progressive" else "multistep_consistency"
    if method != "progressive" and ts[-1] > 0:
        config.sampling.solver.t_min = float(ts[-1])
    config.sampling.grid.update(name="times", times=tuple(float(t) for t in np.asarray(ts)))
    config.sampling.update(steps=len(ts) - 1, guidance_scale=1.0, ema=str(config.training.ema_decays[0]))
    config.evaluation.update(guidance_scales=(1.0,), step_counts=())
    config.guidance = ("conditional",)
    return config


def _as_flow_map(config: Config, options: Config, scale: float) -> None:
    """Gives the config of a student the loss, network and sampler of a flow map; its γ by default is ``scale``."""
    most, times = options.guidance_max, config.sampling.grid.times
    config.loss.flow_map.name = MAP_LOSSES[options.method]
    config.loss.flow_map.update({field: options.get(field) for field in config.loss.flow_map if field != "name"})
    config.loss.guidance_max = most
    ends_only = options.method == "stable_consistency"  # then every jump but the last adds noise
    config.sampling.solver.update(name="flow_map", t_min=None, gamma=1.0 if ends_only else None)
    config.sampling.grid.update(name="uniform", t_max=times[0], t_min=times[-1])
    if most is not None:
        config.sampling.guidance_scale = min(scale, most)
        config.evaluation.guidance_scales = (config.sampling.guidance_scale,)


def first_times(config: Config, options: Config, schedule: Schedule) -> Array:
    """The times of the teacher in the first round of progressive distillation."""
    first = 2 * options.steps
    while first < options.teacher_steps:
        first *= 2
    return configured_grid(config, schedule, first)


def configured_grid(config: Config, schedule: Schedule, n: int) -> Array:
    """The grid of the config for another number of steps."""
    name, allowed = config.sampling.grid.name, "the name of a grid of any number of steps, say recommended"
    require(not has_listed_times(config), "sampling.grid.name", name, allowed)
    return GRIDS.build(config, "sampling.grid", schedule=schedule, n=n, stochastic=False)


def flow_grid(schedule: Schedule, n: int, t_max: ArrayLike = 1.0, t_min: ArrayLike = 0.0) -> Array:
    """``n`` steps from ``t_max`` to ``t_min`` that are equal in ``sigma / (alpha + sigma)``, whatever the schedule."""
    first, last = (flow_maps.clock(schedule, t) for t in (t_max, t_min))
    ts = schedule.time_at(RectifiedFlow().log_snr(jnp.linspace(first, last, n + 1)))
    return ts.at[0].set(t_max).at[-1].set(t_min)
