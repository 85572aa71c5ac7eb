"""What came of the cases of an attack, and the table of it."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

VERDICTS = ("clear", "documented", "obscure", "silent")
"""An error that names what is wrong; an answer that is documented; another error, or a traceback; nothing."""


class Case(NamedTuple):
    """One case: which part, what was tried, its verdict, and the words or the answer."""

    part: str
    tried: str
    verdict: str
    text: str


def table(cases: Sequence[Case]) -> str:
    """The number of cases by part and verdict, and every obscure or silent one.

    >>> print(table([Case("library", "metrics.auroc in_scores=nan", "silent", "1.0")]))
    part            tried   clear documented  obscure   silent
    library             1       0          0        0        1
    all                 1       0          0        0        1
    clear or documented: 0.0 %
    silent   library: metrics.auroc in_scores=nan -> 1.0
    """
    lines = [f"{'part':12}{'tried':>9}{'clear':>8}{'documented':>11}{'obscure':>9}{'silent':>9}"]
    parts = list(dict.fromkeys(case.part for case in cases))
    for part in [*parts, "all"]:
        found = Counter(case.verdict for case in cases if part in (case.part, "all"))
        clear, documented, obscure, silent = (found[verdict] for verdict in VERDICTS)
        lines.append(f"{part:12}{found.total():9}{clear:8}{documented:11}{obscure:9}{silent:9}")
    good = sum(case.verdict in ("clear", "documented") for case in cases)
    lines.append(f"clear or documented: {100 * good / max(len(cases), 1):.1f} %")
    bad = [case for case in cases if case.verdict in ("obscure", "silent")]
    lines += [f"{case.verdict:8} {case.part}: {case.tried} -> {case.text}" for case in bad]
    return "\n".join(lines)
