"""The table, the curves and the pictures of an evaluation of pictures from captions."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.projects.text.cells import Cell, kept
from experiments.projects.text.drawn import captioned
from experiments.projects.text.measures import FRECHET, NEAREST, PICTURES, SECONDS, SIMILARITY
from experiments.reporting.curves import Line, Panel, curves, lines
from experiments.reporting.grids import grid
from experiments.reporting.report import Figure, Heading, Section
from experiments.reporting.tables import Table

Rows = Mapping[str, Mapping[str, Sequence[float]]]
_ABOUT = {SIMILARITY: "cosine with right captions", NEAREST: "nearest training picture, RMS"}


def table(rows: Rows, features: str, about: str) -> Table:
    """A row for every setting, real images and chance; each value with its standard error.

    ``features`` names the compared features, ``about`` describes the gallery.
    """
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [[row, *(_cell(rows[row].get(name)) for name in names)] for row in _by_curve(rows)]
    caption = (
        f"± is one standard error. {about} Nearest: root mean square difference, per value in [-1, 1], from the "
        "nearest training picture. Precision, recall (k = 3), density, coverage (k = 5) and Fréchet distance compare "
        f"{features} with those of training pictures; their errors leave out a tenth of the pictures at a time. "
        "Seconds are those of the batches after the first."
    )
    return Table(["", *names], cells, caption)


def _by_curve(names: Iterable[str]) -> list[str]:
    """Names of rows, curve by curve from the smallest γ on, also if they were added later."""
    split = {name: name.partition(", γ = ") for name in names}
    curves = list(dict.fromkeys(curve for curve, _, _ in split.values()))
    return sorted(split, key=lambda name: (curves.index(split[name][0]), float(split[name][2] or 0)))


def _cell(pair: Sequence[float] | None) -> Any:
    if pair is None:
        return None
    value, error = pair
    if not error:
        return int(value) if value == int(value) and value > 1 else float(value)
    digits = max(0, 1 - int(np.floor(np.log10(error))))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def curve_sections(folder: Path, cells: Sequence[Cell], rows: Rows) -> list[Section]:
    """Metrics over γ and over the noise on the smaller copy, and closeness to the captions against the distance."""
    sections: list[Section] = []
    axes = ("scale", "guidance scale γ", "over_scale"), ("noise", "level of noise on the smaller copy", "over_noise")
    for field, label, name in axes:
        xs = sorted({getattr(cell, field) for cell in cells} - {None})
        if len(xs) < 2:
            continue
        path = curves(folder / f"{name}.png", _panels(cells, rows, field, xs, label))
        sections.append(Figure(path, f"By {label}; bars are one standard error. In grey real pictures and chance."))
    found = _trade_offs(cells, rows)
    if found:
        panel = Panel(found, _agreement(rows), f"{FRECHET} from training pictures")
        path = curves(folder / "trade_off.png", [panel])
        sections.append(Figure(path, "The trade-off of guidance: points are guidance scales γ."))
    return [Heading("Curves"), *sections] if sections else []


def best_of(cells: Sequence[Cell], rows: Rows) -> Cell:
    """The setting whose pictures agree most often with their captions."""
    return max(cells, key=lambda cell: rows[cell.name][_agreement(rows)][0])


def _agreement(rows: Rows) -> str:
    return next(name for name in next(iter(rows.values())) if "1" in name)


def _panels(cells: Sequence[Cell], rows: Rows, field: str, xs: Sequence[float], xlabel: str) -> list[Panel]:
    """A panel for each metric: its curves over one field with errors, and its value of real pictures and of chance."""
    rest = lambda cell: cell.curve if field == "scale" else cell._replace(noise=None).name
    metrics = [name for name in rows[cells[0].name] if name not in (PICTURES, SECONDS)]
    alongside = {name: row for name, row in rows.items() if name.startswith(("real", "chance"))}
    panels = []
    for metric in metrics:
        values, errors = {}, {}
        for name, group in itertools.groupby(sorted(cells, key=rest), key=rest):
            found = {getattr(cell, field): rows[cell.name][metric] for cell in group}
            values[name], errors[name] = np.transpose([found.get(x, (np.nan, np.nan))[:2] for x in xs])
        levels = {name: row[metric][0] for name, row in alongside.items() if metric in row}
        panels.append(Panel(lines(xs, values, errors), xlabel, _ABOUT.get(metric, metric), levels=levels))
    return panels


def _trade_offs(cells: Sequence[Cell], rows: Rows) -> dict[str, Line]:
    found = {}
    ordered = sorted(cells, key=lambda cell: (cell.curve, cell.scale))
    for name, group in itertools.groupby(ordered, key=lambda cell: cell.curve):
        some = list(group)
        if len(some) > 1:
            x, y = ([rows[cell.name][metric][0] for cell in some] for metric in (_agreement(rows), FRECHET))
            found[name] = Line(x, y, texts=[f"γ = {cell.scale:g}" for cell in some])
    return found


def picture_sections(folder: Path, pictures: Path, cells: Sequence[Cell], rows: Rows) -> list[Section]:
    """The pictures of the best setting, its stages side by side, and each caption at every γ."""
    sections: list[Section] = []
    for kind in dict.fromkeys(cell.kind for cell in cells):
        own = [cell for cell in cells if cell.kind == kind]
        best = best_of(own, rows)
        stages, texts = kept(best.file(pictures))
        name = kind.replace(" ", "_")
        path = captioned(folder / f"drawn_{name}.png", stages, texts, best.name)
        shown = "The stages side by side" if len(stages) > 1 else "Pictures"
        sections.append(Figure(path, f"{shown}, at the setting of the highest {_agreement(rows)}: {best.name}."))
        row = [cell for cell in own if cell.curve == best.curve]
        if len(row) > 1:
            images = np.stack([kept(cell.file(pictures))[0][-1] for cell in row], axis=1)
            columns = [f"γ = {cell.scale:g}" for cell in row]
            path = grid(folder / f"scales_{name}.png", images, texts, columns, title=best.curve, side=84)
            sections.append(Figure(path, "Each caption at every guidance scale, from the same noise."))
    return [Heading("Pictures"), *sections]


def style_section(folder: Path, pictures: Path, styles: Sequence[str], cell: Cell) -> Section:
    """Captions in every style, at one setting."""
    drawn, captions = kept(pictures)
    images = np.stack([*drawn], axis=1)
    path = grid(folder / "styles.png", images, captions, styles, title=cell.name, side=84)
    return Figure(path, f"Each caption with the words of every style: {cell.name}.")
