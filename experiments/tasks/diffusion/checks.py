"""What a config of a model must satisfy before anything is loaded or compiled."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments import data
from experiments.cli.config import (
    Config,
    ConfigError,
    choice,
    leaves,
    lookup,
    named_errors,
    require,
    require_field,
    to_text,
)
from experiments.data.dataset import Dataset
from experiments.models import choices, conditioning
from experiments.models.networks import CAUSAL_DENOISERS, build_network, fits, networks_of
from experiments.models.run_files import check_average
from experiments.tasks.diffusion.couplings import TRANSPORT, build_coupling
from experiments.tasks.diffusion.flow_maps import build_flow_map
from experiments.tasks.diffusion.guidance import RULES, Parts, compose, is_plain, takes
from experiments.tasks.diffusion.sampling import build_sampler
from scorekit import times
from scorekit.typing import Array, Schedule, Solver

TWO_TIMES = ("dit", "mlp", "unet")
"""The networks that take further scalars."""
_OF_A_SCORE = ("eps", "negative_eps", "score")
_REVERSE_SDE = ("ancestral", "dpmpp_2m_sde", "dpmpp_3m_sde", "euler_maruyama", "reverse_diffusion", "sa_solver")
"""The solvers of the SDE backward in time, whose steps need the signal alone."""


def check(config: Config, dataset: Dataset, scales: Sequence[float] | None = None) -> None:
    """Validates combinations of fields, for sampling at these guidance scales or all that the config names; compiles
    nothing."""
    data.check_not_symbols(config, dataset)
    dataset.check_conditions({section: config.conditions[section].name for section in ("vector", "map", "tokens")})
    given = dataset.axes, config.loss.levels == "frame"
    if not fits(config.network.name, *given):
        allowed = f"{' or '.join(networks_of(*given))} for config.data.name={config.data.name}"
        require_field(config, "network.name", False, allowed)
    _check_learned_schedule(config)
    schedule = choices.build_schedule(config)
    choices.build_target(config)
    choices.build_noise_input(config, schedule)
    weighting, sampler = choices.build_weighting(config, schedule), choices.build_times(config)
    build_network(config, 10)
    solver, ts = build_sampler(config, schedule)
    one, key = jax.ShapeDtypeStruct((1,), jnp.float32), jax.random.key(0)
    _trace(config, "loss.weighting", weighting, one)
    _trace(config, "loss.times", lambda key: times.draw(key, 2, times.at_progress(sampler, 1.0), schedule), key)
    _trace(config, "sampling.solver", lambda ts: solver.plan(schedule, ts), ts)
    check_average(config, "sampling.ema", post_hoc=True)
    if config.rules.autoguidance.ema is not None:
        check_average(config, "rules.autoguidance.ema", post_hoc=True)
    conditioning.check(config)
    _check_coupling(config, schedule, solver, ts)
    if scales is None:
        scales = (config.sampling.guidance_scale, *config.evaluation.guidance_scales)
    _check_flow_map(config, scales)
    _check_one_jump(config, ts)
    _check_frame_levels(config)
    _check_guidance(config, schedule, scales, dataset.labelled)


def check_trainable(config: Config) -> None:
    """Validates the needs of training: an average that exists, and no rules that read results of training."""
    allowed = "above 0 with config.loss.guidance_max, which needs a trained null token"
    drops = config.loss.label_dropout > 0 or config.loss.joint_dropout > 0
    require_field(config, "loss.label_dropout", config.loss.guidance_max is None or drops, allowed)
    check_average(config, "sampling.ema")
    if any(takes(name, part) for name in config.guidance for part in ("weak", "log_likelihood")):
        raise ConfigError(
            f"config.guidance={','.join(config.guidance)}: {config.guidance[0]} reads another run or checkpoint; train "
            f"with another rule, and name it when sampling"
        )


def _trace(config: Config, path: str, function: Callable, *args) -> None:
    """Traces the function built from ``config.<path>``: much is validated when it is called, not when made."""
    section = lookup(config, path)
    with named_errors(path, section.name, [field for field in section if section[field] is not None]):
        jax.eval_shape(function, *args)


def _check_learned_schedule(config: Config) -> None:
    """Validates that the loss of a learned schedule is the variational bound between its ends."""
    if config.schedule.name != "learned":
        return
    for field, value, allowed in (
        ("noise_factor", config.noise_factor, 1.0),
        ("loss.weighting.name", config.loss.weighting.name, "likelihood"),
        ("loss.log_variance", config.loss.log_variance or None, None),
        ("loss.times.name", config.loss.times.name, "uniform"),
        ("loss.times.t_min", config.loss.times.get("t_min"), 0.0),
        ("loss.times.t_max", config.loss.times.get("t_max") or 1.0, 1.0),
    ):
        require(value == allowed, field, value, f"{allowed} for schedule.name=learned, which is trained by the bound")


def _check_flow_map(config: Config, scales: Sequence[float]) -> None:
    """Validates that a flow map has a network of two times, and that the solver of flow maps samples from it, at
    guidance scales that it was trained for."""
    found, most = build_flow_map(config), config.loss.guidance_max
    allowed = "None without config.loss.flow_map, and for consistency_tuning"
    require(most is None or (found is not None and found.guided), "loss.guidance_max", most, allowed)
    allowed = "None without a flow map of jumps to any time in config.loss.flow_map"
    has_jumps = found is not None and not found.ends_only
    require(config.loss.divergence is None or has_jumps, "loss.divergence", config.loss.divergence, allowed)
    allowed = f"{', '.join(TWO_TIMES)} for config.loss.flow_map.name={config.loss.flow_map.name}"
    require_field(config, "network.name", found is None or config.network.name in TWO_TIMES, allowed)
    if config.sampling.solver.name != "flow_map":
        return
    allowed = "a flow map for sampling.solver.name=flow_map"
    require_field(config, "loss.flow_map.name", found is not None, allowed)
    rule = ",".join(config.guidance)
    require(rule == "conditional", "guidance", rule, "conditional for sampling.solver.name=flow_map")
    for scale in scales:
        field = "sampling.guidance_scale" if scale == config.sampling.guidance_scale else "evaluation.guidance_scales"
        allowed = "1 for a flow map without config.loss.guidance_max"
        allowed = allowed if most is None else f"from 1 to config.loss.guidance_max={most:g}"
        require(1 <= scale <= (most or 1), field, scale, allowed)


def _check_one_jump(config: Config, ts: Array) -> None:
    """Validates that drifting and adversarial training have one jump from pure noise; drifting, that a batch has one
    part, and the class is the only condition; adversarial training, that the windows fit each other."""
    name = config.loss.flow_map.name
    if name not in ("adversarial", "drifting"):
        return
    must, for_it = functools.partial(require_field, config), f"for config.loss.flow_map.name={name}"
    must("sampling.solver.name", config.sampling.solver.name == "flow_map", f"flow_map {for_it}")
    must("sampling.steps", len(ts) == 2, f"1 {for_it}, which is one jump")
    must("sampling.grid.t_max", float(ts[0]) == 1.0, f"1 {for_it}, which starts at pure noise")
    if name == "adversarial":
        windows = tuple(config.loss.flow_map.windows or (1,))
        fit = not any(window % windows[0] for window in windows)
        must("loss.flow_map.windows", fit, f"multiples of the first {for_it}")
        return
    must("training.accumulate", config.training.accumulate == 1, f"1 {for_it}: it compares the samples of a batch")
    for section in conditioning.SECTIONS.values():
        absent = config.conditions[section].name == "none"
        must(f"conditions.{section}.name", absent, f"none {for_it}, which has classes alone")


def _check_frame_levels(config: Config) -> None:
    """Validates that a model with a noise level for each frame has a network and a loss that take them."""
    if config.loss.levels != "frame":
        return
    must, for_it = functools.partial(require_field, config), "for config.loss.levels=frame"
    takes_levels = config.network.name in ("wavenet", *CAUSAL_DENOISERS)
    must("network.name", takes_levels, f"wavenet, causal_transformer or causal_wavenet {for_it}")
    patch = config.network.get("patch")
    require(patch in (None, 1), "network.patch", patch, f"1 {for_it}: a patch has one level")
    must("loss.flow_map.name", config.loss.flow_map.name == "none", f"none {for_it}")
    must("loss.coupling.name", config.loss.coupling.name == "independent", f"independent {for_it}")
    must("loss.log_variance", not config.loss.log_variance, f"None {for_it}")
    must("schedule.name", config.schedule.name != "learned", f"a fixed schedule {for_it}")


def _check_coupling(config: Config, schedule: Schedule, solver: Solver, ts: Array) -> None:
    """Validates that the coupling provides everything that the config needs."""
    name = config.loss.coupling.name
    build_coupling(config)
    if name == "independent":
        return
    must, for_it = functools.partial(require_field, config), f"for loss.coupling.name={name}"
    allowed = f"a schedule that is not trained {for_it}, which has no variational bound"
    must("schedule.name", config.schedule.name != "learned", allowed)
    rules = ",".join(config.guidance)
    allowed = f"a rule without a classifier's gradient {for_it}, which gives no score"
    require("classifier" not in config.guidance, "guidance", rules, allowed)
    if name == TRANSPORT:
        allowed = f"velocity, v, x0 or edm {for_it}: with paired noise eps is no score"
        must("loss.target.name", config.loss.target.name not in _OF_A_SCORE, allowed)
        allowed = f"a deterministic solver {for_it}: fresh noise needs the score"
        must("sampling.solver.name", not solver.stochastic, allowed)
        for section in ("map", "vector"):
            allowed = f"none {for_it}, which keeps the noise normal within each class, not at each value"
            must(f"conditions.{section}.name", config.conditions[section].name == "none", allowed)
        return
    must("conditions.map.name", config.conditions.map.name != "none", f"the map that the bridge starts at {for_it}")
    allowed = f"one with signal at t = 1, such as edm with sigma_min=0 and rho=0.5, {for_it}"
    must("schedule.name", float(schedule.alpha(1.0)) > 0, allowed)
    must("loss.flow_map.name", config.loss.flow_map.name == "none", f"none {for_it}")
    allowed = f"None {for_it}, whose map is the start of every path"
    must("loss.map_noise", config.loss.map_noise is None, allowed)
    used = config.sampling.solver.name
    must("sampling.solver.name", used in _REVERSE_SDE, f"{', '.join(_REVERSE_SDE)} {for_it}")
    eta = getattr(solver, "eta", 1.0)
    require(float(eta) == 1.0, "sampling.solver.eta", eta, f"1 {for_it}: it takes steps of the SDE")
    require(float(ts[0]) == 1.0, "sampling.grid.t_max", float(ts[0]), f"1 {for_it}, which starts at the map")


def _check_guidance(config: Config, schedule: Schedule, scales: Sequence[float], labelled: bool) -> None:
    """Validates the rules; an error is one sentence with a remedy."""
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
    classless = "classifier" in names and not labelled
    require(not classless, "guidance", ",".join(names), "a rule without a classifier for config.data.label=none")
    bounds = config.rules.interval
    if "interval" in names and bounds.noise_min is None and bounds.noise_max is None:
        raise ConfigError(
            f"{given}: config.rules.interval.noise_min or noise_max must be set, without bounds on sigma / alpha "
            "interval changes nothing"
        )
    if RULES[names[0]].traits.splits:
        solvers = ("ancestral", "ddim", "euler")
        allowed = f"one of {', '.join(solvers)} for {names[0]}, which needs a solver that reads x0 and eps"
        require_field(config, "sampling.solver.name", config.sampling.solver.name in solvers, allowed)
        if set(names[1:]) - {"interval"}:
            raise ConfigError(
                f"{given}: only interval may wrap {names[0]}; the others would undo its choice of the noise"
            )
    branch, missing = Partial(_placeholder), conditioning.untrained_nulls(config)
    for scale in scales:
        scale_or_none = None if is_plain(config, scale) else scale
        if takes(names[0], "uncond") and scale_or_none is not None and missing:
            field = {"labels": "label", "vector": "vector", "dense_map": "map", "tokens": "caption"}[missing[0]]
            raise ConfigError(
                f"config.loss.{field}_dropout=0.0: {given} at γ = {scale:g} needs a trained null token: train with it "
                f"> 0, or sample with --config.guidance=conditional"
            )
        compose(config, Parts(schedule, branch, branch, lambda label: branch, branch, branch), scale_or_none)


def _placeholder(x, t):
    raise AssertionError("a placeholder of a denoiser is not called")
