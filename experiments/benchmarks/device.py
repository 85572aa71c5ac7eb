"""Measures the devices at hand: speeds, attention, and every large recipe beside the bounds of its programs.

    python -m experiments.benchmarks.device --out=runs/h100            # 40 minutes; the same command goes on
    python -m experiments.benchmarks.device --out=runs/h100 --list
    python -m experiments.benchmarks.device --configs=experiments/configs/images/digits.py

Needs no data. Each step is a process of at most ten minutes, whose rows stay in ``--out``: a finished step is not
repeated, a failed one is tried again after the others. ``table.md`` there has all rows in Markdown. A batch that does
not fit is halved until it does, and its row says so. Of samplers, the time of one evaluation of the network is
measured, in at most ten steps; examples a second are for all steps of the config.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from absl import flags

from experiments.benchmarks.cost import at_hand
from experiments.benchmarks.options import LARGE, PUBLISHED, chosen
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.progress import duration
from scorekit.io import write_atomic

LONGEST = 600.0
"""Seconds after which a step is ended."""
HEADERS = {
    "speeds": ["", "measured", "published"],
    "attention": ["batch × tokens × heads × features", "implementation", "forward and backward", "of the peak"],
    "recipe": [
        "config",
        "program",
        "batch",
        "step or evaluation",
        "bound",
        "of the bound",
        "examples a second",
        "memory, planned",
        "in use at most",
    ],
}

_OUT = shared.out("Folder of rows and table, one for each machine.", "runs/device")
_CONFIGS = flags.DEFINE_list("configs", [*PUBLISHED, *LARGE], "Config files to measure.")
_MINUTES = flags.DEFINE_float("minutes", 40.0, "Time after which no step starts; the next call goes on.", 0.0)
_LIST = flags.DEFINE_bool("list", False, "Print the steps with their minutes, and whether they are done.")
_STEP = flags.DEFINE_string("step", None, "One step alone, in this process.")


def known(path: Path) -> dict[str, Any]:
    """What the file of a step holds."""
    return json.loads(path.read_text()) if path.exists() else {"rows": [], "done": False, "error": "", "device": ""}


def write(path: Path, **changes: Any) -> None:
    """Changes what the file of a step holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({**known(path), **changes}).encode())


def measure(step: str, source: str, path: Path) -> None:
    """Measures a step; each row is written when it is there."""
    rows: list[list[str]] = []
    write(path, rows=rows, device=at_hand.described())
    of = {"speeds": at_hand.speeds, "attention": at_hand.attention}
    for row in of[step]() if step in of else at_hand.recipe(command_line.load_config(source), step):
        rows.append(row)
        write(path, rows=rows)
    write(path, done=True, error="")


def attempt(step: str, folder: Path, seconds: float) -> str:
    """Measures a step in a process of its own; the error, empty where there is none."""
    command = [sys.executable, "-m", "experiments.benchmarks.device", f"--out={folder}", f"--step={step}"]
    command.append(f"--configs={','.join(_CONFIGS.value)}")
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"ended after {duration(seconds)}"
    lines = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
    return lines[-1].replace("|", "/") if ended.returncode else ""


def table(files: dict[str, Path]) -> str:
    """All rows in Markdown; a step that failed has a row with its error."""
    found = {step: known(path) for step, path in files.items()}
    parts = [", ".join(sorted({each["device"] for each in found.values()} - {""}))]
    for name, header in HEADERS.items():
        rows = [header, ["---"] * len(header)]
        for step, each in found.items():
            if name == (step if step in HEADERS else "recipe"):
                rows += [*each["rows"], *([[step, each["error"]]] if each["error"] else [])]
        parts.append("\n".join(f"| {' | '.join([*row, *[''] * (len(header) - len(row))])} |" for row in rows))
    return "\n\n".join(parts) + "\n"


def main(_) -> Path | None:
    sources = {"speeds": "", "attention": ""}
    sources |= {f"{Path(path).parent.name}/{Path(path).stem}": path for path in _CONFIGS.value}
    minutes = {step: 2.0 if source else 1.0 for step, source in sources.items()}
    out = shared.results_folder(_OUT, kind="measurements of a device", continues=True)
    files = {step: out / f"{step}.json" for step in sources}
    if _LIST.value:
        for step, path in files.items():
            print(f"{step:40}{minutes[step]:6.0f} min{'  done' if known(path)['done'] else ''}")
        print(f"{'':40}{sum(minutes.values()):6.0f} min")
        return None
    if _STEP.value is not None:
        (step,) = chosen("step", [_STEP.value], sources)
        return measure(step, sources[step], files[step])
    end, left = time.monotonic() + 60 * _MINUTES.value, [step for step in files if not known(files[step])["done"]]
    for step in sorted(left, key=lambda step: bool(known(files[step])["error"])):
        begin = time.monotonic()
        if end - begin < 60 * minutes[step]:
            print(f"{step}: left for the next call", flush=True)
            continue
        if error := attempt(step, out, min(LONGEST, end - begin)):
            write(files[step], error=error)
        write_atomic(out / "table.md", table(files).encode())
        print(f"{step}: {error or 'done'}, {duration(time.monotonic() - begin)}", flush=True)
    print(table(files))
    return out / "table.md"


if __name__ == "__main__":
    command_line.run(main)
