"""Results of checks, and their table in a terminal and in HTML.

>>> found: Check = compared("order", 2.02, 0.05, 3.0, tolerance=0.3, text="order {measured} where 3 is claimed")
>>> found.status, found.text
('fail', 'order 2.02 ± 0.05 where 3 is claimed')
>>> report = Report("a sampler", [found._replace(subject="3M")])
>>> len(report.failed), report.html().count("<tr")
(1, 2)
>>> report.save(os.devnull)
>>> print(report)
a sampler: 1 of 1 checks failed
<BLANKLINE>
fail  3M  order  order 2.02 ± 0.05 where 3 is claimed
"""

import html
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

_ERRORS = 3.0
"""A deviation within the tolerance and this many standard errors passes."""
_RESULTS = 1000
"""Largest number of results of a subject."""


class Check(NamedTuple):
    """The result of one check.

    Attributes:
      name: name of the check.
      status: whether it passed; "n/a" if it was not applicable.
      text: a sentence on what was found.
      measured: measured value, or None.
      error: standard error of it, or None.
      expected: value that would be right, or None.
      subject: name of the schedule, loss, sampler, ... that was checked.
    """

    name: str
    status: Literal["pass", "fail", "n/a"]
    text: str
    measured: float | None = None
    error: float | None = None
    expected: float | None = None
    subject: str = ""


class Subject(Protocol):
    """What can be checked: a schedule, a loss, a sampler, ..., as callables."""

    def checks(self) -> Iterator[Check]:
        """The results, in order."""
        ...


def compared(
    name: str,
    measured: float,
    error: float = 0.0,
    expected: float = 0.0,
    *,
    tolerance: float,
    text: str,
    at_least: bool = False,
    largest_error: float = math.inf,
) -> Check:
    """A check that passes if ``|measured - expected| <= tolerance + 3 error`` and ``error <= largest_error``.

    Args:
      name: name of the check.
      measured: measured value; fails if it is not finite.
      error: standard error of it.
      expected: right value.
      tolerance: largest deviation that passes if ``error`` is 0.
      text: sentence, in which ``{measured}`` stands for the value and its error.
      at_least: whether larger values pass as well.
      largest_error: largest ``error`` that passes, for an error that is estimated from the subject's own results.

    Returns:
      The result.
    """
    off = (expected - measured) if at_least else abs(measured - expected)
    known = math.isfinite(error) and error <= largest_error
    passes = math.isfinite(measured) and known and off <= tolerance + _ERRORS * error
    number = f"{measured:.4g}" + (f" ± {error:.1g}" if error else "")
    text += "" if known else f"; its error must be at most {largest_error:.1g}"
    return Check(name, "pass" if passes else "fail", text.format(measured=number), measured, error, expected)


def not_applicable(name: str, text: str) -> Check:
    """A check that could not be made.

    Args:
      name: name of the check.
      text: the reason.

    Returns:
      The result.

    >>> not_applicable("weighting", "no weight is declared").status
    'n/a'
    """
    return Check(name, "n/a", text)


class Report(NamedTuple):
    """All results; printed, it is a table.

    Attributes:
      title: title of the table.
      checks: the results.
    """

    title: str
    checks: Sequence[Check]

    @property
    def failed(self) -> list[Check]:
        """The checks that failed."""
        return [each for each in self.checks if each.status == "fail"]

    def __str__(self) -> str:
        rows = [(each.status, each.subject, each.name) for each in self.checks]
        widths = [max(map(len, column), default=0) for column in zip(*rows, strict=True)]
        lines = [f"{self.title}: {len(self.failed)} of {len(self.checks)} checks failed", ""]
        for row, each in zip(rows, self.checks, strict=True):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append("  ".join([*cells, each.text]))
        return "\n".join(lines)

    def html(self) -> str:
        """One page without scripts or links.

        Returns:
          The page as text.
        """
        cells = lambda each: (each.status, each.subject, each.name, each.text)
        rows = "\n".join(
            f'<tr class="{each.status[0]}">'
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells(each))
            + "</tr>"
            for each in self.checks
        )
        count = f"{len(self.failed)} of {len(self.checks)} checks failed"
        return _PAGE.format(title=html.escape(self.title), count=count, rows=rows)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes :meth:`html` to a file.

        Args:
          path: path of the file.
        """
        Path(path).write_text(self.html(), encoding="utf-8")


def check(title: str, subjects: Mapping[str, Subject]) -> Report:
    """Runs the checks of all subjects; an error that one raises is a failed check.

    Args:
      title: title of the report: package and version.
      subjects: what to check, by name; at least one, each with at most 1000 results.

    Returns:
      The report.

    >>> from scorekit.conformance import Schedule
    >>> flow = Schedule(alpha=lambda t: 1 - t, sigma=lambda t: t, kind="flow")
    >>> print(str(check("mine", {"flow": flow})).splitlines()[0])
    mine: 0 of 7 checks failed
    """
    if not subjects:
        raise ValueError("subjects must hold at least one subject, got none")
    found: list[Check] = []
    for name, subject in subjects.items():
        count = 0
        try:
            for count, each in enumerate(subject.checks(), 1):
                if count > _RESULTS:
                    raise ValueError(f"checks must end after at most {_RESULTS} results")
                found.append(each._replace(subject=name))
            if not count:
                raise ValueError("checks must give at least one result, got none")
        except Exception as error:
            text = f"raises {type(error).__name__}: {error}; the checks after it did not run"
            found.append(Check("runs", "fail", text, subject=name))
    return Report(title, tuple(found))


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884 }}
body {{ font: 16px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line) }}
td:nth-child(1) {{ font-weight: 600 }}
.p td:nth-child(1) {{ color: light-dark(#17692f, #6fd08c) }}
 .f td:nth-child(1) {{ color: light-dark(#b3261e, #ff8a80) }}
 .n td {{ opacity: .65 }}
@media (max-width: 640px) {{
  thead {{ display: none }} tr {{ display: block; padding: .5rem 0; border-bottom: 1px solid var(--line) }}
  td {{ display: inline; border: 0; padding: 0 .6rem 0 0 }} td:nth-child(4) {{ display: block }}
}}
</style>
<h1>{title}</h1>
<p>{count}.</p>
<table><thead><tr><th></th><th>of</th><th>check</th><th>found</th></tr></thead>
<tbody>
{rows}
</tbody></table>
</html>
"""
