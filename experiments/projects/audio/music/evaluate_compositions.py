"""Statistics of compositions and of held-out phrases, and the bits of the models.

    python -m experiments.projects.audio.music.evaluate_compositions --workdir=runs/rolls \
        --others=runs/rolls_transformer

Every run draws ``--num`` windows and, unless ``--long=0``, as many pieces four times as long, with no condition except
the keys of held-out phrases. Density of onsets, notes at once, self-similarity, pitch classes, intervals between
onsets, lengths and polyphony are compared with half of the held-out phrases. So are the other half, training phrases
and a Markov chain of each voice. Each window of a long piece is compared with the same window of held-out phrases of
that length. Bits per step and per second are exact for causal models and the chain, and a bound for masked diffusion.
Models of events in steps of 64 ms, which describe the same notes, are compared as well; they draw no long pieces.
Prints tables and writes ``compositions.html`` and ``compositions.json`` into ``workdir``.
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
from experiments.reporting.tables import Table, tables_as_text
from experiments.tasks.sequences.metrics import bits_per_symbol
from experiments.tasks.sequences.sampling import open_run
from experiments.tasks.task import facts

_WORKDIR = shared.workdir("Folder of a run of experiments.train with a config of rolls.")
_STEP, _SEED = shared.step(), shared.seed()
_OTHERS = flags.DEFINE_list("others", [], "Further runs to compare, each with the config that it was trained with.")
_NUM = shared.count("num", 100, "Pieces of each model and of each half of the held-out phrases.", 10)
_LONG = flags.DEFINE_integer("long", 4, "Windows of a long piece; 0 for none.", 0, 64)
_CONTEXT = WINDOW // 2


def check(config: Config) -> None:
    """Validates a config: a model of drawn phrases given their keys, as voices or as events in the same steps."""
    if config.task == "sequence" and config.symbols.name == "events":
        require_field(config, "symbols.resolution", config.symbols.resolution == rolls.STEP, f"{rolls.STEP}")
    else:
        composing.check(config)
    require(config.data.name == "rolls", "data.name", config.data.name, "rolls, whose held-out phrases are drawn")
    require(config.data.label in (None, "key"), "data.label", config.data.label, "key")


def main(config: Config) -> Path:
    workdir, num, seed = shared.path(_WORKDIR), _NUM.value, _SEED.value
    check(config)
    with shared.named("others"):
        others = {Path(other).expanduser().absolute(): tasks.saved(other) for other in _OTHERS.value}
        for each in others.values():
            check(each)
    configs = {workdir: config, **others}
    shared.check_writable(workdir, f"--workdir={workdir}")
    steps = WINDOW * _LONG.value
    held_out = statistics.held_out
    (reference, keys), (half, _) = held_out(0, num), held_out(num, num)
    parts, long_parts, bits, summary = {"held-out phrases": half}, {}, [], {}
    long_reference, long_keys = held_out(2 * num, num, max(steps, WINDOW))
    if steps:
        long_parts["held-out phrases"] = held_out(3 * num, num, steps)[0]
    for i, (folder, its) in enumerate(configs.items()):
        scale = its.sampling.guidance_scale
        with shared.named("others" if i else "workdir"):
            run = open_run(its, folder, None if i else _STEP.value, (scale,))
        if not i:
            known = cast(Rolls, data.build(config))
            trained = np.stack([song.states for song in known.songs])
            parts["training phrases"] = statistics.windows_of(trained, -(-num // len(trained)))[:num]
            chain, summary = statistics.Chain(rolls.to_codes(statistics.windows_of(trained, 4))), facts(run)
            parts["Markov chain"] = chain.sample(num, WINDOW, seed)
            found = chain.bits(rolls.to_codes(known.test["x"]))
            bits.append(["Markov chain", "exact", found.mean(), found.std(ddof=1) / len(found) ** 0.5])
            bits[0] += [value / rolls.STEP for value in bits[0][2:]]
        name = folder.name if [other.name for other in configs].count(folder.name) == 1 else str(folder)
        print(f"drawing from {name} …", flush=True)
        if its.symbols.name == "events":
            parts[name] = run.generate(run.params, seed, keys, scale).astype(np.uint8)
        else:
            fill = composing.make_fill(its, run, scale)
            parts[name] = composing.compose(fill, composing.nothing(WINDOW), keys, seed, _CONTEXT)
            if steps:
                long_parts[name] = composing.compose(fill, composing.nothing(steps), long_keys, seed + 1, _CONTEXT)
        of_run = bits_per_symbol(its, run.model, cast(Symbols, run.dataset), run.params)
        of_step = [of_run.symbols / WINDOW * value for value in (of_run.total, of_run.error)]
        bits.append([name, of_run.kind, *of_step, *(value / rolls.STEP for value in of_step)])
    rows = {name: statistics.distances(part, reference) for name, part in parts.items()}
    drift = statistics.drift(long_parts, long_reference) if steps else {}
    about = "Of held-out windows; models are given their keys, the chain is not."
    header = ["", "kind", "bits per step", "standard error", "bits per second", "standard error per second"]
    tables = [Table(header, bits, about)]
    tables.append(statistics.table(rows, f"Distances of {num} windows each to {num} held-out phrases."))
    if drift:
        caption = f"The same of every window of pieces of {steps * rolls.STEP:.3f} s."
        tables.append(statistics.table(drift, caption))
    write_results(workdir / "compositions.json", {"bits": bits, "distances": rows, "long": drift})
    print(tables_as_text(tables))
    return write_report(
        workdir / "compositions.html", "scorekit: statistics of compositions", {**summary, "seed": seed}, tables
    )


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.saved(_WORKDIR.value), tasks.check_fields)
