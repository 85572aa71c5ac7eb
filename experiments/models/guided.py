"""The denoiser of a model with the guidance rules of its config."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments.cli.config import Config
from experiments.models import rules
from experiments.models.conditioning import null_conditions
from experiments.models.model import GUIDANCE, Model, at_params, denoiser
from scorekit import guidance
from scorekit.trees import expand
from scorekit.typing import Denoiser, Prediction, PyTree


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
    further = rules.labels_of(config)
    rules.check_labels(config, model.num_classes)

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
        parts = rules.Parts(current.schedule, cond, uncond, labelled.__getitem__)
        if extras.weak is not None:
            parts = parts._replace(weak=denoiser(current, extras.weak, given))
        if extras.classifier is not None:
            parts = parts._replace(log_likelihood=Partial(_log_likelihood, extras.classifier, given["labels"]))
        return rules.compose(config, parts, scale)

    return guided
