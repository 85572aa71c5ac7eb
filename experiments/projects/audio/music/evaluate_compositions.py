"""Statistics of compositions and of held-out phrases, and the bits of the models.

    python -m experiments.projects.audio.music.evaluate_compositions --workdir=runs/rolls \
        --others=runs/rolls_transformer

Every run draws ``--num`` windows with no condition except the keys of held-out phrases. Density of onsets, notes at
once, self-similarity, pitch classes, intervals between onsets, lengths and polyphony are compared with half of the
held-out phrases. So are the other half and training phrases. Bits per step and per second are exact for causal models
and a Markov chain of each voice, and a bound for masked diffusion. Models of events in steps of 64 ms, which
describe the same notes, are compared as well. Prints tables and writes ``compositions.html`` and ``compositions.json``
into ``workdir``.
"""

from pathlib import Path
from typing import cast

import numpy as np
from absl import flags

from experiments import data, tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, require, require_field
from experiments.cli.outputs import write_results
from experiments.data import rolls
from experiments.data.roll_sets import WINDOW, Rolls
from experiments.data.symbols import Symbols
from experiments.projects.audio.music import composing, statistics
from experiments.reporting.report import write_report
from experiments.reporting.tables import Table, metrics_table, tables_as_text
from experiments.tasks.sequences.metrics import bits_per_symbol
from experiments.tasks.sequences.task import open_run
from experiments.tasks.task import facts

_WORKDIR = shared.workdir("Folder of a run of experiments.train with a config of rolls.")
_STEP, _SEED = shared.step(), shared.seed()
_OTHERS = flags.DEFINE_list("others", [], "Further runs to compare, each with the config that it was trained with.")
_NUM = shared.count("num", 100, "Pieces of each model and of each half of the held-out phrases.", 10)


def check(config: Config) -> None:
    """Validates a config: a model of drawn phrases given their keys, as voices or as events in the same steps."""
    if config.task == "sequence" and config.symbols.name == "events":
        require_field(config, "symbols.resolution", config.symbols.resolution == rolls.STEP, f"{rolls.STEP}")
    else:
        composing.check(config)
    require(config.data.name == "rolls", "data.name", config.data.name, "rolls, whose held-out phrases are drawn")
    require(config.data.label in (None, "key"), "data.label", config.data.label, "key")


def bits_row(name: str, kind: str, mean: float, error: float) -> list:
    """Bits per step with their standard error, and the same per second."""
    return [name, kind, float(mean), float(error), float(mean) / rolls.STEP, float(error) / rolls.STEP]


def main(config: Config) -> Path:
    workdir, num, seed = shared.path(_WORKDIR), _NUM.value, _SEED.value
    check(config)
    with shared.named("others"):
        others = {Path(other).expanduser().absolute(): tasks.saved(other) for other in _OTHERS.value}
        for each in others.values():
            check(each)
    configs = {workdir: config, **others}
    shared.check_writable(workdir, f"--workdir={workdir}")
    (reference, keys), (half, _) = statistics.held_out(0, num), statistics.held_out(num, num)
    known = cast(Rolls, data.build(config))
    trained = np.stack([song.states for song in known.songs])
    chain = statistics.Chain(rolls.to_codes(statistics.windows_of(trained, 4)))
    parts = {
        "held-out phrases": half,
        "training phrases": statistics.windows_of(trained, -(-num // len(trained)))[:num],
    }
    of_chain = chain.bits(rolls.to_codes(known.test["x"]))
    bits = [bits_row("Markov chain", "exact", of_chain.mean(), of_chain.std(ddof=1) / len(of_chain) ** 0.5)]
    summary = {}
    for folder, its in configs.items():
        scale = its.sampling.guidance_scale
        with shared.named("workdir" if folder == workdir else "others"):
            run = open_run(its, folder, _STEP.value if folder == workdir else None, (scale,))
        summary = summary or facts(run)
        name = folder.name if [other.name for other in configs].count(folder.name) == 1 else str(folder)
        print(f"drawing from {name} …", flush=True)
        if its.symbols.name == "events":
            parts[name] = run.generate(run.params, seed, keys, scale).astype(np.uint8)
        else:
            fill = composing.make_fill(its, run, scale)
            parts[name] = composing.compose(fill, composing.NOTHING, WINDOW, keys, seed, WINDOW // 2)
        of_run = bits_per_symbol(its, run.model, cast(Symbols, run.dataset), run.params)
        each = of_run.symbols / WINDOW
        bits.append(bits_row(name, of_run.kind, each * of_run.total, each * of_run.error))
    rows = {name: statistics.distances(part, reference) for name, part in parts.items()}
    about = "Of held-out windows; models are given their keys, the chain is not."
    header = ["", "kind", "bits per step", "standard error", "bits per second", "standard error per second"]
    caption = f"Distances of {num} windows each to {num} held-out phrases."
    text = lambda row: {name: f"{value:.3f} ± {error:.3f}" for name, (value, error) in row.items()}
    apart = metrics_table({name: text(row) for name, row in rows.items()}, caption)
    tables = [Table(header, bits, about), apart]
    write_results(workdir / "compositions.json", {"bits": bits, "distances": rows})
    print(tables_as_text(tables))
    title = "scorekit: statistics of compositions"
    return write_report(workdir / "compositions.html", title, {**summary, "seed": seed}, tables)


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.saved(_WORKDIR.value), tasks.check_fields)
