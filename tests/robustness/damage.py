"""Damage to every file of a checkpoint: no damaged value is ever used."""

import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from robustness import together
from robustness.processes import Case

from scorekit.training import restore_params


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 1] = bytes([content[len(content) // 2] ^ 0xFF]) if content else b""
    path.write_bytes(bytes(content))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


WAYS: dict[str, Callable[[Path], None]] = {
    "removed": Path.unlink,
    "empty": lambda path: path.open("w").close(),
    "half": _truncate,
    "one byte flipped": _flip,
    "a folder": _folder,
}


def checkpoints(workdir: Path, folder: Path) -> Iterator[Case]:
    """Every file of the newest checkpoint of the run in ``workdir``, damaged in every way, one at a time.

    Reading must give the exact parameters, of this step or with a warning of the one before, or say what is damaged.
    """
    steps = sorted((p for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    truth = {int(p.name): _read(workdir / "checkpoints", int(p.name)) for p in steps}
    files = sorted(p.relative_to(steps[-1]) for p in steps[-1].rglob("*") if p.is_file())
    for file in files:
        for way, damage in WAYS.items():
            for alone in (True, False):
                copy = folder / "damaged"
                shutil.rmtree(copy, ignore_errors=True)
                copy.mkdir(parents=True)
                for step in steps[-1:] if alone else steps:
                    shutil.copytree(step, copy / step.name)
                damage(copy / steps[-1].name / file)
                others = "alone" if alone else f"with {len(steps) - 1} earlier"
                yield _verdict(f"{file} {way}, {others}", copy, truth)


FAILED, OTHER = -1, -2
"""In place of the step that a process has restored: an error, and other values than those that were saved."""


def checkpoints_of_two(folder: Path, ways: Sequence[str] = tuple(WAYS)) -> Iterator[Case]:
    """The same with two processes that read the checkpoints which they have written into ``folder``."""
    arguments = [f"--folder={folder}", f"--ways={','.join(ways)}"]
    started = together.start("robustness.damage_together", *arguments, devices=1)
    codes, (printed, _), errors = together.end(started)
    for line in printed.splitlines():
        yield Case(*json.loads(line))
    if any(codes):
        last = [err.splitlines()[-1][:200] for err in errors if err]
        yield Case("two processes", "obscure", f"exit codes {codes} {last}")


def verdict_of_two(steps: Sequence[int], named: bool) -> str:
    """Of the steps 1 and 2 that each process has restored, 2 being the damaged one.

    >>> verdict_of_two([1, 1], named=True), verdict_of_two([1, 2], named=True)
    ('clear', 'silent')
    """
    if OTHER in steps or len(set(steps)) > 1:
        return "silent"
    if steps[0] == 2:
        return "documented"
    return "clear" if named else "obscure" if steps[0] == FAILED else "silent"


def _read(directory: Path, step: int | None = None) -> tuple[int, list[np.ndarray]]:
    found, params = restore_params(directory, step=step)
    return found, [np.asarray(leaf) for leaf in jax.tree.leaves(params)]


def _verdict(tried: str, directory: Path, truth: dict[int, tuple[int, list[np.ndarray]]]) -> Case:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            step, leaves = _read(directory)
        except (ValueError, FileNotFoundError) as error:
            named = str(directory) in str(error)
            return Case(tried, "clear" if named else "obscure", str(error).split("\n")[0][:200])
        except Exception as error:
            return Case(tried, "obscure", f"{type(error).__name__}: {error}"[:200])
    exact = truth[step][1]
    if len(leaves) != len(exact) or not all(np.array_equal(a, b) for a, b in zip(leaves, exact, strict=True)):
        return Case(tried, "silent", f"other values at step {step}")
    if step == max(truth):
        return Case(tried, "documented", "the file is not needed: the values are exact")
    warned = any(str(directory) in str(warning.message) for warning in said)
    return Case(tried, "clear" if warned else "silent", f"step {step}, {'with' if warned else 'no'} warning")
