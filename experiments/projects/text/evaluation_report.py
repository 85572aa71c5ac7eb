"""The table, the curves and the images of an evaluation of images from captions."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.projects.text.drawing import captioned
from experiments.projects.text.evaluation import IMAGES, NEAREST, SIMILARITY
from experiments.reporting.curves import Panel, curves, lines
from experiments.reporting.grids import grid
from experiments.reporting.report import Figure, Heading, Section
from experiments.reporting.tables import Cell, Table
from scorekit.io import read_arrays

Rows = Mapping[str, Mapping[str, Sequence[float]]]
_LABELS = {SIMILARITY: "cosine with right captions", NEAREST: "nearest training image, RMS"}


def name_of(kind: str, scale: float) -> str:
    """The name of a row: the kind of its captions, and the guidance scale."""
    return f"{kind}, γ = {scale:g}"


def file_of(folder: Path, kind: str, scale: float) -> Path:
    """The file of the images of a row that are kept."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    return folder / "images" / f"{kind.replace(' ', '_')}_{scale:g}.npz"


def table(rows: Rows, about: str) -> Table:
    """A row for every guidance scale, real images and chance; each value with its standard error."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    scale = lambda name: [float(x) for x in re.findall(r"γ = (.*)", name)]
    ordered = sorted(rows, key=lambda name: (name.startswith(("real", "chance")), name.split(", γ")[0], scale(name)))
    cells = [[row, *(_cell(rows[row].get(name)) for name in names)] for row in ordered]
    caption = (
        f"± is one standard error. {about} Nearest: root mean square difference, per value in [-1, 1], from the "
        "nearest training image. Precision, recall (k = 3), density, coverage (k = 5) and Fréchet distance compare "
        "the evaluator's embeddings with those of training images; their errors leave out a tenth of the images at "
        "a time."
    )
    return Table(["", *names], cells, caption)


def _cell(pair: Sequence[float] | None) -> Cell:
    if pair is None:
        return None
    value, error = pair
    if not error:
        return int(value) if value == int(value) and value > 1 else float(value)
    digits = max(0, 1 - int(np.floor(np.log10(error))))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def figures(folder: Path, rows: Rows, kinds: Sequence[str], scales: Sequence[float]) -> list[Section]:
    """Metrics over the guidance scale, the stages side by side at the best one, and each caption at every scale."""
    sections: list[Section] = []
    scales = sorted(scales)
    if len(scales) > 1:
        panels = []
        for metric in (name for name in rows[name_of(kinds[0], scales[0])] if name != IMAGES):
            pairs = {kind: np.transpose([rows[name_of(kind, scale)][metric] for scale in scales]) for kind in kinds}
            values, errors = ({kind: pair[i] for kind, pair in pairs.items()} for i in range(2))
            beside = {name: row[metric][0] for name, row in rows.items() if "γ" not in name and metric in row}
            label = _LABELS.get(metric, metric)
            panels.append(Panel(lines(scales, values, errors), "guidance scale γ", label, levels=beside))
        path = curves(folder / "over_scale.png", panels)
        sections.append(Figure(path, "Bars are one standard error. In grey real images and chance."))
    for kind in kinds:
        best = max(scales, key=lambda scale, kind=kind: rows[name_of(kind, scale)]["R@1"][0])
        drawn = {scale: read_arrays(file_of(folder, kind, scale)) for scale in scales}
        texts, file, last = drawn[best]["caption"].tolist(), kind.replace(" ", "_"), len(drawn[best]) - 2
        stages = [drawn[best][f"stage_{i}"] for i in range(last + 1)]
        path = captioned(folder / f"drawn_{file}.png", stages, texts, name_of(kind, best))
        sections.append(Figure(path, f"The stages side by side, at the highest R@1: {name_of(kind, best)}."))
        if len(scales) > 1:
            images = np.stack([each[f"stage_{last}"] for each in drawn.values()], axis=1)
            columns = [f"γ = {scale:g}" for scale in scales]
            path = grid(folder / f"scales_{file}.png", images, texts, columns, title=kind, side=84)
            sections.append(Figure(path, "Each caption at every guidance scale, from the same noise."))
    return [Heading("Figures"), *sections]
