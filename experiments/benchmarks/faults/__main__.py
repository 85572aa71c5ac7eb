"""Attacks on the whole project, as a careless and as a hostile user would: prints what came of every case.

    python -m experiments.benchmarks.faults
    python -m experiments.benchmarks.faults --parts=library,ranges,fuzz --fuzz=500

Parts: ``library`` (hostile arguments for every public function), ``ranges`` and ``fuzz`` (malformed configs, by the
range of every field and at random), ``damage`` (every file of a checkpoint, read by one process and by two), ``data``
(NaN in the data), ``commands`` (mistakes on the command line of every program), ``kills`` (signals at random moments),
``together`` (signals to one of two processes that train) and ``disk`` (no room to write).
Exit code 1 if a case is silent. All of it takes about an hour on two cores.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from absl import app, flags, logging

from experiments.benchmarks.faults import (
    broken_data,
    command_lines,
    configs,
    damage,
    library,
    processes,
    together,
)
from experiments.benchmarks.faults.calls import attacks, attempt
from experiments.benchmarks.faults.tally import Case, table

PARTS = ("library", "ranges", "fuzz", "damage", "data", "commands", "kills", "together", "disk")
_PARTS = flags.DEFINE_list("parts", list(PARTS), "which attacks")
_FUZZ = flags.DEFINE_integer("fuzz", 1000, "configs at random", lower_bound=0)
_KILLS = flags.DEFINE_integer("kills", 12, "signals at random moments", lower_bound=0)
_SEED = flags.DEFINE_integer("seed", 0, "of what is random")


def calls() -> Iterator[Case]:
    """Hostile arguments for every public function."""
    for name, row in library.tables()[0].items():
        for attack in attacks(row):
            outcome = attempt(row, attack)
            yield Case("library", f"{name} {attack.argument}: {attack.name}", outcome.verdict, outcome.text)


def damaged(folder: Path) -> Iterator[Case]:
    """A run of some seconds, whose checkpoints are then damaged; and checkpoints that two processes read."""
    workdir = folder / "run"
    processes.start(*processes.TRAIN, f"--workdir={workdir}").communicate(timeout=600)
    yield from damage.checkpoints(workdir, folder)
    yield from damage.checkpoints_of_two(folder / "two")


def main(_) -> None:
    logging.set_verbosity(logging.ERROR)
    unknown = set(_PARTS.value) - set(PARTS)
    if unknown:
        sys.exit(f"error: --parts={','.join(_PARTS.value)}: must be some of {','.join(PARTS)}")
    cases, seed = [], _SEED.value
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = {
            "library": calls,
            "ranges": configs.by_bound,
            "fuzz": lambda: configs.at_random(_FUZZ.value, seed),
            "damage": lambda: damaged(folder),
            "data": lambda: broken_data.broken_data(folder),
            "commands": lambda: command_lines.commands(folder),
            "kills": lambda: processes.kills(folder, _KILLS.value, seed),
            "together": lambda: together.signals(folder, _KILLS.value, seed),
            "disk": lambda: processes.full_disk(folder),
        }
        for part in (part for part in PARTS if part in _PARTS.value):
            began, before = time.monotonic(), len(cases)
            for case in run[part]():
                cases.append(case)
                if (len(cases) - before) % 50 == 0:
                    print(f"{part}: {len(cases) - before} cases, {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(table(cases))
    if any(case.verdict == "silent" for case in cases):
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
