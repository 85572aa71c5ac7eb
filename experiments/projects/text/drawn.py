"""Pictures drawn from captions through the stages of a cascade, and the files in which they are written."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cli import progress
from experiments.cli.config import Config
from experiments.cli.outputs import write_arrays
from experiments.projects.text import embeddings
from experiments.projects.text.prompts import Prompt
from experiments.projects.text.stages import Cascade, Stage, draw
from experiments.reporting.grids import grid, in_rows
from experiments.reporting.report import ConfigSection, Figure, credits, write_report
from experiments.reporting.tables import Cell, Table

_HEADER = ("stage", "pixels", "checkpoint", "steps", "γ", "noise on the copy", "s per picture")


def draw_all(
    cascade: Cascade,
    stages: Sequence[Stage],
    seed: int,
    labels: np.ndarray,
    prompts: Sequence[Prompt],
    negative: str | None,
    typed: str,
) -> tuple[list[np.ndarray], list[list[Cell]]]:
    """The pictures of each stage, and a row about each, a prior first; arguments as for :func:`stages.draw`."""
    pictures, rows, embedding = [], [], None
    if cascade.prior_config is not None:
        prior, begin = embeddings.open_prior(cascade.prior_config, str(cascade.prior), stages[0]), time.monotonic()
        embedding = embeddings.from_captions(prior, seed, labels, prompts, negative, typed)
        seconds, sampling = time.monotonic() - begin, cascade.prior_config.sampling
        rows.append(
            [
                f"prior {prior.stage.name}",
                "",
                prior.stage.run.step,
                sampling.steps,
                sampling.guidance_scale,
                None,
                seconds / len(labels),
            ]
        )
    each = draw(stages, seed, labels, prompts, negative, embedding, typed)
    for stage, (x, seconds) in zip(stages, each, strict=True):
        sampling, noise = stage.config.sampling, stage.config.sampling.map_noise or 0.0
        done = f"{x.shape[1]} x {x.shape[2]} pixels, {sampling.steps} steps, γ = {sampling.guidance_scale:g}"
        print(f"{stage.name}: {done}, noise {noise:g}, {progress.duration(seconds)}", flush=True)
        rows.append(
            [
                stage.name,
                f"{x.shape[1]} x {x.shape[2]}",
                stage.run.step,
                sampling.steps,
                sampling.guidance_scale,
                noise,
                seconds / len(x),
            ]
        )
        pictures.append(x)
    return pictures, rows


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
    """A picture of N captions, the pictures ``(N, H, W, C)`` of each stage side by side above them."""
    columns = min(len(captions), max(1, round(math.sqrt(1.3 * len(captions) / len(stages)))))
    cells = in_rows([side_by_side(images) for images in zip(*stages, strict=True)], columns)
    return grid(path, cells, captions=captions, title=title, side=128 * len(stages))


def write(
    out: Path,
    title: str,
    config: Config,
    last: Stage,
    pictures: Sequence[np.ndarray],
    texts: Sequence[str],
    labels: np.ndarray,
    facts: Mapping[str, Any],
    rows: Sequence[Sequence[Cell]],
) -> str:
    """Writes arrays, a picture and a report as ``out`` with their endings; returns their names."""
    earlier = {f"stage_{i}": x for i, x in enumerate(pictures[:-1])}
    write_arrays(f"{out}.npz", x=pictures[-1], caption=np.asarray(texts), label=labels, **earlier)
    picture = captioned(f"{out}.png", pictures, texts, title)
    shown = "The stages side by side, the caption under them." if pictures[1:] else "Pictures."
    table = Table(_HEADER, rows, "Seconds include compilation.")
    about = [*credits(last.run.dataset.credit), table, ConfigSection(config.to_json_best_effort(indent=2))]
    values = {name: value for name, value in facts.items() if value is not None}
    write_report(f"{out}.html", f"scorekit: {title}", values, [Figure(picture, shown), *about])
    return f"{picture}, {out}.html and {out}.npz"
