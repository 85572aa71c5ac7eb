"""From a config to a diffusion model and its sampler; what is wrong with a part is found as it is constructed."""

import functools
from typing import Any

from experiments import data
from experiments.cli.choices import named_object
from experiments.cli.config import Config, ConfigError, changed, choice, leaves, require, to_text
from experiments.data import conditions
from experiments.data.conditions import SECTIONS
from experiments.data.dataset import Dataset
from experiments.data.transforms import AUGMENTATION
from experiments.models import choices
from experiments.models.networks import NETWORKS
from experiments.tasks.diffusion.guidance import NO_EXTRAS, RULES, Extras, Rules, takes
from experiments.tasks.diffusion.model import Model
from experiments.tasks.diffusion.objectives import COUPLINGS, OBJECTIVES
from experiments.tasks.diffusion.sampling import Sampler
from experiments.tasks.diffusion.solvers import GRIDS, SOLVERS
from scorekit import schedules, solvers, tuning
from scorekit.networks import LogVariance
from scorekit.solvers.grids import check_grid
from scorekit.typing import Array, Schedule, Solver

OF_A_SCORE = ("eps", "negative_eps", "score")
"""Targets that are the noise up to a factor: they say nothing of x0 where there is no signal."""

# ---- the model -------------------------------------------------------------------------------------------------------


def build_schedule(config: Config) -> Schedule:
    """The schedule, shifted by ``config.noise_factor``."""
    schedule = choices.SCHEDULES.build(config, "schedule")
    return schedule if config.noise_factor == 1 else schedules.shifted(schedule, config.noise_factor)


def build_model(config: Config, dataset: Dataset) -> Model:
    """Puts the parts of the config together: a diffusion model, or a flow map."""
    schedule, extracts = build_schedule(config), data.build_conditions(config, dataset)
    sizes = conditions.sizes(extracts, dataset)
    coupling = COUPLINGS.build(config, "loss.coupling", label_dropout=config.loss.label_dropout)
    if coupling is not None and coupling.starts_at_map and sizes["map_shape"] != dataset.shape:
        name, allowed = config.conditions.map.name, f"a map of shape {dataset.shape}, as the data"
        require(False, "conditions.map.name", name, allowed)
    if config.loss.map_noise is not None:
        *positions, channels = sizes["map_shape"]
        sizes["map_shape"] = (*positions, channels + 1)  # the last channel is the noise level
    num_classes = dataset.num_classes if dataset.labelled else None
    parts: dict[str, Any] = {
        "module": NETWORKS.build(config, "network", num_classes=num_classes, outputs=dataset.shape[-1], **sizes),
        "schedule": schedule,
        "target": choices.TARGETS.build(config, "loss.target"),
        "noise_input": choices.NOISE_INPUTS.build(config, "preconditioning.noise", schedule=schedule),
        "sigma_data": config.preconditioning.sigma_data,
        "num_classes": dataset.num_classes,
        "shape": dataset.shape,
        "extracts": extracts,
        "bins": dataset.bins,
        "map_noise": config.loss.map_noise,
        "log_variance": LogVariance() if config.loss.log_variance else None,
        "coupling": coupling,
    }
    if config.loss.flow_map.name != "none":
        return named_object("experiments.tasks.flow_maps.model:build")(config, num_classes, sizes, parts)
    times = choices.TIMES.build(config, "loss.times")
    weighting = choices.WEIGHTINGS.build(config, "loss.weighting", schedule=schedule)
    return Model(**parts, objective=OBJECTIVES[config.loss.objective](times, weighting))


def dropout(config: Config) -> tuple[dict[str, float], float, float]:
    """The rates of dropout in training: of each condition, of all together, of all but the dense map together."""
    return dropout_rates(config), config.loss.joint_dropout, config.loss.caption_dropout or 0.0


def dropout_rates(config: Config) -> dict[str, float]:
    """The probability of dropping each condition by itself; the labels of an augmentation are never dropped."""
    used = {name: section for name, section in SECTIONS.items() if config.conditions[section].name != "none"}
    kept = lambda section: config.conditions[section].name == AUGMENTATION
    rate = lambda section: 0.0 if kept(section) else config.loss[f"{section}_dropout"] or 0.0
    return {"labels": config.loss.label_dropout, **{name: rate(section) for name, section in used.items()}}


def untrained_nulls(config: Config) -> list[str]:
    """The conditions whose null token is not trained. That of an augmentation is, by the examples as they are."""
    if config.loss.joint_dropout > 0:
        return []
    trained = {"vector"} if config.conditions.vector.name == AUGMENTATION else set()
    if config.loss.caption_dropout:
        trained |= {"labels", "vector", "tokens"}
    if config.sampling.keep_map:
        trained |= {"dense_map"}  # the unconditional branch has the map
    return [name for name, rate in dropout_rates(config).items() if rate == 0 and name not in trained]


# ---- the sampler -----------------------------------------------------------------------------------------------------


def build_sampler(config: Config, schedule: Schedule) -> tuple[Solver, Array]:
    """The solver and its time grid, validated against schedule and target; a file may bring the coefficients."""
    n = config.sampling.steps
    solver = SOLVERS.build(config, "sampling.solver", schedule=schedule, n=n)
    ts = GRIDS.build(config, "sampling.grid", schedule=schedule, n=n, stochastic=solver.stochastic)
    if isinstance(ts, tuning.SavedGrid):
        try:
            solver = tuning.restore_solver(ts, solver, schedule)
        except ValueError as error:
            raise ConfigError(f"config.sampling.grid.path={config.sampling.grid.path}: {error}") from error
        ts = ts.ts
    try:
        check_grid(ts)
    except ValueError as error:
        given = [f"config.sampling.grid.{field}={v}" for field, v in config.sampling.grid.items() if v is not None]
        raise ConfigError(f"{', '.join(given)}: {' '.join(str(error).split())}") from error
    no_signal = float(schedule.alpha(ts[0])) == 0
    target = config.loss.target.name
    if no_signal and (target in OF_A_SCORE or isinstance(solver, solvers.EulerMaruyama)):
        blame = f"target {target}" if target in OF_A_SCORE else "solver euler_maruyama"
        allowed = f"below 1 (say 0.999): {blame} divides by alpha(t), which is 0 there for {config.schedule.name}"
        require(False, "sampling.grid.t_max", float(ts[0]), allowed)
    return solver, ts


def at_steps(config: Config, steps: int) -> Config:
    """The config with another number of steps of its sampler."""
    return changed(config, {"sampling.steps": steps})


def has_listed_times(config: Config) -> bool:
    """Whether its grid holds times and not a rule for any number of them."""
    return config.sampling.grid.name in ("file", "times")


def build_rules(config: Config) -> Rules:
    """The rules of guidance; an error is one sentence with a remedy."""
    names, given = config.guidance, f"config.guidance={','.join(map(to_text, config.guidance))}"
    if not names:
        raise ConfigError("config.guidance=(): must name at least one rule, say conditional or classifier_free")
    wrappers = [name for name in RULES if takes(name, "denoiser")]
    for name in names:
        choice("guidance", name, RULES)
        if names.count(name) > 1:
            raise ConfigError(f"{given}: names {name} twice; leave one out")
    if names[0] in wrappers:
        bases = ", ".join(name for name in RULES if name not in wrappers)
        raise ConfigError(f"{given}: {names[0]} has nothing to wrap; name first, innermost, one of {bases}")
    for name in names[1:]:
        if name not in wrappers:
            raise ConfigError(
                f"{given}: {names[0]} and {name} both choose the base; leave one out (only rules that wrap another one "
                f"may follow: {', '.join(wrappers)})"
            )
    for field, value in leaves(config.rules):
        name = field.split(".")[0]
        unused = value is not None and name not in names
        require(not unused, f"rules.{field}", value, f"left out, because {given} does not name {name}")
    bounds = config.rules.interval
    if "interval" in names and bounds.noise_min is None and bounds.noise_max is None:
        raise ConfigError(
            f"{given}: config.rules.interval.noise_min or noise_max must be set, without bounds on sigma / alpha "
            "interval changes nothing"
        )
    further = list[int]()
    for name in names:
        if takes(name, "labelled"):
            values = config.rules[name]
            further += (values.labels or ()) if "labels" in values else [values.label]
    return Rules(
        build={name: RULES.bind(config, f"rules.{name}", f"guidance={name}", name) for name in names},
        further_labels=tuple(label for label in further if label is not None),
        keep_map=bool(config.sampling.keep_map),
        samples_flow_map=config.sampling.solver.name == "flow_map",
    )


def sampler_of(config: Config, scale: float | None = None) -> str:
    """The sampler of a config for an error message: its guidance scale, rules and solver."""
    options = config.sampling
    solver = f"{options.steps} steps of the solver {options.solver.name} on the grid {options.grid.name}"
    scale = options.guidance_scale if scale is None else scale
    return f"guidance scale {scale:g} with {' + '.join(config.guidance)}, {solver}"


def make_sampler(config: Config, model: Model, dataset: Dataset, extras: Extras = NO_EXTRAS) -> Sampler:
    """The sampler of a model, with further inputs of its rules."""
    solver, ts = build_sampler(config, model.schedule)
    return Sampler(
        model,
        dataset,
        build_rules(config),
        solver,
        times=lambda schedule: build_sampler(config, schedule)[1],
        ts=ts,
        batch_size=config.sampling.batch_size,
        fsdp=config.training.fsdp,
        denoise=bool(config.sampling.denoise),
        map_noise=config.sampling.map_noise or 0.0,
        about=functools.partial(sampler_of, config),
        identity=config.to_dict(),
        with_steps=functools.cache(lambda steps: make_sampler(at_steps(config, steps), model, dataset, extras)),
        extras=extras,
    )
