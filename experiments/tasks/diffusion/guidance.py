"""Guidance from a config: ``config.guidance`` names rules, innermost first, and ``config.rules`` has their fields.

The first rule chooses the base (what the conditional and the unconditional branch become), each further one wraps the
denoiser so far. The rules are the functions of :mod:`scorekit.guidance` that have traits, and the adapters below. A
rule takes its parts by name:

- ``cond``, ``uncond``: the branches of the model, one batched call for those that a rule needs;
- ``denoiser``: the denoiser so far (the rules that take it are the wrappers);
- ``unguided``: the base without guidance; ``guidance_scale``: γ; ``schedule``; ``labelled``: class -> branch;
- ``weak``: the branch of an earlier checkpoint, another average, or both;
- ``log_likelihood``: of a classifier of noisy states;

and its other arguments are fields of ``config.rules.<rule>``.

Args:
  factors: factors of the guidance scale, one for each level of the Laplacian pyramid.
  label: the class.
  labels: the further classes.
  noise_max: largest sigma / alpha that is guided.
  power: the exponent.
  scale: scale of the guidance direction; None puts the class in place of the unconditional branch.
  step: step of the classifier's checkpoint; None is the newest.
  weights: their guidance scales; below 0 guides away from a class.
  workdir: folder of a run of a classifier.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments.cli.choices import Choices
from experiments.cli.config import ConfigError
from experiments.cli.fields import POSITIVE, Text
from experiments.models.conditioning import GUIDANCE, null_conditions
from experiments.tasks.diffusion.model import Model, at_params, by_name
from scorekit import guidance
from scorekit.arguments import Between, Count, Each, Finite, NonNegativeInt, OneOf, Positive
from scorekit.guidance import guidance_rule
from scorekit.predictions import TARGETS
from scorekit.trees import expand
from scorekit.typing import Denoiser, Number, Prediction, PyTree, Schedule

# ---- rules by name ---------------------------------------------------------------------------------------------------

PARTS = ("cond", "uncond", "denoiser", "unguided", "guidance_scale", "schedule", "labelled", "weak", "log_likelihood")

_Average: TypeAlias = Annotated[str, Text("an average, as sampling.ema")]
_Classes: TypeAlias = Annotated[tuple, Each(Count(0))]
_Folder: TypeAlias = Annotated[str, Text("a folder")]
_Scales: TypeAlias = Annotated[tuple, Each(Between())]
_SomeScales: TypeAlias = Annotated[tuple, Each(Between(), least=1)]


@guidance_rule(unguided_at_one=False)
def _negative(cond, uncond, labelled, guidance_scale, label: NonNegativeInt, scale: Finite[Number] | None = None):
    """Guidance away from another class."""
    if scale is None:  # as in most interfaces
        return guidance.classifier_free(cond, labelled(label), guidance_scale)
    return guidance.negative(cond, uncond, labelled(label), guidance_scale, scale)


@guidance_rule(unguided_at_one=False)
def _compose(cond, uncond, labelled, guidance_scale, labels: _Classes, weights: _Scales):
    """Guidance towards the class and further ones at once, each with a scale of its own."""
    if len(labels) != len(weights):
        raise ValueError(f"weights must be one for each of the {len(labels)} labels, got {len(weights)}")
    return guidance.compose(uncond, [cond, *map(labelled, labels)], [guidance_scale, *weights])


@guidance_rule()
def _frequency_decoupled(cond, uncond, guidance_scale, factors: _SomeScales = (1.0, 0.5)):
    """Guidance of each octave of spatial frequencies with a scale of its own."""
    return guidance.frequency_decoupled(cond, uncond, guidance_scale, factors)


@guidance_rule()
def _autoguidance(cond, weak, guidance_scale, step: NonNegativeInt | None = None, ema: _Average | None = None):
    """Guidance away from a weaker version of the model: an earlier checkpoint, another average, or both.

    Args:
      step: step of the weak checkpoint; None is the step of the model.
      ema: average of the weak model, as sampling.ema; None is the average of the model.
    """
    if step is None and ema is None:
        raise ValueError("step or ema must be set: an earlier step or another average of the run is the weaker model")
    return guidance.autoguidance(cond, weak, guidance_scale)


@guidance_rule(unguided="uncond", unguided_at_one=False)
def _classifier(
    uncond,
    log_likelihood,
    schedule,
    guidance_scale,
    workdir: _Folder,
    step: NonNegativeInt | None = None,
    noise_max: Positive[Number] = 20.0,
):
    """Guidance by the gradient of a classifier of noisy data, where the noise is not above ``noise_max``.

    As alpha -> 0 a learned gradient is magnified without limit.
    """
    del workdir, step
    guided = guidance.classifier_guidance(uncond, log_likelihood, schedule, guidance_scale)
    return guidance.interval(guided, uncond, schedule, 0.0, noise_max)


@guidance_rule()
def _conditional(cond):
    """The conditional branch alone, without guidance."""
    return cond


@guidance_rule(unguided="uncond", unguided_at_one=False)
def _unconditional(uncond):
    """The unconditional branch alone."""
    return uncond


_ADAPTERS = (_autoguidance, _classifier, _compose, _conditional, _frequency_decoupled, _negative, _unconditional)
_RULES: dict[str, Callable] = {name: getattr(guidance, name) for name in guidance.__all__}
_RULES = {name: rule for name, rule in _RULES.items() if hasattr(rule, "traits") and name != "classifier_guidance"}
_RULES |= {rule.__name__[1:]: rule for rule in _ADAPTERS}
RULES = Choices(
    dict(sorted(_RULES.items())),
    None,
    "The fields of the rules that config.guidance names.",
    PARTS,
    bounds={"noise_max": POSITIVE, "target": OneOf(*TARGETS)},
    several=True,
)
"""The rules by name; ``config.rules`` has a section for every rule, each field at None, which is the default."""


def takes(name: str, part: str) -> bool:
    """Whether the rule is built from this part."""
    return part in inspect.signature(RULES[name]).parameters


class Rules(NamedTuple):
    """Rules with their fields, innermost first.

    Attributes:
      build: the function of each rule by its name, from parts to a denoiser.
      further_labels: classes that rules name.
      keep_map: whether the unconditional branch has the dense map.
      samples_flow_map: whether a flow map is sampled, which takes γ itself; the only rule is "conditional".
    """

    build: Mapping[str, Callable[..., Denoiser]]
    further_labels: tuple[int, ...] = ()
    keep_map: bool = False
    samples_flow_map: bool = False

    def is_plain(self, guidance_scale: float) -> bool:
        """Whether the base at this γ is one branch alone, so that no other one is evaluated."""
        return guidance_scale == 1 and RULES[next(iter(self.build))].traits.unguided_at_one

    def traced(self, guidance_scale: float):
        """γ as an argument of a compiled function; None where no guidance is needed."""
        return None if self.is_plain(guidance_scale) else jnp.float32(guidance_scale)


# ---- the denoiser ----------------------------------------------------------------------------------------------------


class Parts(NamedTuple):
    """The parts of rules; see the module."""

    schedule: Schedule
    cond: Denoiser
    uncond: Denoiser
    labelled: Callable[[int], Denoiser]
    weak: Denoiser | None = None
    log_likelihood: Callable | None = None


def _infinite_to_nan(predictions, x_t, t):
    """Thresholding would turn an overflow into a plausible sample; NaN stays NaN."""
    (prediction,) = predictions
    return jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(leaf), leaf, jnp.nan), prediction)


def compose(rules: Rules, parts: Parts, guidance_scale: Any) -> Denoiser:
    """The denoiser of the rules; ``guidance_scale`` is γ, or None for a base without guidance."""
    first, *wrappers = rules.build
    unguided = getattr(parts, RULES[first].traits.unguided)
    scale = 1.0 if guidance_scale is None else guidance_scale
    supplied = {**dict.fromkeys(PARTS), **parts._asdict(), "unguided": unguided, "guidance_scale": scale}
    build = lambda name, **also: rules.build[name](**supplied | also)
    result = build(first)
    if guidance_scale is None:
        result = unguided
    for name in wrappers:
        if name in ("dynamic_threshold", "static_threshold"):
            result = guidance.rule(_infinite_to_nan, (result,))
        result = build(name, denoiser=result)
    return result


class Extras(NamedTuple):
    """Inputs of rules from other checkpoints: parameters of a weaker model; ``(x_t, t) -> logits`` of a classifier."""

    weak: PyTree = None
    classifier: Callable | None = None


NO_EXTRAS = Extras()


class Prompts(NamedTuple):
    """Captions in addition to the caption of the conditions; each replaces the conditions of the same names.

    The conditional branch becomes ``u + sum_k w_k (c_k - u)``, with ``u`` the unconditional branch, or the branch of
    the negative caption where there is one. The rules are built on both.

    Attributes:
      others: conditions of each further caption, ``(B, ...)``.
      weights: ``w`` of the first caption and of the others, ``(B, 1 + K)``; None without others changes nothing.
      negative: conditions of the negative caption; None for the null token.
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


def _branch(model: Model, params, x_t, t, given) -> Prediction:
    return model.denoiser(params, given)(x_t, t)


def _log_likelihood(classifier, labels, x_t, t):
    log_p = jax.nn.log_softmax(classifier(x_t, t))
    return jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]


def make_guided(rules: Rules, model: Model):
    """``(params, conditions, guidance_scale, extras) -> Denoiser`` with these rules.

    The conditions are labels, or all conditions by name; a guidance scale of None is no guidance.
    """
    further = rules.further_labels
    for label in further:
        if label >= model.num_classes:
            given = f"config.guidance={','.join(rules.build)}"
            raise ConfigError(f"{given}: its label {label} must be a class from 0 to {model.num_classes - 1}")

    def guided(params, given, scale, extras: Extras = NO_EXTRAS) -> Denoiser:
        given = by_name(given)
        prompts = given.pop(PROMPTS, None)
        current = at_params(model, params)
        if rules.samples_flow_map:
            return current.denoiser(params, given if scale is None else {**given, GUIDANCE: scale})
        others = [{**given, "labels": jnp.full_like(given["labels"], label)} for label in further]
        if prompts is not None:
            written = [*prompts.others, *([] if prompts.negative is None else [prompts.negative])]
            others += [{**given, **named} for named in written]
        nulls = null_conditions(model)
        if rules.keep_map:
            nulls["dense_map"] = given["dense_map"]
        conditional = Partial(functools.partial(_branch, current), params)
        cond, uncond, *rest = guidance.branches(conditional, given, nulls, *others)
        labelled = dict(zip(further, rest, strict=False))
        if prompts is not None:
            rest = rest[len(further) :]
            uncond = uncond if prompts.negative is None else rest.pop()
            if prompts.weights is not None:
                cond = guidance.rule(_weighted, (uncond, cond, *rest), prompts.weights)
        parts = Parts(current.schedule, cond, uncond, labelled.__getitem__)
        if extras.weak is not None:
            parts = parts._replace(weak=current.denoiser(extras.weak, given))
        if extras.classifier is not None:
            parts = parts._replace(log_likelihood=Partial(_log_likelihood, extras.classifier, given["labels"]))
        return compose(rules, parts, scale)

    return guided
