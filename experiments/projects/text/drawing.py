"""Images of the stages of a cascade side by side, and the files in which drawn images are written."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.cli.config import Config
from experiments.cli.outputs import write_arrays
from experiments.projects.text.stages import Stage
from experiments.reporting.grids import grid, in_rows
from experiments.reporting.report import ConfigSection, Figure, credits, write_report
from experiments.reporting.tables import Cell, Table


def side_by_side(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images ``(H, W, C)`` of several resolutions as one, of the largest height, with white gaps, which are NaN.

    >>> side_by_side([np.array([[[-1.0], [1.0]]]), np.zeros((2, 2, 3))])[..., 0]
    array([[-1., -1.,  1.,  1., nan,  0.,  0.],
           [-1., -1.,  1.,  1., nan,  0.,  0.]])
    """
    high, parts = max(len(image) for image in images), list[np.ndarray]()
    for image in images:
        wide = round(image.shape[1] * high / len(image))
        enlarged = image[np.arange(high) * len(image) // high][:, np.arange(wide) * image.shape[1] // wide]
        parts += [np.full((high, max(1, high // 24), 3), np.nan), np.broadcast_to(enlarged, (high, wide, 3))]
    return np.concatenate(parts[1:], axis=1)


def captioned(path: str | Path, stages: Sequence[np.ndarray], captions: Sequence[str], title: str) -> Path:
    """An image of N captions, the images ``(N, H, W, C)`` of each stage side by side above them."""
    columns = min(len(captions), max(1, round(math.sqrt(1.3 * len(captions) / len(stages)))))
    cells = in_rows([side_by_side(images) for images in zip(*stages, strict=True)], columns)
    return grid(path, cells, captions=captions, title=title, side=128 * len(stages))


def write(
    out: Path,
    title: str,
    config: Config,
    stages: Sequence[Stage],
    figure: Figure,
    facts: Mapping[str, Cell],
    **arrays: np.ndarray,
) -> str:
    """Writes arrays and a report with a figure as ``out`` with their endings; returns the names of all three files."""
    write_arrays(f"{out}.npz", **arrays)
    of = [(stage.name, stage.run.step, stage.config.sampling) for stage in stages]
    rows = [[name, step, each.steps, each.guidance_scale, each.map_noise] for name, step, each in of]
    table = Table(["stage", "checkpoint", "steps", "γ", "noise on the copy"], rows)
    about = [*credits(stages[-1].run.dataset.credit), table, ConfigSection(config.to_json_best_effort(indent=2))]
    given = {name: value for name, value in facts.items() if value is not None}
    write_report(f"{out}.html", f"scorekit: {title}", given, [figure, *about])
    return f"{figure.path}, {out}.html and {out}.npz"
