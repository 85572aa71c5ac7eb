"""Small runs of every kind, trained at one commit, and what every program that opens them says of them.

    python tests/golden/runs/make.py train [run …]      # trains them again, into the folders here
    python tests/golden/runs/make.py record [run …]     # opens them and writes opened.json
    python tests/golden/runs/make.py compare [run …]    # opens them and compares: exit code, files and numbers
    python tests/golden/runs/make.py unpack             # only makes the scratch folder, for other commands in it

Programs run in a scratch folder (``--scratch``) that holds copies of the runs in ``runs/`` and the data in ``data/``:
phrases and notes are rendered there once, squares are drawn. Of a run ``config.json`` lies here, ``run.json`` with the
command that trained it, and ``run.tar.xz`` with all that programs read, without reports and pictures. ``opened.json``
holds the commands that open runs and what came of each: the exit code, the files that it wrote and numbers in them;
a command that is added with ``null`` is recorded by ``record``. Numbers are compared to 2 %, those of times not at all.
"""

import argparse
import fnmatch
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np

RUNS = Path(__file__).parent
ROOT = RUNS.parents[2]
OPENED = RUNS / "opened.json"
SQUARES = ("a red square", "a green square", "a blue square")

DROPPED = ("*.png", "*.html", "*.wav", "*.mid", "*.npz", "tensorboard", "samples", "phrases")
"""What a program writes for people, or makes again."""


# ---- the scratch folder ----------------------------------------------------------------------------------------------


def prepare(scratch):
    """The data that no program makes."""
    from PIL import Image
    from scipy.io import wavfile

    pictures = scratch / "data" / "squares" / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for i in range(24):
        x = np.zeros((16, 16, 3), np.uint8)
        x[4:12, 4:12, i % 3] = 100 + 5 * i
        Image.fromarray(x).save(pictures / f"{i:02}.png")
        (pictures / f"{i:02}.txt").write_text(SQUARES[i % 3])
    rng = np.random.default_rng(0)
    states, pooled = rng.normal(size=(3, 4, 6)), rng.normal(size=(3, 6))
    mask = np.array([[True] * 4, [True] * 3 + [False], [True] * 4])
    encoder = {"captions": np.array(SQUARES), "states": states, "mask": mask, "pooled": pooled}
    np.savez(scratch / "data" / "squares" / "encoder.npz", **encoder)
    wavfile.write(scratch / "data" / "tone.wav", 4000, (8000 * np.sin(np.arange(8000) * 0.7)).astype(np.int16))


def start(scratch, line):
    """Runs a command there: exit code, output, seconds."""
    arguments = [a.replace("=experiments/", f"={ROOT}/experiments/") for a in shlex.split(line)[1:]]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "SCOREKIT_CACHE": str(scratch / "compiled"),
    }
    begin = time.monotonic()
    done = subprocess.run([sys.executable, *arguments], cwd=scratch, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr, time.monotonic() - begin


def train(scratch, names):
    """Trains runs, and keeps of them what programs read."""
    for name in names:
        kept, found = RUNS / name, scratch / "runs" / name
        shutil.rmtree(found, ignore_errors=True)
        code, text, seconds = start(scratch, json.loads((kept / "run.json").read_text())["command"])
        print(f"{name}: exit code {code}, {seconds:.0f} s", flush=True)
        if code:
            print("\n".join(text.splitlines()[-8:]), flush=True)
            continue
        shutil.copy(found / "config.json", kept)
        with tarfile.open(kept / "run.tar.xz", "w:xz", preset=9) as archive:
            archive.add(found, name, filter=kept_of)


def kept_of(member):
    """A member of the archive without its owner and time, None for one that is dropped."""
    if "/" in member.name and any(fnmatch.fnmatch(Path(member.name).name, pattern) for pattern in DROPPED):
        return None
    return member.replace(mtime=0, uid=0, gid=0, uname="", gname="", deep=False)


def unpack(scratch):
    """Puts the runs into an empty folder ``runs``."""
    shutil.rmtree(scratch / "runs", ignore_errors=True)
    for path in sorted(RUNS.glob("*/run.tar.xz")):
        with tarfile.open(path) as archive:
            archive.extractall(scratch / "runs", filter="data")


# ---- what programs say -----------------------------------------------------------------------------------------------


def numbers(value):
    """What is kept of a file: the numbers of JSON, the shape, first values and mean of arrays."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiub":
            return [list(value.shape), str(value.dtype.kind)]
        flat = value.astype(np.float64).reshape(-1)
        return [list(value.shape), *(rounded(float(x)) for x in (*flat[:3], *([flat.mean()] if flat.size else ())))]
    if isinstance(value, dict):
        return {str(key): numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value[:8]]
    return rounded(value) if isinstance(value, float) else value


def rounded(x):
    return float(f"{x:.5g}") if math.isfinite(x) else str(x)


def written(scratch, since):
    """What files written since then hold, by path."""
    found = {}
    for path in sorted(scratch.glob("runs/**/*")) + sorted(scratch.glob("exported/**/*")):
        inner, left_out = path.relative_to(scratch), {"checkpoints", "snapshots", "tensorboard", "partial"}
        if not path.is_file() or path.stat().st_mtime < since or left_out & {*inner.parts}:
            continue
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                found[str(inner)] = {name: numbers(arrays[name]) for name in arrays.files}
        elif path.suffix == ".json" and not path.name.endswith("config.json"):
            found[str(inner)] = numbers(json.loads(path.read_text()))
        else:
            found[str(inner)] = None
    return found


def opened(scratch, lines):
    """The outcome of every command."""
    for line in lines:
        unpack(scratch)
        since = time.time() - 0.01
        code, text, seconds = start(scratch, line)
        outcome = {"exit": code, "seconds": round(seconds), "wrote": written(scratch, since)}
        if code:
            outcome["error"] = text.splitlines()[-1:]
        print(f"{code} {seconds:4.0f} s  {line}", *outcome.get("error", ()), flush=True)
        yield line, outcome


def differences(old, new, where=""):
    """Where two outcomes differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if key not in old or key not in new:
                yield f"{where}/{key}: {'new' if key not in old else 'missing'}"
            else:
                yield from differences(old[key], new[key], f"{where}/{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from differences(a, b, f"{where}[{i}]")
    elif isinstance(old, int | float) and isinstance(new, int | float):
        timed = any(word in where for word in ("second", "time", "ms", "speed", "factor"))
        if not timed and not math.isclose(old, new, rel_tol=0.02, abs_tol=1e-3):
            yield f"{where}: {old} -> {new}"
    elif old != new:
        yield f"{where}: {old} -> {new}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "record", "compare", "unpack"))
    parser.add_argument("names", nargs="*", help="runs, all by default")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "scorekit-golden-runs")
    given = parser.parse_intermixed_args()
    prepare(given.scratch)
    unpack(given.scratch)
    if given.what == "train":
        train(given.scratch, given.names or sorted(path.parent.name for path in RUNS.glob("*/run.json")))
        return
    before, same = json.loads(OPENED.read_text()), True
    of = lambda line: re.findall(r"=runs/(\w+)", line)[0]
    lines = [line for line in before if not given.names or any(fnmatch.fnmatch(of(line), n) for n in given.names)]
    for line, outcome in opened(given.scratch, lines) if given.what != "unpack" else ():
        found = list(differences({**(before[line] or {}), "seconds": 0}, {**outcome, "seconds": 0}))
        same = same and not found
        if given.what == "compare":
            print(*(f"  {difference}\n" for difference in found), sep="", end="", flush=True)
        else:
            before[line] = outcome
            entries = (f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in before.items())
            OPENED.write_text("{\n" + ",\n".join(entries) + "\n}\n")
    sys.exit(given.what == "compare" and not same)


if __name__ == "__main__":
    main()
