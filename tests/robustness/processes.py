"""Programs as processes: what their ends say, kills at random moments, a disk that is full."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from scorekit.training import restore_params

ROOT = Path(__file__).parents[2]
TRAIN = (
    "train",
    "--config=experiments/configs/images/smoke.py",
    "--config.training.steps=40",
    "--config.training.sample_every=1000",
    "--config.evaluation.num_samples=20",
)
"""A run of some seconds with a checkpoint every two steps."""
LIMIT = 600.0
"""Seconds that a program has to end."""


class Case(NamedTuple):
    """One case of an attack.

    Attributes:
      tried: what was tried.
      verdict: "clear", an error that names what is wrong; "documented", an answer that is documented; "obscure",
        another error or a traceback; "silent", an answer as if nothing were wrong.
      text: the words or the answer.
    """

    tried: str
    verdict: str
    text: str


def bad(cases: Iterable[Case]) -> list[Case]:
    """The cases that are silent or obscure."""
    return [case for case in cases if case.verdict not in ("clear", "documented")]


def start(program: str, *arguments: str, file_limit: int | None = None) -> subprocess.Popen:
    """A program, or lines of code, as a process; ``file_limit`` is the largest file in bytes that it may write."""
    command = [sys.executable, *(("-c", program) if "\n" in program else ("-m", f"experiments.{program}")), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if file_limit is not None:  # Python ignores SIGXFSZ: a write fails, as on a full disk
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file_limit, file_limit))
    return process


def verdict(process: subprocess.Popen, tried: str, words: Sequence[str]) -> Case:
    """Clear: a non-zero exit, no traceback, at most three lines that name one of the words."""
    try:
        _, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Case(tried, "obscure", f"no end in {LIMIT:g} s")
    lines = [line for line in err.splitlines() if line.strip() and not line.startswith(("warning:", "training "))]
    text = (lines or [f"exit {process.returncode}"])[-1][:200]
    if process.returncode == 0:
        return Case(tried, "silent", "exit 0")
    clear = "Traceback" not in err and len(lines) <= 3 and any(word in err for word in words)
    return Case(tried, "clear" if clear else "obscure", text)


def newest(workdir: Path) -> tuple[int, list[np.ndarray]]:
    """The step of the newest checkpoint and its parameters."""
    step, params = restore_params(workdir / "checkpoints")
    return step, [np.asarray(leaf) for leaf in jax.tree.leaves(params)]


def _equal(tried: str, workdir: Path, exact: tuple[int, list[np.ndarray]]) -> Case:
    """Whether a run that was disturbed ends as one that was not."""
    process = start(*TRAIN, f"--workdir={workdir}")
    _, err = process.communicate(timeout=600)
    if process.returncode != 0:
        return Case(tried, "obscure", f"does not continue: {err.splitlines()[-1][:150] if err else ''}")
    step, leaves = newest(workdir)
    same = step == exact[0] and all(np.array_equal(a, b) for a, b in zip(leaves, exact[1], strict=True))
    return Case(tried, "clear" if same else "silent", "ends bit-equal" if same else "ends with other numbers")


def kills(folder: Path, count: int, seed: int = 0) -> Iterator[Case]:
    """SIGKILL, SIGTERM and Ctrl-C at random moments; then the same command must end bit-equal."""
    chosen = random.Random(seed)
    began = time.monotonic()
    start(*TRAIN, f"--workdir={folder / 'exact'}").communicate(timeout=600)
    duration, exact = time.monotonic() - began, newest(folder / "exact")
    for i in range(count):
        workdir = folder / f"killed{i}"
        number = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[i % 3]
        after = chosen.uniform(0.1, 1.0) * duration
        process = start(*TRAIN, f"--workdir={workdir}")
        time.sleep(after)
        process.send_signal(number)
        _, err = process.communicate(timeout=600)
        tried = f"{number.name} after {after:.1f} s of {duration:.1f} s"
        if "Traceback" in err:
            yield Case(tried, "obscure", err.splitlines()[-1][:200])
        yield _equal(tried, workdir, exact)
        shutil.rmtree(workdir)


def full_disk(folder: Path) -> Iterator[Case]:
    """No file may grow beyond a limit; then there is room again, and the run must end bit-equal."""
    exact = newest(folder / "exact")
    for limit in (0, 1_000, 20_000, 60_000):
        workdir, tried = folder / f"full{limit}", f"files of at most {limit:,} bytes"
        process = start(*TRAIN, f"--workdir={workdir}", file_limit=limit)
        yield verdict(process, tried, ("space", "large", "write", "disk", os.strerror(27)))
        yield _equal(f"{tried}, then room", workdir, exact)
