"""Guidance and truncation of a trained model of short sequences, with every sequence counted.

    python -m experiments.projects.ood.counted --workdir=runs/digits_short

Guidance of each conditional alongside guidance of the joint; temperature, top-k, nucleus and typical sampling of the
conditionals alongside the joint at the temperature of equal entropy; the joint at low temperatures.

All distributions are arrays of log-probabilities with an axis for each position, so that nothing is estimated from
samples. ``accuracy`` is the probability of sequences that a classifier of real data takes for the class, ``entropy``
the diversity in bits per sequence, both means over classes.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import ConfigError
from experiments.data.dataset import in_blocks
from experiments.reporting.tables import Cell, Table, tables_as_text
from experiments.tasks.sequences.model import conditionals
from experiments.tasks.sequences.task import open_run
from experiments.tasks.task import Run
from scorekit import autoregressive as ar
from scorekit import metrics
from scorekit.guidance import sequences
from scorekit.typing import Array

_WORKDIR = shared.workdir("Folder of an autoregressive run of short sequences.")
_SCALES = shared.define(flags.DEFINE_list, "scales", ["0", "0.5", "1", "2", "3", "4"], "Guidance scales.")
_TEMPERATURES = shared.define(flags.DEFINE_list, "temperatures", ["0.1", "0.3", "0.5", "0.7", "1"], "Of the joint.")

MOST, BLOCK = 2**17, 4096
"""Sequences that are counted, at most, and in one evaluation of the network."""

TRUNCATIONS: dict[str, Callable[[Array], Array]] = {
    "temperature 0.7": lambda logits: ar.temperature(logits, 0.7),
    "top-k 3": lambda logits: ar.top_k(logits, min(3, logits.shape[-1])),
    "nucleus 0.8": lambda logits: ar.nucleus(logits, 0.8),
    "nucleus 0.5": lambda logits: ar.nucleus(logits, 0.5),
    "typical 0.8": lambda logits: ar.typical(logits, 0.8),
    "typical 0.5": lambda logits: ar.typical(logits, 0.5),
}


class Counted(NamedTuple):
    """A model that is counted out."""

    cond: Array  # log p(x | y) of each class, (classes, V, ..., V)
    uncond: Array  # log p(x), (V, ..., V)
    predicted: np.ndarray  # the class that a classifier of real data sees in each sequence, (V^L,)
    real: float  # accuracy of the classifier on real test data


class Row(NamedTuple):
    """What a rule makes of the model: total variation to the other of its pair, accuracy and entropy in bits."""

    distance: float
    accuracy: float
    entropy: float


def count(run: Run) -> Counted:
    """Evaluates an autoregressive run on every sequence, of which there are few, for each class and for none."""
    model, dataset = run.model, run.dataset
    total = model.num_codes**model.length
    if model.process is not None:
        raise ConfigError("--workdir: must be an autoregressive run, this one is a diffusion")
    if total > MOST:
        raise ConfigError(f"--workdir: must have at most {MOST:,} sequences, this run has {total:,}")
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
    return sequences.joint_log_prob([transform(table) for table in sequences.conditional_log_probs(log_p)])


def guided_rows(counted: Counted, scale: float) -> tuple[Row, Row]:
    """The guided conditionals, with their distance to the guided joint, and the guided joint."""
    return _measured(counted, lambda cond: _guided(cond, counted.uncond, scale))


@jax.jit
def _guided(cond: Array, uncond: Array, scale: float) -> list[Array]:
    return [rule(cond, uncond, scale).log_prob for rule in (sequences.guide_sequentially, sequences.guide_joint)]


def truncated_rows(counted: Counted, transform: Callable[[Array], Array]) -> tuple[Row, Row]:
    """Changed conditionals, with their distance to the joint at the temperature of equal entropy, and that joint."""

    @jax.jit
    def changed(cond):
        transformed = of_conditionals(cond, transform)
        return [transformed, at_temperature(cond, temperature_of_entropy(cond, entropy_bits(transformed)))]

    return _measured(counted, changed)


@jax.jit
def _rows(changed: Array, joint: Array, hits: Array) -> list[tuple[Array, ...]]:
    distance = sequences.total_variation(changed, joint)
    return [(distance, jnp.sum(jnp.exp(log_p).ravel() * hits), entropy_bits(log_p)) for log_p in (changed, joint)]


def _measured(counted: Counted, changed: Callable[[Array], list[Array]]) -> tuple[Row, Row]:
    """Means over classes of the metrics of two distributions."""
    classes = [_rows(*changed(table), counted.predicted == k) for k, table in enumerate(counted.cond)]
    first, second = np.asarray(classes).mean(axis=0)
    return Row(*map(float, first)), Row(*map(float, second))


def temperature_table(counted: Counted, temperatures: Sequence[float]) -> Table:
    """The joint at low temperatures alongside the conditionals at the same: entropy, accuracy, largest probability."""

    @jax.jit
    def measure(log_p, hits, temperature):
        joint = at_temperature(log_p, temperature)
        changed = of_conditionals(log_p, lambda logits: ar.temperature(logits, temperature))
        (distance, accuracy, entropy), (_, *of_joint) = _rows(changed, joint, hits)
        return *of_joint[::-1], jnp.exp(joint.max()), distance, entropy, accuracy

    rows: list[list[Cell]] = []
    for t in temperatures:
        classes = [measure(log_p, counted.predicted == k, np.float32(t)) for k, log_p in enumerate(counted.cond)]
        rows.append([f"{t:g}", *map(float, np.asarray(classes).mean(axis=0))])
    header = ["T", "entropy, joint", "accuracy, joint", "most probable sequence"]
    header += ["total variation", "entropy, conditionals", "accuracy, conditionals"]
    caption = "The joint p(x | y)^(1/T) alongside the conditionals at the same temperature; means over classes."
    return Table(header, rows, caption)


def main(_) -> None:
    scales = shared.guidance_scales("scales", _SCALES.value)
    temperatures = shared.increasing("temperatures", _TEMPERATURES.value)
    config = tasks.saved(_WORKDIR.value, "sequence")
    run = open_run(config, shared.path(_WORKDIR), scales=scales)
    counted = count(run)
    rows = []
    for scale in scales:
        own, joint = guided_rows(counted, scale)
        rows.append([f"{scale:g}", own.distance, own.accuracy, joint.accuracy, own.entropy, joint.entropy])
    header = ["γ", "total variation", "accuracy, conditionals", "joint", "entropy, conditionals", "joint "]
    caption = (
        f"Each conditional guided, and the joint: {counted.uncond.size:,} sequences counted, means over classes; "
        f"entropy in bits per sequence; the classifier is right for {counted.real:.1%} of real test data."
    )
    guided, rows = Table(header, rows, caption), []
    for name, transform in TRUNCATIONS.items():
        changed, joint = truncated_rows(counted, transform)
        rows.append([name, changed.distance, changed.accuracy, joint.accuracy, changed.entropy])
    header = ["conditionals", "total variation", "accuracy, conditionals", "joint", "entropy"]
    caption = "Changed conditionals, at γ = 1, alongside the joint at the temperature of equal entropy."
    print(tables_as_text([guided, Table(header, rows, caption), temperature_table(counted, temperatures)]))


if __name__ == "__main__":
    command_line.run(main)
