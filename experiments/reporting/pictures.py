"""What an experiment leaves behind for the eye: sample grids, strips, curves and the report."""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from experiments.reporting import plots
from experiments.data.conditions import dropout_rates
from experiments.cli.config import Config as ConfigFields
from experiments.data.dataset import Dataset, Ring, held_out_of
from experiments.evaluation.run_metrics import Evaluation, Generate
from experiments.data.representation import spectrogram_images
from experiments.models.model import Model, asked_of
from experiments.reporting.report import Config, Figure, Heading, Section, Text, write_report
from experiments.training.writers import read_metrics
from scorekit.typing import PyTree


def sample_picture(
    path: Path, config: ConfigFields, dataset: Dataset, generate: Generate, params: PyTree, title: str
) -> Path:
    """Samples at the guidance scale: ten of each class, sounds like the first held-out ones as spectrograms, or
    a cloud of points beside the true one."""
    scale = config.sampling.guidance_scale
    if isinstance(dataset, Ring):
        labels = np.arange(2000) % dataset.num_classes
        return plots.points_2d(
            path, {"samples": generate(params, config.seed, labels, scale), "data": dataset.test["x"]}, title=title
        )
    if dataset.sample_rate is not None:
        labels = dataset.test["label"][:10]
        sounds = [
            generate(params, config.seed, labels, scale),
            dataset.real({name: value[:10] for name, value in dataset.test.items()}),
        ]
        images = spectrogram_images(np.concatenate(sounds))
        return plots.image_grid(path, images, columns=len(labels), row_labels=["sample", "held out"], title=title)
    classes = min(dataset.num_classes, 10)
    labels = np.repeat(np.arange(classes), 10)
    images = generate(params, config.seed, labels, scale)
    return plots.image_grid(path, images, columns=10, row_labels=list(range(classes)), title=title)


def shown_scales(config: ConfigFields) -> tuple[float, ...]:
    """Guidance scales worth a row beside those that are evaluated."""
    untrained = min(dropout_rates(config).values()) == 0 and config.loss.joint_dropout == 0
    return () if untrained or config.guidance[0] != "classifier_free" else (0.0, 1.0)


def map_picture(
    path: Path,
    built: Model,
    dataset: Dataset,
    samples: np.ndarray,
    labels: np.ndarray,
    *,
    title: str,
    columns: int = 10,
) -> Path:
    """The map that was given, what was drawn from it, and the held-out scan it comes from, for the first samples."""
    n = min(len(samples), columns)
    maps = asked_of(built, dataset, labels)["dense_map"][:n]
    height, width = samples.shape[1:3]
    enlarged = maps.repeat(height // maps.shape[1], axis=1).repeat(width // maps.shape[2], axis=2)
    scans = dataset.real(held_out_of(dataset, labels))[:n]
    rows = np.concatenate([enlarged, samples[:n], scans])
    return plots.image_grid(path, rows, columns=n, row_labels=["map", "sample", "scan"], title=title)


def final_pictures(
    workdir: Path, config: ConfigFields, built: Model, dataset: Dataset, generate: Generate, params: PyTree
) -> list[Section]:
    """Draws the samples, the guidance strip and the reverse trajectory; returns them as report sections."""
    title = f"Samples at guidance scale γ = {config.sampling.guidance_scale:g}"
    sections: list[Section] = [
        Heading("Samples"),
        Figure(sample_picture(workdir / "samples.png", config, dataset, generate, params, title), title),
    ]
    if dataset.sample_rate is not None:
        return sections
    scales = sorted({*config.evaluation.guidance_scales, *shown_scales(config)})
    if isinstance(dataset, Ring):
        labels = np.arange(1000) % dataset.num_classes
        clouds = {f"γ = {scale:g}": generate(params, config.seed, labels, scale) for scale in scales}
        figure = plots.points_2d(workdir / "guidance.png", clouds, title="Samples by guidance scale γ")
        return [*sections, Figure(figure, "All classes, from the same noise.")]
    labels = np.arange(min(dataset.num_classes, 10))
    strip = {scale: generate(params, config.seed, labels, scale) for scale in scales}
    figure = plots.guidance_strip(workdir / "guidance.png", strip)
    sections.append(Figure(figure, "One class a column, each from the same noise at every guidance scale."))
    if "dense_map" in built.extracts:
        samples = generate(params, config.seed, labels, config.sampling.guidance_scale)
        figure = map_picture(workdir / "maps.png", built, dataset, samples, labels, title="Samples from a map")
        sections.append(Figure(figure, "Top: the map that was given. Middle: a sample. Bottom: the held-out scan."))
    if dataset.latent:
        return sections
    states, log_snr = generate(params, config.seed, labels[:5], config.sampling.guidance_scale, trajectory=True)
    times = np.asarray(built.schedule.time_at(log_snr))
    scale = np.hypot(built.schedule.alpha(times), built.schedule.sigma(times))
    states = states / scale.reshape(-1, 1, 1, 1, 1)
    figure = plots.trajectory_strip(workdir / "trajectory.png", states, list(log_snr))
    caption = "The state of the sampler from noise to data, scaled to unit variance."
    return [*sections, Heading("How a sample comes about"), Figure(figure, caption)]


def loss_picture(path: Path, evaluation: Evaluation) -> Path:
    """The loss by noise level on training and held-out data."""
    curves = evaluation.loss_by_noise_level
    first = next(iter(curves.values()))
    with np.errstate(divide="ignore", invalid="ignore"):
        means = {name: curve.sum / curve.count for name, curve in curves.items()}
    return plots.loss_by_noise_level(path, first.edges, means, first.count, ylabel="eps-MSE per dimension")


def training_picture(path: Path, metrics_path: Path) -> Path | None:
    """The training curve, from the metrics on disk."""
    rows = read_metrics(metrics_path)
    train = [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row]
    held_out = [(row["step"], row["held_out/loss"]) for row in rows if "held_out/loss" in row]
    if not train:
        return None
    steps, loss = zip(*train, strict=True)
    measured = tuple(zip(*held_out, strict=True)) if held_out else None
    return plots.training_curve(path, steps, loss, window=5, held_out=measured)  # type: ignore[arg-type]


def final_report(
    workdir: Path,
    config: ConfigFields,
    dataset: Dataset,
    evaluation: Evaluation,
    drawn: list[Section],
    facts: Mapping[str, object],
) -> Path:
    """Writes ``report.html`` from the pictures, the evaluation and the config."""
    device = jax.devices()[0]
    summary = {
        "data": dataset.name,
        "device": f"{jax.device_count()} × {device.platform} {device.device_kind}".strip(),
        **facts,
        **{name.replace("/", ", "): value for name, value in evaluation.numbers.items() if "accuracy" in name},
        "bits/dim": evaluation.numbers["bound/bits per dim"],
    }
    sections: list[Section] = [*drawn, Heading("Evaluation"), *evaluation.tables]
    curve = training_picture(workdir / "training.png", workdir / "metrics.jsonl")
    sections += [
        Heading("Training"),
        *([Figure(curve, "The loss as logged and its running mean.")] if curve else []),
        Figure(loss_picture(workdir / "loss_by_noise_level.png", evaluation), "Left: noise. Right: data."),
        Text(f"Everything here lies in {workdir} as PNG, JSON and TensorBoard files."),
        Config((workdir / "config.json").read_text()),
    ]
    return write_report(workdir / "report.html", f"scorekit: {dataset.name}", summary, sections)  # type: ignore[arg-type]
