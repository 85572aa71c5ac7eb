"""The guidance rules by names in a config, and what their scales may be.

Those of :mod:`scorekit.guidance` that have traits, and the adapters below. A rule takes its parts
(:data:`PARTS`, see :mod:`experiments.models.rules`) by name; its other arguments are fields of ``config.rules.<rule>``.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, TypeAlias

from experiments.cli.fields import NON_NEGATIVE, POSITIVE, Choice, Choices, Text, narrowed
from scorekit import guidance
from scorekit.arguments import Between, Count, Each, Finite, NonNegativeInt, OneOf, Positive
from scorekit.guidance import guidance_rule
from scorekit.predictions import TARGETS

PARTS = ("cond", "uncond", "denoiser", "plain", "guidance_scale", "schedule", "labelled", "weak", "log_likelihood")

_Average: TypeAlias = Annotated[str, Text("an average, as sampling.ema")]
_Classes: TypeAlias = Annotated[tuple, Each(Count(0))]
_Folder: TypeAlias = Annotated[str, Text("a folder")]
_Scales: TypeAlias = Annotated[tuple, Each(Between())]
_SomeScales: TypeAlias = Annotated[tuple, Each(Between(), least=1)]


@guidance_rule(plain_at_one=False)
def _negative(cond, uncond, labelled, guidance_scale, label: NonNegativeInt, scale: Finite | None = None):
    """Guidance away from another class.

    Args:
      label: the class.
      scale: of its direction; None puts the class in place of the unconditional branch.
    """
    if scale is None:  # as in most interfaces: in place of the unconditional branch
        return guidance.classifier_free(cond, labelled(label), guidance_scale)
    return guidance.negative(cond, uncond, labelled(label), guidance_scale, scale)


@guidance_rule(plain_at_one=False)
def _compose(cond, uncond, labelled, guidance_scale, labels: _Classes, weights: _Scales):
    """Guidance towards the class and further ones at once, each with a scale of its own.

    Args:
      labels: the further classes.
      weights: their guidance scales; below 0 guides away from a class.
    """
    if len(labels) != len(weights):
        raise ValueError(f"weights must be one for each of the {len(labels)} labels, got {len(weights)}")
    return guidance.compose(uncond, [cond, *map(labelled, labels)], [guidance_scale, *weights])


@guidance_rule()
def _frequency_decoupled(cond, uncond, guidance_scale, factors: _SomeScales = (1.0, 0.5)):
    """Guidance of each octave of spatial frequencies with a scale of its own.

    Args:
      factors: of the guidance scale, for each level of the Laplacian pyramid.
    """
    return guidance.frequency_decoupled(cond, uncond, guidance_scale, factors)


@guidance_rule()
def _autoguidance(cond, weak, guidance_scale, step: NonNegativeInt | None = None, ema: _Average | None = None):
    """Guidance away from a weaker version of the model: an earlier checkpoint, another average, or both.

    Args:
      step: of the checkpoint; None is that of the model.
      ema: which average, as sampling.ema; None is that of the model.
    """
    if step is None and ema is None:
        raise ValueError("step or ema must be set: an earlier step or another average of the run is the weaker model")
    return guidance.autoguidance(cond, weak, guidance_scale)


@guidance_rule(plain="uncond", plain_at_one=False)
def _classifier(
    uncond,
    log_likelihood,
    schedule,
    guidance_scale,
    workdir: _Folder,
    step: NonNegativeInt | None = None,
    noise_max: Positive = 20.0,
):
    """Guidance by the gradient of a classifier of noisy data, where the noise is not above ``noise_max``.

    As alpha -> 0 a learned gradient is magnified without limit.

    Args:
      workdir: folder of a run of a classifier.
      step: of its checkpoint; None is the newest.
      noise_max: largest sigma / alpha that is guided.
    """
    del workdir, step
    guided = guidance.classifier_guidance(uncond, log_likelihood, schedule, guidance_scale)
    return guidance.interval(guided, uncond, schedule, 0.0, noise_max)


@guidance_rule()
def _conditional(cond):
    """The conditional branch alone, without guidance."""
    return cond


@guidance_rule(plain="uncond", plain_at_one=False)
def _unconditional(uncond):
    """The unconditional branch alone."""
    return uncond


_ADAPTERS: Mapping[str, Callable] = {
    "autoguidance": _autoguidance,
    "classifier": _classifier,
    "compose": _compose,
    "conditional": _conditional,
    "frequency_decoupled": _frequency_decoupled,
    "negative": _negative,
    "unconditional": _unconditional,
}
_NOT_OFFERED = ("classifier_guidance",)  # "classifier" adapts it


def _offered() -> dict[str, Callable]:
    found = {name: getattr(guidance, name) for name in guidance.__all__ if name not in _NOT_OFFERED}
    return {name: rule for name, rule in found.items() if hasattr(rule, "traits")}


RULES = narrowed(
    dict(sorted({**_offered(), **_ADAPTERS}.items())), noise_max=POSITIVE, target=OneOf(*TARGETS), tau=POSITIVE
)


def _bend(shape: Literal["cosine", "linear"]) -> Choice:
    words = f"{shape.capitalize()} in t from noise to the guidance scale at t = 0.\n\n{_NOISE}"
    return Choice(lambda guidance_scale, noise=1.0: guidance.weight_schedule(noise, guidance_scale, shape), words)


_NOISE = "Args:\n  noise: the scale at t = 1."
SCALES = narrowed(
    {
        "constant": Choice(lambda guidance_scale: guidance_scale, "The guidance scale at all times."),
        "cosine": _bend("cosine"),
        "linear": _bend("linear"),
        "power": Choice(
            lambda guidance_scale, noise=1.0, power=2.0: guidance.weight_schedule(
                noise, guidance_scale, "power", power
            ),
            f"As ``(1 - t)^power`` from noise to the guidance scale at t = 0.\n\n{_NOISE}\n  power: the exponent.",
        ),
    },
    noise=NON_NEGATIVE,
    power=POSITIVE,
)
"""γ(t) from ``noise`` at t = 1 to the guidance scale at t = 0."""


def takes(name: str, part: str) -> bool:
    """Whether the rule is built from this part."""
    return part in inspect.signature(RULES[name]).parameters


def is_wrapper(name: str) -> bool:
    """Whether the rule wraps a denoiser; the others choose the base."""
    return takes(name, "denoiser")


FIELDS = Choices(RULES, None, "The fields of the rules that config.guidance names.", PARTS, several=True)
"""``config.rules``: a section for every rule, each field at None, which is the default."""
