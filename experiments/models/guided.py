"""The denoiser of a model with the guidance rules of its config."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments.cli.config import Config
from experiments.models import rules
from experiments.models.conditioning import null_conditions
from experiments.models.model import GUIDANCE, Model, at_params, denoiser
from scorekit import guidance
from scorekit.typing import Denoiser, Prediction, PyTree


class Extras(NamedTuple):
    """What rules read from other checkpoints: parameters of a weaker model; ``(x_t, t) -> logits`` of a classifier."""

    weak: PyTree = None
    classifier: Callable | None = None


NO_EXTRAS = Extras()


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
        current = at_params(model, params)
        if config.sampling.solver.name == "flow_map":  # checked: without a rule
            return denoiser(current, params, given if scale is None else {**given, GUIDANCE: scale})
        conditional = Partial(functools.partial(_conditional, current), params)
        others = [{**given, "labels": jnp.full_like(given["labels"], label)} for label in further]
        cond, uncond, *rest = guidance.branches(conditional, given, null_conditions(model), *others)
        labelled = dict(zip(further, rest, strict=True))
        parts = rules.Parts(current.schedule, cond, uncond, labelled.__getitem__)
        if extras.weak is not None:
            parts = parts._replace(weak=denoiser(current, extras.weak, given))
        if extras.classifier is not None:
            parts = parts._replace(log_likelihood=Partial(_log_likelihood, extras.classifier, given["labels"]))
        return rules.compose(config, parts, scale)

    return guided
