"""Pictures drawn from captions through the stages of a cascade, and the files in which they are written."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cli import progress
from experiments.cli.config import Config
from experiments.models.runs import write_arrays
from experiments.projects.text import embeddings
from experiments.projects.text.prompts import Prompt
from experiments.projects.text.stages import Cascade, Stage, draw
from experiments.reporting.captioned import captioned_grid
from experiments.reporting.report import Cell, ConfigSection, Figure, Table, credits, write_report

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
    picture = captioned_grid(f"{out}.png", pictures, texts, title=title)
    shown = "The stages side by side, the caption under them." if pictures[1:] else "Pictures."
    table = Table(_HEADER, rows, "Seconds include compilation.")
    about = [*credits(last.run.dataset.credit), table, ConfigSection(config.to_json_best_effort(indent=2))]
    values = {name: value for name, value in facts.items() if value is not None}
    write_report(f"{out}.html", f"scorekit: {title}", values, [Figure(picture, shown), *about])
    return f"{picture}, {out}.html and {out}.npz"
