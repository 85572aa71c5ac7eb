"""Images and tables of diffusion models: samples by guidance scale, trajectories, losses, likelihoods."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.dataset import Dataset, held_out_of
from experiments.data.display import Points
from experiments.reporting.curves import NOISE_AXIS, Line, Panel, curves, scale
from experiments.reporting.grids import clouds, grid
from experiments.reporting.png import PathLike
from experiments.reporting.report import Figure, Heading, Section
from experiments.reporting.samples import sample_sections
from experiments.reporting.tables import Table, metrics_table, row_table
from scorekit.typing import Schedule

_STEPS = 12
"""Most steps of a trajectory that are drawn."""


def final_images(
    workdir: Path,
    dataset: Dataset,
    draw: Callable[..., Any],
    *,
    gamma: float,
    schedule: Schedule,
    scales: Sequence[float],
    maps: Callable[[np.ndarray], np.ndarray] | None = None,
) -> list[Section]:
    """Samples, audio widgets, guidance scales and a reverse trajectory, as far as the kind of data has them.

    Args:
      draw: ``(labels, guidance_scale, trajectory=False) -> samples``.
      gamma: the guidance scale of samples.
      schedule: schedule of the model.
      scales: guidance scales to compare.
      maps: maps that the model is conditioned on, by label; None for a model without one that can be shown.
    """
    title = f"Samples at guidance scale γ = {gamma:g}"
    sections = sample_sections(workdir, dataset, draw(dataset.preview().labels, gamma), title)
    labels = dataset.guidance_labels()
    if labels is None:
        return sections
    by_scale = {f"γ = {each:g}": draw(labels, each) for each in sorted({*scales})}
    views = {name: dataset.view(x) for name, x in by_scale.items()}
    points = {name: view.points for name, view in views.items() if isinstance(view, Points)}
    path, about = workdir / "guidance.png", "Samples by guidance scale γ"
    if points:
        return [*sections, Figure(clouds(path, points, about), "All classes, from the same noise.")]
    figure = grid(path, list(by_scale.values()), list(by_scale), dataset.named(labels), title=about)
    sections.append(Figure(figure, "One class a column, each from the same noise at every guidance scale."))
    if maps is not None:
        samples, real = draw(labels, gamma), dataset.real(held_out_of(dataset, labels))
        figure = draw_maps(workdir / "maps.png", maps(labels), samples, real, "Samples from a map")
        sections.append(Figure(figure, "Top: the target map. Middle: a sample. Bottom: the held-out image."))
    if dataset.state_view(np.zeros((1, *by_scale[f"γ = {min(scales):g}"].shape[1:]), np.float32)) is None:
        return sections
    states, log_snr = draw(labels[:5], gamma, trajectory=True)
    times = np.asarray(schedule.time_at(log_snr))
    deviation = np.hypot(schedule.alpha(times), schedule.sigma(times))
    figure = trajectory(workdir / "trajectory.png", states / deviation.reshape(-1, 1, 1, 1, 1), log_snr)
    caption = "The state of the sampler from noise to data, scaled to unit variance."
    return [*sections, Heading("From noise to data"), Figure(figure, caption)]


def shows_maps(conditions: Sequence[str], dataset: Dataset) -> bool:
    """Whether the map of a model with these conditions is an image that can be shown with its samples."""
    return "dense_map" in conditions and dataset.as_batch(np.zeros(1)) is not None


def draw_maps(path: Path, maps: np.ndarray, samples: np.ndarray, real: np.ndarray, title: str) -> Path:
    """The target map, the sample, and the held-out image that the map is of, for the first ten samples."""
    return grid(path, [maps[:10], samples[:10], real[:10]], ["map", "sample", "image"], title=title)


def trajectory(path: PathLike, states: np.ndarray, log_snr: np.ndarray) -> Path:
    """The states ``(steps, n, H, W, C)`` of a sampler, from left (noise) to right (data), evenly thinned."""
    keep = np.unique(np.linspace(0, len(states) - 1, min(_STEPS, len(states))).round().astype(int))
    columns = [f"{float(log_snr[i]):.2g}" for i in keep]
    title = "Reverse trajectory: from noise to data"
    return grid(path, np.swapaxes(states[keep], 0, 1), columns=columns, title=title, xlabel="log-SNR (nats)")


def draw_losses(path: PathLike, losses: Mapping[str, Any]) -> Path:
    """The mean loss by noise level, and the number of examples in each bin of the first part.

    Args:
      path: the PNG file to write.
      losses: part of the data -> ``edges`` of the bins, and ``sum`` and ``count`` of the losses in each.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        means = {name: Line(each.edges, np.asarray(each.sum) / each.count) for name, each in losses.items()}
    first = next(iter(losses.values()))
    ends = {"xlim": (first.edges[0], first.edges[-1])}
    log = {"yscale": scale(*(line.y for line in means.values()))}
    loss = Panel(
        means, NOISE_AXIS, "eps-MSE (of a flow map its loss) per dimension", "Loss by noise level", axes={**ends, **log}
    )
    count = Panel(
        {"": Line(first.edges, first.count)}, NOISE_AXIS, "examples per bin", axes={**ends, "ylim": (0, None)}
    )
    return curves(path, [loss, count], columns=1)


# ---- tables --------------------------------------------------------------------------------------------------------


def evaluation_tables(evaluation: Any) -> list[Table]:
    """Metrics of samples, also by features of a network, and the likelihoods.

    ``evaluation`` is an ``Evaluation``; the functions below take its parts.
    """
    tables = [metrics_table(evaluation.rows, evaluation.caption)] if evaluation.rows else []
    tables += inception_tables(evaluation.inception) if evaluation.inception else []
    tables += [exact_table(evaluation.exact)] if evaluation.exact else []
    tables += [bound_table(evaluation.bound)] if evaluation.bound else []
    return tables


def inception_tables(metrics: Any) -> list[Table]:
    """Metrics of features of a network, and the settings that must agree for comparing them with others."""
    return [metrics_table(metrics.rows, metrics.caption), row_table(metrics.provenance)]


def bound_table(bound: Any) -> Table:
    """The variational bound, its terms and its dequantisation."""
    kind = "none: a bound on the probability of the integers" if bound.bins else "none: a bound on a density"
    row = {
        "bits/dim": bound.total,
        **({} if bound.exact is None else {"exact": bound.exact}),
        "standard error": bound.error,
        "prior": bound.prior,
        "reconstruction": bound.reconstruction,
        "diffusion": bound.diffusion,
        "dequantisation": kind,
    }
    caption = (
        f"Monte-Carlo variational bound on {bound.examples} test examples given their conditions, "
        f"{bound.times} noise levels each, t from {bound.t_min:.3g} to {bound.t_max:g}."
    )
    return row_table(row, caption)


def exact_table(exact: Any) -> Table:
    """The exact likelihood and its dequantisation."""
    kind = {"uniform": "uniform: a bound on the probability of the integers", "none": "none: a density"}
    caption = (
        f"Exact likelihood by the probability-flow ODE on {exact.examples} test examples given their conditions, with "
        f"the offset of the scale of the data; divergence: {exact.divergence}; {exact.nfe} evaluations, "
        f"t from {exact.t_min:.3g} to {exact.t_max:g}."
    )
    header = ["bits/dim", "standard error", "offset", "dequantisation"]
    return Table(header, [[exact.total, exact.error, exact.offset, kind[exact.dequantisation]]], caption)
