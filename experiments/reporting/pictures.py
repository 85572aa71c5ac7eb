"""Pictures of samples of any kind of data, and the loss curves of a run."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import figure as figures
from PIL import Image

from experiments.cli.config import Config
from experiments.data.dataset import Dataset, held_out_of
from experiments.data.display import Pictures, Points, Sounds
from experiments.evaluation.ema_sweep import EmaSweep
from experiments.evaluation.exact import ByMap
from experiments.evaluation.run_metrics import Evaluation
from experiments.models.conditioning import target_conditions, untrained_nulls
from experiments.models.model import Model
from experiments.models.runs import write_arrays
from experiments.models.sampling import Generate
from experiments.reporting import curves, plots
from experiments.reporting.audio_widgets import audio_widgets, write_wav
from experiments.reporting.calibration import pair_plot
from experiments.reporting.report import Figure, Heading, Section
from experiments.training.writers import read_metrics
from scorekit.audio import spectrogram_images
from scorekit.io import as_path, write_atomic
from scorekit.typing import PyTree

_COLUMNS, _MOST_ROWS, _COLOURED = 10, 40, 6


def sample_picture(
    path: Path, config: Config, dataset: Dataset, generate: Generate, params: PyTree, title: str
) -> Path:
    """Samples of the preview of the data set at the guidance scale of the config, with its reference."""
    preview = dataset.preview()
    samples = generate(params, config.seed, preview.labels, config.sampling.guidance_scale)
    real = None if preview.reference is None else dataset.real(preview.reference)
    if dataset.entries:
        sets = {"samples": samples} if real is None else {"samples": samples, "data": real}
        return pair_plot(path, sets, labels=dataset.entries, title=title)
    match dataset.view(samples):
        case Points(points):
            shown = None if real is None else dataset.view(real)
            clouds = {"samples": points, **({"data": shown.points} if isinstance(shown, Points) else {})}
            return plots.points_2d(path, clouds, title=title)
        case Sounds(sounds, _):
            both = sounds if real is None else np.concatenate([sounds, real])
            return plots.image_grid(
                path, spectrogram_images(both), columns=len(sounds), row_labels=preview.rows, title=title
            )
        case Pictures(images):
            shown = None if real is None else dataset.view(real)
            both = np.concatenate([images, shown.images]) if isinstance(shown, Pictures) else images
            columns = 10 if preview.rows is None else len(both) // len(preview.rows)
            return plots.image_grid(path, both, columns=columns, row_labels=preview.rows, title=title)
    raise ValueError(f"view must be Pictures, Points or Sounds, got {type(dataset.view(samples)).__name__}")


def drawing(config: Config, dataset: Dataset, generate: Generate, about: str = "Samples after {:,} steps"):
    """``(path, params, step) -> path``: the picture of samples in the middle of a training."""
    return lambda path, params, step: sample_picture(path, config, dataset, generate, params, about.format(step))


def ema_sweep_picture(path: Path, sweep: EmaSweep) -> Path:
    """Every metric over the relative width."""
    title = f"Metrics by the width of the average, step {sweep.step:,}"
    xlabel = "relative width of the average"
    return curves.metric_panels(path, [*sweep.rows], sweep.curves(), xlabel=xlabel, title=title)


def picture_of(path: Path, dataset: Dataset, samples: np.ndarray, labels: np.ndarray, title: str) -> Path:
    """A picture of any samples: a titled row for each class, continued below where it has more than ten samples.

    Of a table each pair of columns, given the first of several observations in a colour each.
    """
    view, distinct = dataset.view(samples), list(dict.fromkeys(labels.tolist()))
    if dataset.entries:
        few = distinct[:_COLOURED]
        sets = {f"observation {k + 1}": samples[labels == k] for k in few} if len(few) > 1 else {"samples": samples}
        return pair_plot(path, sets, labels=dataset.entries, title=title)
    if isinstance(view, Points):
        return plots.points_2d(path, {"samples": view.points}, title=title)
    images = spectrogram_images(view.sounds) if isinstance(view, Sounds) else view.images
    columns = min(_COLUMNS, max(int(np.sum(labels == label)) for label in distinct))
    if len(distinct) > _MOST_ROWS or dataset.num_classes == 1:
        return plots.image_grid(path, images, columns=min(_COLUMNS, len(images)), title=title)
    cells, rows = list[np.ndarray](), list[str]()
    for label, name in zip(distinct, dataset.named(distinct), strict=True):
        own = images[labels == label]
        cells += [own, np.full((-len(own) % columns, *own.shape[1:]), np.nan)]
        rows += [name, *[""] * (-(-len(own) // columns) - 1)]
    return plots.image_grid(path, np.concatenate(cells), columns=columns, row_labels=rows, title=title)


def write_samples(out: Path, dataset: Dataset, title: str, found: Mapping[str, np.ndarray]) -> str:
    """Writes samples as arrays, as a picture, and as data: a CSV file, or a PNG or WAV file each; returns the paths.

    Args:
      out: path without ending; earlier samples in a folder of this name are removed.
      found: samples ``x``, their ``label``, and what belongs to each of them.
    """
    x, names = found["x"], {"columns": np.array(dataset.entries)} if dataset.entries else {}
    arrays = write_arrays(f"{out}.npz", **found, **names)
    picture, view = picture_of(as_path(f"{out}.png"), dataset, x, found["label"], title), dataset.view(x)
    if dataset.entries:
        given = found["condition"].T if "condition" in found else ()
        columns = dict(zip((*dataset.entries, *dataset.condition_entries), (*x.T, *given), strict=False))
        columns |= {name: found[name] for name in ("log_prob", "label")} if "log_prob" in found else {}
        text = io.StringIO()
        csv.writer(text).writerows([columns, *zip(*columns.values(), strict=True)])
        write_atomic(f"{out}.csv", text.getvalue())
        return f"{picture}, {out}.csv and {arrays}"
    if not isinstance(view, Pictures | Sounds):
        return f"{picture} and {arrays}"
    for old in as_path(out).glob("[0-9][0-9][0-9][0-9][0-9].*"):
        old.unlink()
    for i, one in enumerate(view[0]):
        if isinstance(view, Sounds):
            write_wav(f"{out}/{i:05}.wav", one, view.sample_rate)
            continue
        png, codes = io.BytesIO(), np.round(127.5 * (np.clip(one, -1, 1) + 1)).astype(np.uint8)
        Image.fromarray(codes.squeeze(-1) if codes.shape[-1] == 1 else codes).save(png, "png")
        write_atomic(f"{out}/{i:05}.png", png.getvalue())
    return f"{picture}, {out} and {arrays}"


def write_versions(
    out: Path, versions: Mapping[str, np.ndarray], labels: np.ndarray, dataset: Dataset, shown: int, title: str
) -> str:
    """Writes every version of images as ``<out>.npz``, and some of them side by side as PNG; returns both names."""
    write_arrays(f"{out}.npz", label=np.asarray(labels), **{name.split("\n")[0]: x for name, x in versions.items()})
    few = {name: x[:shown] for name, x in versions.items()}
    picture = plots.comparison(f"{out}.png", few, row_labels=dataset.named(labels[:shown]), title=title)
    return f"{picture} and {out}.npz"


def listening(folder: Path, config: Config, dataset: Dataset, generate: Generate, params: PyTree) -> list[Section]:
    """Audio widgets of samples and of the reference of the preview; nothing for what is not sound."""
    preview = dataset.preview()
    if preview.reference is None or not isinstance(view := dataset.view(dataset.real(preview.reference)), Sounds):
        return []
    samples = generate(params, config.seed, preview.labels, config.sampling.guidance_scale)
    versions = {"held out": view.sounds, "sample": samples}
    rows = dataset.named(preview.labels)
    caption = "Held-out examples, and samples for their conditions."
    return [audio_widgets(folder, versions, view.sample_rate, row_labels=rows, caption=caption)]


def map_picture(
    path: Path, model: Model, dataset: Dataset, samples: np.ndarray, labels: np.ndarray, title: str
) -> Path:
    """The target map, the sample, and the held-out image that the map is of, for the first samples."""
    n = min(len(samples), 10)
    maps = target_conditions(model, dataset, labels)["dense_map"][:n]
    height, width = samples.shape[1:3]
    enlarged = maps.repeat(height // maps.shape[1], axis=1).repeat(width // maps.shape[2], axis=2)
    images = dataset.real(held_out_of(dataset, labels))[:n]
    rows = np.concatenate([enlarged, samples[:n], images])
    return plots.image_grid(path, rows, columns=n, row_labels=["map", "sample", "image"], title=title)


def shows_maps(model: Any, dataset: Dataset) -> bool:
    """Whether the map of a model is a picture that can be shown with its samples."""
    return "dense_map" in getattr(model, "extracts", ()) and dataset.as_batch(np.zeros(1)) is not None


def final_pictures(
    workdir: Path, config: Config, model: Model, dataset: Dataset, generate: Generate, params: PyTree
) -> list[Section]:
    """Samples, audio widgets, guidance scales and a reverse trajectory, as far as the kind of data has them."""
    scale = config.sampling.guidance_scale
    title = f"Samples at guidance scale γ = {scale:g}"
    picture = sample_picture(workdir / "samples.png", config, dataset, generate, params, title)
    sections: list[Section] = [Heading("Samples"), Figure(picture, title)]
    sections += listening(workdir / "sounds", config, dataset, generate, params)
    labels = dataset.guidance_labels()
    if labels is None:
        return sections
    usual = () if untrained_nulls(config) or config.guidance[0] != "classifier_free" else (0.0, 1.0)
    scales = sorted({*config.evaluation.guidance_scales, *usual})
    by_scale = {scale: generate(params, config.seed, labels, scale) for scale in scales}
    if isinstance(dataset.view(by_scale[scales[0]]), Points):
        views = {scale: dataset.view(points) for scale, points in by_scale.items()}
        clouds = {f"γ = {scale:g}": view.points for scale, view in views.items() if isinstance(view, Points)}
        figure = plots.points_2d(workdir / "guidance.png", clouds, title="Samples by guidance scale γ")
        return [*sections, Figure(figure, "All classes, from the same noise.")]
    figure = plots.guidance_strip(workdir / "guidance.png", by_scale, dataset.named(labels))
    sections.append(Figure(figure, "One class a column, each from the same noise at every guidance scale."))
    if shows_maps(model, dataset):
        samples = generate(params, config.seed, labels, scale)
        figure = map_picture(workdir / "maps.png", model, dataset, samples, labels, title="Samples from a map")
        sections.append(Figure(figure, "Top: the target map. Middle: a sample. Bottom: the held-out image."))
    return sections + trajectory(workdir, config, model, dataset, generate, params, labels[:5])


def trajectory(workdir, config, model, dataset, generate, params, labels) -> list[Section]:
    """The states of the sampler, where they can be looked at."""
    if dataset.state_view(np.zeros((1, *model.shape), np.float32)) is None:
        return []
    states, log_snr = generate(params, config.seed, labels, config.sampling.guidance_scale, trajectory=True)
    times = np.asarray(model.schedule.time_at(log_snr))
    scale = np.hypot(model.schedule.alpha(times), model.schedule.sigma(times))
    states = states / scale.reshape(-1, 1, 1, 1, 1)
    figure = plots.trajectory_strip(workdir / "trajectory.png", states, list(log_snr))
    caption = "The state of the sampler from noise to data, scaled to unit variance."
    return [Heading("From noise to data"), Figure(figure, caption)]


def loss_picture(path: Path, evaluation: Evaluation) -> Path:
    """The loss by noise level on training and held-out data."""
    curves = evaluation.loss_by_noise_level
    first = next(iter(curves.values()))
    with np.errstate(divide="ignore", invalid="ignore"):
        means = {name: curve.sum / curve.count for name, curve in curves.items()}
    return plots.loss_by_noise_level(path, first.edges, means, first.count, ylabel="eps-MSE per dimension")


def by_map_picture(path: Path, found: ByMap) -> Path:
    """Bits per dimension of each example by the jumps of a flow map against the exact ones."""
    figure = figures.Figure(figsize=(3.6 * len(found.rows), 3.6), layout="constrained")
    all_axes = figure.subplots(1, len(found.rows), squeeze=False)[0]
    for axes, (name, row), values in zip(all_axes, found.rows.items(), found.by_map, strict=True):
        axes.axline((found.exact[0], found.exact[0]), slope=1.0, color="0.7", linewidth=1)
        axes.plot(found.exact, values, ".", markersize=4, alpha=0.6)
        axes.set(xlabel="bits/dim by the ODE", ylabel="bits/dim by the map")
        axes.set_title(f"{name}, rank correlation {row['rank correlation']:.3f}")
    return plots.save(figure, path)


def training_sections(workdir: Path, caption: str = "The loss as logged and its running mean.") -> list[Section]:
    """The training curve, from the metrics on disk; only a heading without them."""
    path = workdir / "metrics.jsonl"
    rows = read_metrics(path) if path.exists() else []  # a run of less than training.log_every steps has none
    train = [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row]
    held_out = [(row["step"], row["held_out/loss"]) for row in rows if "held_out/loss" in row]
    if not train:
        return [Heading("Training")]
    steps, loss = zip(*train, strict=True)
    measured = tuple(zip(*held_out, strict=True)) if held_out else None
    path = plots.training_curve(workdir / "training.png", steps, loss, window=5, held_out=measured)  # type: ignore[arg-type]
    return [Heading("Training"), Figure(path, caption)]
