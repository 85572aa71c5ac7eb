"""Progress of a program for a person: a bar or plain lines; counts and times for reading."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import tqdm

from experiments.cli import distributed

_EVERY = 10.0
"""Seconds between plain lines."""
_BAR = "{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


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
    """A bar with ETA, loss and examples/s on a terminal; elsewhere a plain line every ten seconds.

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
        default = sys.stderr if distributed.is_first() else open(os.devnull, "w")  # noqa: SIM115
        self._stream = default if stream is None else stream
        self._total, self._batch_size, self._label, self._clock = total, batch_size, label, clock
        self._unit = unit
        self._shown_at, self._shown_step = clock(), first_step
        self._warm: tuple[float, int] | None = None  # when the first step, with its compilation, was done
        terminal = self._stream.isatty()
        self._every = 0.3 if terminal else _EVERY
        self._bar = None
        if terminal:
            columns, rows = shutil.get_terminal_size()  # 80 x 24 where the terminal does not know
            self._bar = tqdm.tqdm(
                total=total,
                initial=first_step,
                desc=label,
                file=self._stream,
                ncols=columns,
                nrows=rows,
                bar_format=_BAR,
            )

    def update(self, step: int, loss: Any = None) -> None:
        """Call after every step; ``step`` counts the steps that are done, ``loss`` is anything ``float`` takes."""
        now = self._clock()
        if self._warm is None:
            self._show_first(step, now, loss)
        elif now - self._shown_at >= self._every or step == self._total:
            self._show(step, now, loss)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _show_first(self, step: int, now: float, loss: Any) -> None:
        value = _loss(loss)  # waits for the step, so that the time includes it
        now = max(now, self._clock())
        waited = now - self._shown_at
        self._warm = self._shown_at, self._shown_step = now, step
        if self._bar is None:
            self._line(step, f"{value}first step after {duration(waited)}, compilation included")
        else:
            self._bar.update(step - self._bar.n)
            self._bar.unpause()  # the ETA leaves the compilation out

    def _show(self, step: int, now: float, loss: Any) -> None:
        assert self._warm is not None
        value = _loss(loss)
        now = max(now, self._clock())  # steps run behind those that were asked for: their time counts
        rate = (step - self._shown_step) / max(now - self._shown_at, 1e-9)
        self._shown_at, self._shown_step = now, step
        rate *= self._batch_size
        pace = f"{rate:,.0f} {self._unit}/s" if rate >= 10 else f"{rate:.2g} {self._unit}/s"
        if self._bar is not None:
            self._bar.set_postfix_str(f"{value}{pace}", refresh=False)
            self._bar.update(step - self._bar.n)
        else:
            start, first = self._warm
            left = (self._total - step) * (now - start) / max(step - first, 1)
            self._line(step, f"{value}{pace}" + (f", ETA {duration(left)}" if step < self._total else ""))

    def _line(self, step: int, facts: str) -> None:
        done = f"{self._label} {step:,}/{self._total:,} ({step / self._total:.0%})"
        print(f"{done}  {facts}", file=self._stream, flush=True)


def _loss(loss: Any) -> str:
    return "" if loss is None else f"loss {float(loss):.4g}, "
