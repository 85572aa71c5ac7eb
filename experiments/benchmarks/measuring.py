"""Timing of programs in alternation and of imports."""

import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax


class Timing(NamedTuple):
    """Medians over repetitions: the ratio within one, and the seconds of each side; and the ratio of the minima."""

    ratio: float
    ours: float
    theirs: float
    minima: float

    @property
    def shown(self) -> str:
        """The median ratio, and the ratio of the minima."""
        return f"{self.ratio:6.3f} ({self.minima:.3f})"


def rounds(
    calls: Mapping[Any, Callable[[], Any]], turns: int, clock: Callable[[], float] = time.perf_counter
) -> dict[Any, list[float]]:
    """Seconds of each call, of which every round makes one, in alternating order: a busy machine slows all alike.

    ``clock=time.process_time`` counts the time of all cores and leaves out other programs.
    """
    seconds: dict[Any, list[float]] = {name: [] for name in calls}
    for turn in range(turns):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            start = clock()
            jax.block_until_ready(calls[name]())
            seconds[name].append(clock() - start)
    return seconds


def in_turns(
    ours: Callable[[], Any], theirs: Callable[[], Any], turns: int, clock: Callable[[], float] = time.perf_counter
) -> Timing:
    """Two programs in :func:`rounds`."""
    mine, other = rounds({"ours": ours, "theirs": theirs}, turns, clock).values()
    ratio, median = [a / b for a, b in zip(mine, other, strict=True)], statistics.median
    return Timing(median(ratio), median(mine), median(other), min(mine) / min(other))


def import_seconds(turns: int) -> tuple[float, float]:
    """The seconds that ``import scorekit`` adds to ``import jax``, and the seconds of ``import jax`` (medians)."""
    code = (
        "import time; a = time.perf_counter(); import jax, jax.numpy; b = time.perf_counter(); import scorekit; "
        "c = time.perf_counter(); print(c - b, b - a)"
    )
    ask = functools.partial(subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True)
    added, alone = zip(*(map(float, ask().stdout.split()) for _ in range(turns)), strict=True)
    return statistics.median(added), statistics.median(alone)
