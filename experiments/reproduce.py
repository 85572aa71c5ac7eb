"""Runs the commands of a published figure again, and compares what they find with what is published.

    python -m experiments.reproduce --list
    python -m experiments.reproduce digits
    python -m experiments.reproduce students --workdir=runs

``--list`` names the figures of ``experiments/figures.toml``, the CPU time of each with those whose commands run first,
and its page. Commands write below ``--workdir`` in place of ``runs/``; what they print is shown and kept in ``logs``
there. A command that has finished is not repeated, and one that was stopped goes on where it can. Prints a line for
each value: stored, found, tolerance, and whether they agree; the exit code is 1 if one does not.
"""

import difflib
import hashlib
import os
import re
import shlex
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen

from absl import flags
from ml_collections import ConfigDict

from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import ConfigError, to_text
from experiments.cli.endings import ProgramError
from experiments.reporting import figures
from experiments.reporting.tables import Table, show, tables_as_text
from scorekit.io import write_atomic

_FIGURE = flags.DEFINE_string("figure", None, "Name of the figure; the first argument may be the name alone.")
_LIST = flags.DEFINE_bool("list", False, "Name all figures.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/reproduce", "Folder in place of runs/ in the commands.")
ROOT = Path(__file__).parents[1]


def output_of(command: str, runs: Path) -> str:
    """The output of a command, which is run and shown unless it has finished before."""
    program = [re.sub(r"(?<![\w/.])runs/", lambda _: f"{runs}/", each) for each in shlex.split(command)]
    digest, command = hashlib.sha256(command.encode()).hexdigest()[:16], shlex.join(program)
    log, lines = runs / "logs" / f"{digest}.txt", [f"$ {command}\n"]
    if log.is_file():
        print(f"finished before, see {log}: {command}", flush=True)
        return log.read_text(errors="replace")
    print(lines[0], end="", flush=True)
    options = {"cwd": ROOT, "env": {**os.environ, "PYTHONUNBUFFERED": "1"}, "text": True, "errors": "replace"}
    with Popen([sys.executable, *program[1:]], stdout=PIPE, stderr=STDOUT, **options) as process:
        try:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                lines.append(line)
        except BaseException:  # this program is stopped
            process.terminate()
            raise
    if process.returncode:
        last = " | ".join(line.strip() for line in lines[-5:])
        raise ProgramError(f"exit code {process.returncode} of {command}; its last lines: {last}")
    write_atomic(log, "".join(lines))
    return log.read_text()


def compare(figure: figures.Figure, runs: Path, printed: str) -> Table:
    """A row for each value; the last column is whether it agrees, or why it is missing."""
    rows = []
    for name, value in figure.values.items():
        try:
            found = figures.read_value(value, runs, printed)
            verdict = "agrees" if value.agrees(found) else "does not agree"
        except LookupError as error:
            found, verdict = None, f"missing: {error.args[0]}"
        rows.append([name, str(value.value), show(found), str(value.tolerance), verdict])
    return Table(["", "stored", "found", "tolerance", ""], rows)


def main(_: ConfigDict) -> None:
    known, name = figures.load(figures.FILE), _FIGURE.value
    seconds = {each: 60 * sum(known[one].minutes for one in figures.chain(known, each)) for each in known}
    times = {each: progress.duration(total).removesuffix(" 00 s") for each, total in seconds.items()}
    if _LIST.value:
        rows = [[each, times[each], figure.page, figure.about] for each, figure in known.items()]
        return print(tables_as_text([Table(["figure", "time", "page", "about"], rows)]))
    if name not in known:
        near = difflib.get_close_matches(str(name), known) or known
        raise ConfigError(f"--figure={to_text(name)}: must be a published figure, such as {', '.join(near)}")
    runs = shared.path(_WORKDIR)
    shared.check_writable(runs / "logs", f"--workdir={_WORKDIR.value}")
    print(f"{name}: {known[name].about}, {times[name]} of CPU time", flush=True)
    commands = [command for each in figures.chain(known, name) for command in known[each].commands]
    table = compare(known[name], runs, [output_of(command, runs) for command in commands][-1])
    print(f"\n{tables_as_text([table])}", end="")
    if wrong := [str(row[0]) for row in table.rows if row[-1] != "agrees"]:
        raise ProgramError(f"{len(wrong)} of {len(table.rows)} values of {name} do not agree: {', '.join(wrong)}")


if __name__ == "__main__":
    first = [f"--figure={each}" for each in sys.argv[1:2] if not each.startswith("-")]
    command_line.run(main, ConfigDict, lambda _: None, [sys.argv[0], *(first or sys.argv[1:2]), *sys.argv[2:]])
