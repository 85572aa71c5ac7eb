"""Timing and dynamics of generated performances, of held-out ones, and of these as rolls of 64 ms.

    python -m experiments.projects.audio.music.expression --workdir=runs/performances

Draws ``--num`` performances, with the keys of held-out ones, and compares them with half of the held-out performances.
So are the other half, it as events, and it as voices in steps of 64 ms, which know neither deviations from the steps
nor velocities of notes. Prints a table and writes ``expression.html``, ``expression.json`` and ``expression.png``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import jax.numpy as jnp
import numpy as np

from experiments import tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, require
from experiments.cli.outputs import write_results
from experiments.data import rolls
from experiments.data.performances import Performances, performed_phrase, window
from experiments.data.roll_sets import FIRST_TEST_SEED, drawn_song
from experiments.data.symbols import Symbols
from experiments.projects.audio.music import statistics
from experiments.reporting.curves import Panel, curves, lines
from experiments.reporting.report import Figure, write_report
from experiments.reporting.tables import tables_as_text
from experiments.tasks.sequences.sampling import open_run
from experiments.tasks.task import facts
from scorekit.data.phrases import Note

HEADER = ("mean deviation", "deviations", "short intervals", "mean velocity", "velocities")
_WORKDIR = shared.workdir("Folder of a run of experiments.train with data.name=performances.")
_STEP, _SEED = shared.step(), shared.seed()
_NUM = shared.count("num", 100, "Performances of the model and of each half of the held-out ones.", 10)
_FIRST_SEED = FIRST_TEST_SEED + 2 * 10**6
_BINS = {
    "deviations": np.linspace(-32, 32, 9),
    "short intervals": np.linspace(0, 128, 17),
    "velocities": np.linspace(0, 128, 17),
}
"""Edges of the histograms: milliseconds, milliseconds, velocities."""
_STEP_MS = 1000 * rolls.STEP


def measure(notes: Sequence[Note]) -> dict[str, np.ndarray]:
    """The statistics of one performance.

    Returns:
      ``mean deviation``, in ms, of the intervals between successive onsets from the nearest multiple of 64 ms; ``mean
      velocity``; histograms of these ``deviations``, of ``short intervals`` up to 128 ms and of ``velocities``, which
      sum to 1 where there are any.

    >>> found = measure([Note(60, 80, 0.0, 0.1), Note(64, 80, 0.010, 0.1), Note(67, 90, 0.138, 0.2)])
    >>> round(float(found["mean deviation"]), 3), float(found["mean velocity"]), found["deviations"].tolist()
    (5.0, 83.33333333333333, [0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0])
    """
    intervals = 1000 * np.diff(sorted(note.start for note in notes))
    deviations = (intervals + _STEP_MS / 2 + 1e-6) % _STEP_MS - _STEP_MS / 2
    velocities = [note.velocity for note in notes]
    values = {"deviations": deviations, "short intervals": intervals + 1e-6, "velocities": velocities}
    counts = {name: np.histogram(values[name], edges)[0] for name, edges in _BINS.items()}
    return {
        "mean deviation": np.asarray(np.abs(deviations).mean() if len(deviations) else 0.0),
        "mean velocity": np.asarray(np.mean(velocities) if velocities else 0.0),
        **{name: count / max(count.sum(), 1) for name, count in counts.items()},
    }


def held_out(first: int, num: int) -> tuple[list[list[Note]], np.ndarray]:
    """Performances of no test phrase, and their keys."""
    seeds = range(_FIRST_SEED + first, _FIRST_SEED + first + num)
    starts = np.random.default_rng(first).uniform(0, 4.0, size=num)
    music = [window(performed_phrase(s), at, Performances.seconds) for s, at in zip(seeds, starts, strict=True)]
    return music, np.array([drawn_song(seed).key for seed in seeds])


def picture(path: Path, parts: Mapping[str, Sequence[Sequence[Note]]]) -> Path:
    """The mean histograms of each set of performances."""
    units = {"deviations": "ms from a multiple of 64", "short intervals": "ms between onsets", "velocities": "velocity"}
    panels = []
    for name, edges in _BINS.items():
        means = {part: np.mean([measure(notes)[name] for notes in music], axis=0) for part, music in parts.items()}
        panels.append(Panel(lines(edges, means), units[name], "share of a phrase", name))
    return curves(path, panels)


def main(config: Config) -> Path:
    workdir, num = shared.path(_WORKDIR), _NUM.value
    require(config.data.name == "performances", "data.name", config.data.name, "performances, whose timing is known")
    shared.check_writable(workdir, f"--workdir={workdir}")
    run = open_run(config, workdir, _STEP.value, (config.sampling.guidance_scale,))
    (reference, keys), (half, _) = held_out(0, num), held_out(num, num)
    dataset = cast(Symbols, run.dataset)
    inner, coding = cast(Performances, dataset.inner), dataset.coding
    of_samples = lambda samples: [inner.to_notes(x) for x in samples]
    samples = run.generate(run.params, _SEED.value, keys, config.sampling.guidance_scale)
    steps = round(Performances.seconds / rolls.STEP)
    parts = {
        "held out": half,
        "held out, as events": of_samples(coding.decode(jnp.asarray(coding.encode(inner.of_notes(half))))),
        "held out, as a roll": [rolls.to_notes(rolls.to_states(rolls.quantise(x), steps)[0]) for x in half],
        workdir.name: of_samples(samples),
    }
    rows = {name: statistics.distances(part, reference, measure) for name, part in parts.items()}
    means = {name: float(np.mean([measure(x)["mean deviation"] for x in part])) for name, part in parts.items()}
    write_results(workdir / "expression.json", {"distances": rows, "mean deviation": means})
    about = f"Distances of {num} performances each to {num} held-out ones."
    found = statistics.table(rows, about, HEADER)
    print(tables_as_text([found]))
    shown = Figure(picture(workdir / "expression.png", parts), "Mean histograms.")
    summary = {**facts(run), "seed": _SEED.value}
    return write_report(workdir / "expression.html", "scorekit: timing and dynamics", summary, [found, shown])


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.saved(_WORKDIR.value), tasks.check_fields)
