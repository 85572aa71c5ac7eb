"""The likelihood trap: the quality of samples against their information ``-log p``, and where the typical set lies.

    python -m experiments.projects.audio.music.trap --workdir=runs/digits_wavenet --drawn=500 --out=docs/typicality
    python -m experiments.projects.audio.music.trap --workdir=runs/rolls_transformer

Samples of an autoregressive run of images or piano rolls by temperature, top-k, nucleus and typical sampling, beam
search and decisions of minimum Bayes risk. ``--out`` is a folder for the plot.

Samples of the changed conditionals and decisions have an information under the unchanged model. Its typical set is
``H ± ε``: H is the mean information of unchanged samples, an estimate of the entropy, and ε its standard deviation.
Quality is the accuracy of a classifier of images, of piano rolls the distance of their statistics from held-out pieces.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import ConfigError
from experiments.data import rolls
from experiments.data.dataset import in_blocks
from experiments.projects.audio.music import statistics
from experiments.reporting.curves import Line, Panel, curves
from experiments.reporting.tables import Cell, Table, tables_as_text
from experiments.tasks.sequences.model import conditionals
from experiments.tasks.sequences.task import open_run
from experiments.tasks.task import Run
from scorekit import autoregressive as ar
from scorekit import typicality

_WORKDIR = shared.workdir("Folder of an autoregressive run of images or piano rolls.")
_DRAWN = shared.count("drawn", 200, "Samples of each row.", 2)
_SEEDS = shared.count("seeds", 3, "Seeds of the samples.")
_OUT = shared.out("Folder of the plot; none by default.")

RULES: dict[str, tuple[Callable, tuple[float, ...]]] = {
    "temperature": (ar.temperature, (0.3, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5)),
    "top-k": (ar.top_k, (1, 2, 3, 5)),
    "nucleus": (ar.nucleus, (0.3, 0.5, 0.7, 0.9)),
    "typical": (ar.typical, (0.2, 0.5, 0.7, 0.9)),
}
"""The changes of the conditionals and their settings; ``temperature 1`` is the model as it is."""
PLAIN = ("temperature", "1")
WIDTH, MOST_CLASSES = 16, 10
"""Width of beams, and the number of classes with beams and decisions."""
_HISTOGRAMS = ("pitch classes", "intervals", "lengths", "polyphony")
Quality = Callable[[np.ndarray, np.ndarray], dict[str, float]]
"""``(codes, labels) -> metrics``."""


def quality(run: Run, num: int) -> tuple[Quality, dict[str, float], tuple[str, ...]]:
    """The classifier of images, or the statistics of music against ``num`` held-out pieces; those of real data; and the
    names of metrics that a few samples have."""
    if run.dataset.name == "rolls":
        reference, others = (statistics.held_out(first, num)[0] for first in (0, num))

        def distances(states):
            values = {name: value for name, (value, _) in statistics.distances(states, reference).items()}
            histograms = [values.pop(name) for name in _HISTOGRAMS]
            return {"total variation of histograms": float(np.mean(histograms)), **values}

        states = lambda codes: np.asarray(rolls.from_codes(codes.reshape(len(codes), -1, rolls.VOICES)))
        return lambda codes, _: distances(states(codes)), distances(others), ("similarity",)
    scorer = run.dataset.scorer()
    if scorer is None or "class accuracy" not in scorer.real:
        raise ConfigError(f"--workdir: must be a run of images with classes or of rolls, not of {run.dataset.name}")
    names = ("class accuracy", "precision", "recall", "energy distance")
    decode = lambda codes: in_blocks(jax.jit(run.dataset.from_model), codes, min(500, len(codes)))
    named = lambda values: {name: values[name] for name in names if name in values}
    return lambda codes, labels: named(scorer.samples(decode(codes), labels)), named(scorer.real), names[:2]


class Row(NamedTuple):
    """Samples or decisions of a rule at a setting: ``-log p`` in nats and metrics, for each seed that drew them."""

    rule: str
    setting: str
    information: list[np.ndarray]
    metrics: list[dict[str, float]]


def measure(run: Run, num: int, seeds: int) -> list[Row]:
    """Samples of every rule and setting, then the beams and the decisions of least risk of each class."""
    model, params = run.model, run.params
    if model.process is not None:
        raise ConfigError("--workdir: must be an autoregressive run, this one is a diffusion")
    labels = np.arange(num, dtype=np.int32) % run.dataset.num_classes
    few = np.arange(min(run.dataset.num_classes, num, MOST_CLASSES), dtype=np.int32)
    (metrics_of, real, of_few), size = quality(run, num), min(num, run.dataset.evaluation_batch)
    log_prob = jax.jit(lambda params, x, y: ar.log_prob(conditionals(model, params, y), x))

    def information(x, y):
        return -in_blocks(lambda at: log_prob(params, x[at], y[at]), np.arange(len(y)), min(size, len(y)))

    def sample(rule, params, key, value):
        transform = lambda logits: rule(logits, value)
        return ar.sample(key, conditionals(model, params, jnp.asarray(labels)), num, model.length, transform=transform)

    def row(rule, setting, drawn, y=labels):
        info = [information(x, y) for x in drawn]
        print(f"{rule} {setting}: -log p = {np.mean(info):.1f} nats", flush=True)
        metrics = [metrics_of(np.asarray(x), y) for x in drawn]
        of = of_few if y is few else metrics[0]
        return Row(rule, setting, info, [{name: each[name] for name in of} for each in metrics])

    plain, rows = [], []
    for name, (rule, values) in RULES.items():
        draw = jax.jit(functools.partial(sample, rule), static_argnums=2 if rule is ar.top_k else ())
        for value in values:
            value = min(value, model.num_codes) if rule is ar.top_k else value
            drawn = [np.asarray(draw(params, jax.random.key(seed), value)) for seed in range(seeds)]
            rows.append(row(name, f"{value:g}", drawn))
            plain = drawn if rows[-1][:2] == PLAIN else plain
    width = min(WIDTH, model.num_codes**model.length)
    search = lambda params, y: ar.beam_search(conditionals(model, params, y, width), model.length, width).x[0]
    beams = jax.jit(search)
    rows.append(row("beam search", str(width), [np.stack([beams(params, y) for y in few])], few))
    of_class = lambda x, y: ar.minimum_bayes_risk(x[labels == y], x[labels == y], ar.hamming_agreement).x
    rows.append(row("minimum Bayes risk", "Hamming", [np.stack([of_class(x, y) for y in few]) for x in plain], few))
    test = run.dataset.test
    return [*rows, Row("held-out data", "", [information(test["x"], test["label"])], [real])]


def entropy_band(rows: list[Row]) -> tuple[float, float]:
    """H and ε of the model, in nats."""
    every = np.concatenate(next(row.information for row in rows if row[:2] == PLAIN))
    return float(every.mean()), float(every.std(ddof=1))


def table(name: str, rows: list[Row], num: int, seeds: int) -> Table:
    """Every setting: information, the fraction in the typical set, metrics with their error over the seeds."""
    (entropy, epsilon), names = entropy_band(rows), list(rows[0].metrics[0])

    def cell(values) -> Cell:
        values = np.asarray(values, float)
        error = f" ± {values.std(ddof=1) / len(values) ** 0.5:.3f}" if len(values) > 1 else ""
        return "" if np.isnan(values).any() else f"{values.mean():.3f}{error}"

    def cells(row: Row) -> list[Cell]:
        inside = typicality.typical_set(-np.concatenate(row.information), entropy, epsilon)
        means = [x.mean() for x in row.information]
        metrics = (cell([each.get(metric, np.nan) for each in row.metrics]) for metric in names)
        away = (np.mean(means) - entropy) / epsilon
        return [f"{row.rule} {row.setting}".strip(), cell(means), f"{away:+.2f}", float(np.mean(inside)), *metrics]

    caption = (
        f"{name}: {num} samples of each of {seeds} seeds of sampling, one trained model; beams and decisions are one "
        f"for each of at most {MOST_CLASSES} classes. H = {entropy:.1f} nats, ε = {epsilon:.1f} nats; errors are of "
        "the seeds."
    )
    header = ["rule", "-log p, nats", "from H, in ε", "fraction in H ± ε", *names]
    return Table(header, [cells(row) for row in rows], caption)


def figure(path: Path, name: str, rows: list[Row]) -> Path:
    """The first metric against the information, a line for each rule, with the ends of ``H ± ε``."""
    entropy, epsilon = entropy_band(rows)
    metric, lines = next(iter(rows[0].metrics[0])), {}
    for rule in dict.fromkeys(row.rule for row in rows if metric in row.metrics[0]):
        mine = [row for row in rows if row.rule == rule]
        x = [np.mean([info.mean() for info in row.information]) for row in mine]
        y = [np.mean([each[metric] for each in row.metrics]) for row in mine]
        lines[rule] = Line(x, y, texts=[row.setting for row in mine])
    ends = {f"H - ε of {name}": entropy - epsilon, f"H + ε of {name}": entropy + epsilon}
    return curves(path, [Panel(lines, "-log p under the model, nats", metric, places=ends)])


def main(_) -> None:
    num, seeds, folder = _DRAWN.value, _SEEDS.value, shared.path(_WORKDIR)
    config = tasks.saved(_WORKDIR.value, "sequence")
    path = shared.results(_OUT, None, "") / f"trap_{folder.name}.png" if _OUT.value else None
    rows = measure(open_run(config, folder, scales=[1.0]), num, seeds)
    print(tables_as_text([table(folder.name, rows, num, seeds)]))
    if path is not None:
        print(f"wrote {figure(path, folder.name, rows)}")


if __name__ == "__main__":
    command_line.run(main)
