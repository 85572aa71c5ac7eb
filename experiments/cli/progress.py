"""Progress of a program for a person, in lines; counts and times for reading."""

import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from experiments.cli import distributed

_EVERY, _SOON = 10.0, 20
"""Seconds between lines, and steps after which the time that is left is shown even if these are not over."""


def human(number: float) -> str:
    """A count for reading.

    >>> [human(n) for n in (950, 312_400, 1_250_000, 3.2e9)]
    ['950', '312 k', '1.25 M', '3.2 G']
    """
    for size, unit in ((1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def duration(seconds: float) -> str:
    """A time for reading.

    >>> [duration(s) for s in (0.25, 8, 95, 7500)]
    ['0.2 s', '8 s', '1 min 35 s', '2 h 05 min']
    """
    if seconds < 5:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """A line every ten seconds, and after twenty steps, with the loss, examples/s and ETA.

    The loss is turned into a float only when it is shown, so that steps are not waited for.

    Args:
      total, first_step: the steps at which the work ends and starts.
      batch_size: examples in a step.
      label: the name of the work.
      unit: the name of an example.
      stream: destination of the lines.
      clock: seconds, monotonic.
    """

    def __init__(
        self,
        total: int,
        *,
        batch_size: int,
        first_step: int = 0,
        label: str = "training",
        unit: str = "examples",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        nowhere = None if distributed.is_first() else open(os.devnull, "w")  # noqa: SIM115
        self._stream = stream or nowhere or sys.stderr
        self._total, self._batch_size, self._label, self._clock = total, batch_size, label, clock
        self._unit, self._first_step = unit, first_step
        self._shown_at, self._shown_step = clock(), first_step
        self._warm: tuple[float, int] | None = None  # when the first step, with its compilation, was done

    def update(self, step: int, loss: Any = None) -> None:
        """Call after every step; ``step`` counts the steps that are done, ``loss`` is anything ``float`` takes."""
        now, first = self._clock(), self._warm is None
        soon = self._warm is not None and self._shown_step == self._warm[1] and step - self._first_step >= _SOON
        if not (first or soon) and step != self._total and now - self._shown_at < _EVERY:
            return
        facts = "" if loss is None else f"loss {float(loss):.4g}, "  # waits for steps that run: their time counts
        now = max(now, self._clock())
        seconds, steps = now - self._shown_at, step - self._shown_step
        self._warm, self._shown_at, self._shown_step = self._warm or (now, step), now, step
        if first:
            facts += f"first step after {duration(seconds)}, compilation included"
        else:
            rate = self._batch_size * steps / max(seconds, 1e-9)
            facts += f"{rate:,.0f} {self._unit}/s" if rate >= 10 else f"{rate:.2g} {self._unit}/s"
        if not first and step < self._total:
            start, done = self._warm
            facts += f", ETA {duration((self._total - step) * (now - start) / max(step - done, 1))}"
        print(
            f"{self._label} {step:,}/{self._total:,} ({step / self._total:.0%})  {facts}", file=self._stream, flush=True
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None: ...
