"""Tables for a terminal, for a report and as JSON."""

import html
import numbers
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Cell = str | int | float | None


class Table(NamedTuple):
    """Rows under a header; numbers are aligned to the right, floats shown with four digits."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""

    def records(self) -> list[dict[str, Cell]]:
        """Each row by the names of its columns, as for JSON.

        >>> Table(["", "error"], [["before", 0.5]]).records()
        [{'': 'before', 'error': 0.5}]
        """
        return [dict(zip(self.header, row, strict=True)) for row in self.rows]


def metrics_table(rows: Mapping[str, Mapping[str, Cell]], caption: str = "") -> Table:
    """A column for every metric of any row."""
    columns = list(dict.fromkeys(name for metrics in rows.values() for name in metrics))
    return Table(["", *columns], [[row, *(metrics.get(c) for c in columns)] for row, metrics in rows.items()], caption)


def row_table(values: Mapping[str, Cell], caption: str = "") -> Table:
    """One row, with a column for each value."""
    return Table(list(values), [list(values.values())], caption)


def show(cell: Cell) -> str:
    """A cell as text: floats with four digits, whole numbers and large ones with thousands apart.

    >>> [show(x) for x in (0.98765, 1e-7, 12345, None, True, "a")]
    ['0.9877', '1e-07', '12,345', '–', 'yes', 'a']
    """
    match cell:
        case None:
            return "–"
        case bool():
            return "yes" if cell else "no"
        case numbers.Integral():
            return f"{cell:,}"
        case numbers.Real():
            return f"{cell:,.0f}" if 1e4 <= abs(cell) < 1e12 else f"{cell:.4g}"
    return str(cell)


def tables_as_text(tables: Sequence[Table]) -> str:
    """Tables for a terminal, without their captions.

    >>> print(tables_as_text([Table(["model", "accuracy"], [["small", 0.5]])]))
    model  accuracy
    small  0.5
    <BLANKLINE>
    """
    lines = []
    for table in tables:
        cells = [[str(name) for name in table.header], *([show(cell) for cell in row] for row in table.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        lines.append("")
    return "\n".join(lines)


def table_as_html(table: Table) -> str:
    """The element ``table``, all text escaped."""
    for row in table.rows:
        if len(row) != len(table.header):
            raise ValueError(f"every row must have {len(table.header)} cells as the header has, got {list(row)}")
    columns = [[row[i] for row in table.rows if row[i] is not None] for i in range(len(table.header))]
    kinds = [' class="number"' if cells and all(map(_is_number, cells)) else "" for cells in columns]

    def line(tag: str, cells: Sequence[Cell]) -> str:
        marked = zip(kinds, cells, strict=True)
        return "<tr>" + "".join(f"<{tag}{kind}>{_as_html(x)}</{tag}>" for kind, x in marked) + "</tr>"

    lines = "\n".join(line("td", row) for row in table.rows)
    return f"<table><thead>{line('th', table.header)}</thead><tbody>{lines}</tbody></table>"


def _as_html(cell: Cell) -> str:
    """A cell escaped; a line is not broken at ± and =."""
    return re.sub(" ([±=]) ", "\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", html.escape(show(cell)))


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, numbers.Real) and not isinstance(cell, bool)
