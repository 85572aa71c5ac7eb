"""Guidance from the command line: ``config.guidance`` names rules, innermost first, ``config.rules`` has their fields.

The first rule chooses the base (what the conditional and the unconditional branch become), each further one wraps the
denoiser so far. The rules are those of :mod:`scorekit.guidance` that have traits, and the adapters below. A rule takes
its parts by name:

- ``cond``, ``uncond``: the branches of the model, one batched call for those that a rule needs;
- ``denoiser``: the denoiser so far (the rules that take it are the wrappers);
- ``plain``: the base without guidance; ``guidance_scale``: γ; ``schedule``; ``labelled``: class -> branch;
- ``weak``: the branch of an earlier checkpoint, another average, or both;
- ``log_likelihood``: of a classifier of noisy states;

and its other arguments are fields of ``config.rules.<rule>``.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments.cli.config import Config, ConfigError, call, choice, leaves, require, resolve, to_text
from experiments.models.conditioning import null_conditions, untrained_nulls
from experiments.models.model import GUIDANCE, Model, at_params, denoiser
from experiments.models.rule_choices import PARTS, RULES, SCALES, is_wrapper, takes
from scorekit import guidance
from scorekit.trees import expand
from scorekit.typing import Denoiser, Prediction, PyTree, Schedule


class Parts(NamedTuple):
    """What rules are made of; see the module."""

    schedule: Schedule
    cond: Denoiser
    uncond: Denoiser
    labelled: Callable[[int], Denoiser]
    weak: Denoiser | None = None
    log_likelihood: Callable | None = None


_THRESHOLDS = ("dynamic_threshold", "static_threshold")


def _infinite_to_nan(predictions, x_t, t):
    """Thresholding would turn an overflow into a plausible sample; NaN stays NaN."""
    (prediction,) = predictions
    return jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(leaf), leaf, jnp.nan), prediction)


def is_plain(config: Config, scale: float) -> bool:
    """Whether the base at this γ is one branch alone, so that no other one is evaluated."""
    plain_at_one = RULES[config.guidance[0]].traits.plain_at_one
    return plain_at_one and scale == 1 and config.sampling.guidance_shape.name == "constant"


def has_scale(name: str) -> bool:
    """Whether the base depends on γ."""
    return takes(name, "guidance_scale")


def traced_scale(config: Config, scale: float):
    """γ as an argument of a compiled function; None where no guidance is needed."""
    return None if is_plain(config, scale) else jnp.float32(scale)


def labels_of(config: Config) -> tuple[int, ...]:
    """The further classes that rules use."""
    found = []
    for name in config.guidance:
        if takes(name, "labelled"):
            values = config.rules[name]
            found += values.labels if "labels" in values else [values.label]
    return tuple(found)


def check_labels(config: Config, num_classes: int) -> None:
    """Validates the further classes."""
    for label in labels_of(config):
        given = f"config.guidance={','.join(config.guidance)}"
        if not (isinstance(label, int) and 0 <= label < num_classes):
            raise ConfigError(f"{given}: its label {label} must be a class from 0 to {num_classes - 1}")


def compose(config: Config, parts: Parts, guidance_scale: Any) -> Denoiser:
    """The denoiser of ``config.guidance``; ``guidance_scale`` is γ, or None for a base without guidance."""
    first, *wrappers = config.guidance
    plain = getattr(parts, RULES[first].traits.plain)
    scale = 1.0 if guidance_scale is None else guidance_scale
    scale = resolve(config, "sampling.guidance_shape", SCALES, guidance_scale=scale)
    supplied = {**parts._asdict(), "plain": plain, "guidance_scale": scale}
    result = _build(config, first, supplied)
    if guidance_scale is None:
        result = plain
    for name in wrappers:
        if name in _THRESHOLDS:
            result = guidance.rule(_infinite_to_nan, (result,))
        result = _build(config, name, {**supplied, "denoiser": result})
    return result


def _build(config, name, supplied):
    parts = {key: supplied.get(key) for key in PARTS}
    return call(config, f"rules.{name}", f"guidance={name}", RULES[name], **parts)


def check(config: Config, schedule: Schedule, scales: Sequence[float]) -> None:
    """Validates the rules, with one sentence that says what to change; compiles nothing.

    Args:
      config: the full config.
      schedule: that it builds.
      scales: every γ to sample at.
    """
    names, given = config.guidance, f"config.guidance={','.join(map(to_text, config.guidance))}"
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
        unused = value is not None and name not in names
        require(not unused, f"rules.{field}", value, f"left out, because {given} does not name {name}")
    bounds = config.rules.interval
    if "interval" in names and bounds.noise_min is None and bounds.noise_max is None:
        raise ConfigError(
            f"{given}: config.rules.interval.noise_min or noise_max must be set, without bounds on sigma / alpha "
            "interval changes nothing"
        )
    if RULES[names[0]].traits.splits:
        solver, allowed = config.sampling.solver.name, ("ancestral", "ddim", "euler")
        of = f"one of {', '.join(allowed)} for {names[0]}, which needs a solver that reads x0 and eps"
        require(solver in allowed, "sampling.solver.name", solver, of)
        if set(names[1:]) - {"interval"}:
            raise ConfigError(
                f"{given}: only interval may wrap {names[0]}; the others would undo its choice of the noise"
            )
    placeholder = Partial(_placeholder)
    missing = untrained_nulls(config)
    for scale in scales:
        untrained = takes(names[0], "uncond") and not is_plain(config, scale)
        if untrained and missing:
            field = {"labels": "label", "vector": "vector", "dense_map": "map", "tokens": "caption"}[missing[0]]
            raise ConfigError(
                f"config.loss.{field}_dropout=0.0: {given} at γ = {scale:g} needs a trained null token: train with it "
                f"> 0, or sample with --config.guidance=conditional"
            )
        parts = Parts(schedule, placeholder, placeholder, lambda label: placeholder, placeholder, placeholder)
        compose(config, parts, None if is_plain(config, scale) else scale)


def _placeholder(x, t):
    raise AssertionError("a placeholder of a denoiser is not called")


def needs_files(config: Config) -> bool:
    """Whether a rule reads another run or another checkpoint."""
    return any(takes(name, part) for name in config.guidance for part in ("weak", "log_likelihood"))


class Extras(NamedTuple):
    """What rules read from other checkpoints: parameters of a weaker model; ``(x_t, t) -> logits`` of a classifier."""

    weak: PyTree = None
    classifier: Callable | None = None


NO_EXTRAS = Extras()


class Prompts(NamedTuple):
    """Captions in addition to those of the conditions, each as conditions that replace those of the same names.

    The conditional branch becomes ``u + sum_k w_k (c_k - u)``, with ``u`` the branch in place of the unconditional one,
    that of the negative caption where there is one; the rules are built on both.

    Attributes:
      others: of each further caption, ``(B, ...)``.
      weights: ``w``, of the first caption and of the others, ``(B, 1 + K)``; None without others leaves the branch.
      negative: of the negative caption; None for the null token.
    """

    others: tuple[Mapping[str, Any], ...]
    weights: Any
    negative: Mapping[str, Any] | None = None


PROMPTS = "prompts"
"""The name of :class:`Prompts` among the conditions that a sampler takes."""


def _weighted(predictions, x_t, t, weights) -> Prediction:
    del x_t, t
    base, *each = predictions
    scaled = lambda k, leaf, zero: expand(weights[:, k], leaf) * (leaf - zero)
    return jax.tree.map(lambda u, *c: u + sum(scaled(k, leaf, u) for k, leaf in enumerate(c)), base, *each)


def _conditional(model: Model, params, x_t, t, given) -> Prediction:
    return denoiser(model, params, given)(x_t, t)


def _log_likelihood(classifier, labels, x_t, t):
    log_p = jax.nn.log_softmax(classifier(x_t, t))
    return jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]


def make_guided(config: Config, model: Model):
    """``(params, conditions, guidance_scale, extras) -> Denoiser`` with the rules of ``config.guidance``.

    The conditions are labels, or all conditions by name; a guidance scale of None is no guidance.
    """
    further = labels_of(config)
    check_labels(config, model.num_classes)

    def guided(params, given, scale, extras: Extras = NO_EXTRAS) -> Denoiser:
        given = dict(given) if isinstance(given, Mapping) else {"labels": given}
        prompts = given.pop(PROMPTS, None)
        current = at_params(model, params)
        if config.sampling.solver.name == "flow_map":  # checked: without a rule
            return denoiser(current, params, given if scale is None else {**given, GUIDANCE: scale})
        conditional = Partial(functools.partial(_conditional, current), params)
        others = [{**given, "labels": jnp.full_like(given["labels"], label)} for label in further]
        if prompts is not None:
            written = [*prompts.others, *([] if prompts.negative is None else [prompts.negative])]
            others += [{**given, **named} for named in written]
        nulls = null_conditions(model)
        if config.sampling.keep_map:
            nulls["dense_map"] = given["dense_map"]
        cond, uncond, *rest = guidance.branches(conditional, given, nulls, *others)
        labelled = dict(zip(further, rest, strict=False))
        if prompts is not None:
            rest = rest[len(further) :]
            uncond = uncond if prompts.negative is None else rest.pop()
            if prompts.weights is not None:
                cond = guidance.rule(_weighted, (uncond, cond, *rest), prompts.weights)
        parts = Parts(current.schedule, cond, uncond, labelled.__getitem__)
        if extras.weak is not None:
            parts = parts._replace(weak=denoiser(current, extras.weak, given))
        if extras.classifier is not None:
            parts = parts._replace(log_likelihood=Partial(_log_likelihood, extras.classifier, given["labels"]))
        return compose(config, parts, scale)

    return guided
