"""Guidance from the command line: ``config.guidance`` names rules, innermost first, ``config.rules`` has their numbers.

The first rule chooses the base (what the conditional and the unconditional branch become), each further one wraps what
stands so far. A rule is one entry of :data:`RULES`; its function takes, by name,

- ``cond``, ``uncond``: the branches of the model, one batched call for those that a rule needs;
- ``denoiser``: what has been built so far (the rules that take it are the wrappers);
- ``plain``: the base without guidance; ``guidance_scale``: γ; ``schedule``; ``labelled``: class -> branch;
- ``weak``: the branch of a weaker checkpoint; ``log_likelihood``: of a classifier of noisy states;

and its own numbers, which become fields of ``config.rules.<rule>``.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jax.tree_util import Partial
from ml_collections import ConfigDict

from experiments.data.conditions import dropout_rates
from experiments.cli.config import Config, ConfigError, call, choice, leaves, numbers_of, require, resolve, shown
from scorekit import guidance
from scorekit.guidance.rules import number_at
from scorekit.typing import Denoiser, Schedule

OFFERED = (
    "cond", "uncond", "denoiser", "plain", "guidance_scale", "schedule", "labelled", "weak", "log_likelihood"
)  # fmt: skip


class Rule(NamedTuple):
    """One rule.

    Attributes:
      build: the function that gives the denoiser.
      plain: which branch it is without guidance, "cond" or "uncond": what an interval falls back to.
      one_is_plain: whether γ = 1 is that branch exactly, so that nothing else need be evaluated.
      splits: whether x0 and eps no longer make up ``x_t`` afterwards, so that solver and wrappers must read both.
    """

    build: Callable[..., Denoiser]
    plain: str = "cond"
    one_is_plain: bool = True
    splits: bool = False


class Parts(NamedTuple):
    """What rules are made of; see the module."""

    schedule: Schedule
    cond: Denoiser
    uncond: Denoiser
    labelled: Callable[[int], Denoiser]
    weak: Denoiser | None = None
    log_likelihood: Callable | None = None


def _negative(cond, uncond, labelled, guidance_scale, label: int, scale: float | None = None):
    if scale is None:  # as most interfaces have it: in the place of the unconditional branch
        return guidance.classifier_free(cond, labelled(label), guidance_scale)
    return guidance.negative(cond, uncond, labelled(label), guidance_scale, scale)


def _compose(cond, uncond, labelled, guidance_scale, labels: tuple, weights: tuple):
    if len(labels) != len(weights):
        raise ValueError(f"weights must be one for each of the {len(labels)} labels, got {len(weights)}")
    _check_numbers("weights", weights)
    return guidance.compose(uncond, [cond, *map(labelled, labels)], [guidance_scale, *weights])


def _check_numbers(name, values):
    if not all(isinstance(value, int | float) for value in values):
        raise ValueError(f"{name} must be numbers, got {values}")


def _scale_of_band(guidance_scale, factor, t):
    return 1.0 + factor * (number_at(guidance_scale, t) - 1.0)


def _frequency_decoupled(cond, uncond, guidance_scale, factors: tuple = (1.0, 0.5)):
    """``factors`` of γ - 1 for each band, the finest first."""
    _check_numbers("factors", factors)
    scales = [Partial(_scale_of_band, guidance_scale, factor) for factor in factors]
    return guidance.frequency_decoupled(cond, uncond, scales)


def _autoguidance(cond, weak, guidance_scale, step: int, ema: str | None = None):
    del step, ema  # of the weaker checkpoint, which has been read by now
    return guidance.autoguidance(cond, weak, guidance_scale)


def _classifier(
    uncond, log_likelihood, schedule, guidance_scale, workdir: str, step: int | None = None, noise_max: float = 20.0
):
    """Above ``noise_max`` it is not asked: alpha -> 0 magnifies what is left of a learned gradient there."""
    del workdir, step
    guided = guidance.classifier_guidance(uncond, log_likelihood, schedule, guidance_scale)
    return guidance.interval(guided, uncond, schedule, 0.0, noise_max)


RULES: Mapping[str, Rule] = {
    # The base.
    "apg": Rule(guidance.apg),
    "autoguidance": Rule(_autoguidance),
    "cfg_plus_plus": Rule(guidance.cfg_plus_plus, one_is_plain=False, splits=True),
    "cfg_zero_star": Rule(guidance.cfg_zero_star, one_is_plain=False),
    "classifier": Rule(_classifier, plain="uncond", one_is_plain=False),
    "classifier_free": Rule(guidance.classifier_free),
    "compose": Rule(_compose, one_is_plain=False),
    "conditional": Rule(lambda cond: cond),
    "frequency_decoupled": Rule(_frequency_decoupled),
    "negative": Rule(_negative, one_is_plain=False),
    "tangential": Rule(guidance.tangential),
    "unconditional": Rule(lambda uncond: uncond, plain="uncond", one_is_plain=False),
    # Wrappers.
    "dynamic_threshold": Rule(guidance.dynamic_threshold),
    "interval": Rule(
        lambda denoiser, plain, schedule, noise_min=0.0, noise_max=float("inf"): guidance.interval(
            denoiser, plain, schedule, noise_min, noise_max
        )
    ),
    "rescale": Rule(lambda denoiser, plain, schedule, factor=0.7: guidance.rescale(denoiser, plain, schedule, factor)),
    "static_threshold": Rule(guidance.static_threshold),
    "temperature": Rule(guidance.temperature),
}


def _bend(shape):
    return lambda guidance_scale, noise=1.0: guidance.weight_schedule(noise, guidance_scale, shape)


SCALES: Mapping[str, Callable] = {
    "constant": lambda guidance_scale: guidance_scale,
    "cosine": _bend("cosine"),
    "linear": _bend("linear"),
    "power": lambda guidance_scale, noise=1.0, power=2.0: guidance.weight_schedule(
        noise, guidance_scale, "power", power
    ),
}
"""γ(t) from ``noise`` at t = 1 to the guidance scale at t = 0."""


def takes(name: str, part: str) -> bool:
    """Whether the rule is built from this part."""
    return part in inspect.signature(RULES[name].build).parameters


def is_wrapper(name: str) -> bool:
    """Whether the rule wraps what stands so far; the others choose the base."""
    return takes(name, "denoiser")


def section() -> ConfigDict:
    """``config.rules``: for every rule a section of its numbers, each at None, which is the default."""
    return ConfigDict({name: numbers_of(rule.build, offered=OFFERED) for name, rule in RULES.items()}).lock()


def is_plain(config: Config, scale: float) -> bool:
    """Whether the base at this γ is one branch alone, so that no second one is needed."""
    return RULES[config.guidance[0]].one_is_plain and scale == 1 and config.sampling.guidance_shape.name == "constant"


def labels_of(config: Config) -> tuple[int, ...]:
    """The further classes that rules ask for."""
    found = []
    for name in config.guidance:
        if takes(name, "labelled"):
            numbers = config.rules[name]
            found += numbers.labels if "labels" in numbers else [numbers.label]
    return tuple(found)


def check_labels(config: Config, num_classes: int) -> None:
    """Refuses further classes that the model does not have."""
    for label in labels_of(config):
        given = f"config.guidance={','.join(config.guidance)}"
        if not (isinstance(label, int) and 0 <= label < num_classes):
            raise ConfigError(f"{given}: its label {label} must be a class from 0 to {num_classes - 1}")


def compose(config: Config, parts: Parts, guidance_scale: Any) -> Denoiser:
    """The denoiser of ``config.guidance``; ``guidance_scale`` is γ, or None for a base without guidance."""
    first, *wrappers = config.guidance
    plain = getattr(parts, RULES[first].plain)
    scale = 1.0 if guidance_scale is None else guidance_scale
    scale = resolve(config, "sampling.guidance_shape", SCALES, guidance_scale=scale)
    offered = {**parts._asdict(), "plain": plain, "guidance_scale": scale}
    result = _build(config, first, offered)
    if guidance_scale is None:
        result = plain
    for name in wrappers:
        result = _build(config, name, {**offered, "denoiser": result})
    return result


def _build(config, name, offered):
    known = {key: offered.get(key) for key in OFFERED}
    return call(config, f"rules.{name}", f"guidance={name}", RULES[name].build, **known)


def check_rules(config: Config, schedule: Schedule, scales: Sequence[float]) -> None:
    """Refuses rules that cannot be applied, in one sentence that says what to change; compiles nothing.

    Args:
      config: the whole config.
      schedule: that it builds.
      scales: every γ that is to be sampled at.
    """
    names, given = config.guidance, f"config.guidance={','.join(map(shown, config.guidance))}"
    if not names:
        raise ConfigError("config.guidance=(): must name at least one rule, say conditional or classifier_free")
    bases = [name for name in RULES if not is_wrapper(name)]
    for name in names:
        choice("guidance", name, RULES)
        if names.count(name) > 1:
            raise ConfigError(f"{given}: names {name} twice; leave one out")
    if is_wrapper(names[0]):
        raise ConfigError(f"{given}: {names[0]} has nothing to wrap; name first, innermost, one of {', '.join(bases)}")
    for name in names[1:]:
        if not is_wrapper(name):
            raise ConfigError(
                f"{given}: {names[0]} and {name} both choose the base; leave one out (only rules that wrap another one "
                f"may follow: {', '.join(n for n in RULES if is_wrapper(n))})"
            )
    for field, value in leaves(config.rules):
        name = field.split(".")[0]
        idle = value is None or name in names
        require(idle, f"rules.{field}", value, f"left out, because {given} does not name {name}")
    if RULES[names[0]].splits:
        solver, allowed = config.sampling.solver.name, ("ancestral", "ddim", "euler")
        of = f"one of {', '.join(allowed)} for {names[0]}, which needs a solver that reads x0 and eps"
        require(solver in allowed, "sampling.solver.name", solver, of)
        if set(names[1:]) - {"interval"}:
            raise ConfigError(
                f"{given}: only interval may wrap {names[0]}; the others would undo its choice of the noise"
            )
    nothing = Partial(_nothing)
    missing = [name for name, rate in dropout_rates(config).items() if rate == 0]
    for scale in scales:
        untrained = takes(names[0], "uncond") and not is_plain(config, scale) and config.loss.joint_dropout == 0
        if untrained and missing:
            field = {"labels": "label", "vector": "vector", "dense_map": "map"}[missing[0]]
            raise ConfigError(
                f"config.loss.{field}_dropout=0.0: {given} at γ = {scale:g} needs a trained null token: train with it "
                f"> 0, or sample with --config.guidance=conditional"
            )
        parts = Parts(schedule, nothing, nothing, lambda label: nothing, nothing, nothing)
        compose(config, parts, None if is_plain(config, scale) else scale)


def _nothing(x, t):
    raise AssertionError("only what rules are made of is looked at")


def needs_files(config: Config) -> bool:
    """Whether a rule reads what another run or another checkpoint left behind."""
    return any(takes(name, part) for name in config.guidance for part in ("weak", "log_likelihood"))
