"""Guidance and truncation of a trained model of short sequences, with every sequence counted.

All distributions are arrays of log-probabilities with an axis for each position, so that nothing is estimated from
samples. ``accuracy`` is the probability of sequences that a classifier of real data takes for the class, ``entropy``
the diversity in bits per sequence, both means over classes.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import ConfigError
from experiments.data.dataset import in_blocks
from experiments.models.sequences import conditionals
from experiments.sequences.runs import Run
from scorekit import autoregressive as ar
from scorekit import metrics
from scorekit.guidance.sequences import (
    conditional_log_probs,
    guide_joint,
    guide_sequentially,
    joint_log_prob,
    total_variation,
)
from scorekit.typing import Array

MOST, BLOCK = 2**17, 4096
"""Sequences that are counted, at most, and in one evaluation of the network."""


class Counted(NamedTuple):
    """A model that is counted out.

    Attributes:
      cond: ``log p(x | y)`` of each class, ``(classes, V, ..., V)``.
      uncond: ``log p(x)``, ``(V, ..., V)``.
      predicted: the class that a classifier of real data sees in each sequence, ``(V^L,)``.
      real: accuracy of the classifier on real test data.
    """

    cond: Array
    uncond: Array
    predicted: np.ndarray
    real: float


class Row(NamedTuple):
    """What a rule makes of the model: total variation to another distribution, accuracy and entropy in bits."""

    distance: float
    accuracy: float
    entropy: float


def count(run: Run) -> Counted:
    """Evaluates an autoregressive run on every sequence, for each class and for none.

    Raises:
      ConfigError: for a diffusion, more than :data:`MOST` sequences, or data that are no images.
    """
    model, dataset = run.model, run.dataset
    total = model.num_codes**model.length
    if model.process is not None:
        raise ConfigError("--counted: must be an autoregressive run, this one is a diffusion")
    if total > MOST:
        raise ConfigError(f"--counted: must have at most {MOST:,} sequences, this run has {total:,}")
    shape = (model.num_codes,) * model.length
    every = np.stack(np.unravel_index(np.arange(total), shape), axis=1).astype(np.int32)

    @jax.jit
    def log_prob(params, x, label):
        return ar.log_prob(conditionals(model, params, jnp.full(len(x), label)), x)

    size = min(BLOCK, total)
    of = lambda label: in_blocks(lambda x: log_prob(run.params, x, label), every, size).reshape(shape)
    images = in_blocks(jax.jit(dataset.from_model), every, size)
    decoded = lambda part: in_blocks(jax.jit(dataset.from_model), part["x"], min(BLOCK, len(part["x"])))
    classifier = metrics.fit_reference_classifier(decoded(dataset.train), dataset.train["label"])
    predicted = classifier.predict(images.reshape(total, -1))
    real = metrics.class_accuracy(classifier, decoded(dataset.test), dataset.test["label"])
    tables = jnp.stack([of(label) for label in range(dataset.num_classes)])
    return Counted(tables, jnp.asarray(of(dataset.num_classes)), predicted, real)


def entropy_bits(log_p: Array) -> Array:
    """The entropy of a distribution, in bits."""
    possible = jnp.isfinite(log_p)
    terms = jnp.where(possible, jnp.exp(log_p) * jnp.where(possible, log_p, 0.0), 0.0)
    return -jnp.sum(terms) / jnp.log(2.0)


def at_temperature(log_p: Array, temperature: Array) -> Array:
    """The joint at a temperature: ``p^(1 / T)``, normalised."""
    return jax.nn.log_softmax((log_p / temperature).ravel()).reshape(log_p.shape)


def temperature_of_entropy(log_p: Array, bits: Array) -> Array:
    """The temperature at which the joint has an entropy, by bisection between 1/64 and 64."""
    entropy = lambda t: entropy_bits(at_temperature(log_p, jnp.exp(t)))

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        below = entropy(middle) < bits
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = jax.lax.fori_loop(0, 40, halve, (jnp.log(1 / 64.0), jnp.log(64.0)))
    return jnp.exp((low + high) / 2)


def of_conditionals(log_p: Array, transform: Callable[[Array], Array]) -> Array:
    """The joint whose conditionals are changed by a function of logits."""
    return joint_log_prob([transform(table) for table in conditional_log_probs(log_p)])


def guided_rows(counted: Counted, scale: float) -> tuple[Row, Row]:
    """The guided conditionals, with their distance to the guided joint, and the guided joint, with that to p(x | y)."""
    return _over_classes(counted, _guided, scale, None)


def truncated_rows(counted: Counted, transform: Callable[[Array], Array]) -> tuple[Row, Row]:
    """Changed conditionals, with their distance to the joint at the temperature of equal entropy, and that joint."""
    return _over_classes(counted, _truncated, 1.0, transform)


def _guided(cond, uncond, scale, transform):
    del transform
    joint, sequential = (rule(cond, uncond, scale).log_prob for rule in (guide_joint, guide_sequentially))
    return (sequential, total_variation(sequential, joint)), (joint, total_variation(joint, cond))


def _truncated(cond, uncond, scale, transform):
    del uncond, scale
    changed = of_conditionals(cond, transform)
    joint = at_temperature(cond, temperature_of_entropy(cond, entropy_bits(changed)))
    return (changed, total_variation(changed, joint)), (joint, total_variation(joint, cond))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _measured(rules, transform, cond, uncond, hits, scale):
    found = rules(cond, uncond, scale, transform)
    return [(distance, jnp.sum(jnp.exp(log_p).ravel() * hits), entropy_bits(log_p)) for log_p, distance in found]


def _over_classes(counted: Counted, rules: Callable, scale: float, transform: Callable | None) -> tuple[Row, Row]:
    """Means over classes of what each of two distributions is measured by."""
    classes = [
        _measured(rules, transform, table, counted.uncond, jnp.asarray(counted.predicted == k), scale)
        for k, table in enumerate(counted.cond)
    ]
    first, second = np.asarray(classes).mean(axis=0)
    return Row(*map(float, first)), Row(*map(float, second))
