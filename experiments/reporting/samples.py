"""Pictures and files of samples of any kind of data: images, points, sounds and tables."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from PIL import Image

from experiments.cli.choices import named_object
from experiments.data.dataset import Dataset
from experiments.data.display import Points, Sounds, View
from experiments.reporting.grids import Draw, clouds, grid, in_rows, scatter
from experiments.reporting.png import COLOURS, PathLike
from experiments.reporting.report import Figure, Heading, Section
from scorekit.io import as_path, write_atomic

_COLUMNS, _MOST_ROWS, _LARGEST = 10, 40, 10


def sample_sections(folder: Path, dataset: Dataset, samples: np.ndarray, title: str) -> list[Section]:
    """Samples for the preview of the data set with their title; of sounds also audio widgets."""
    preview = dataset.preview()
    picture = sample_picture(folder / "samples.png", dataset, samples, title)
    sections: list[Section] = [Heading("Samples"), Figure(picture, title)]
    if preview.reference is not None and isinstance(view := dataset.view(dataset.real(preview.reference)), Sounds):
        versions = {"held out": view.sounds, "sample": samples}
        caption, rows = "Held-out examples, and samples for their conditions.", dataset.named(preview.labels)
        audio_widgets = named_object("experiments.reporting.audio_widgets:audio_widgets")
        widgets = audio_widgets(folder / "sounds", versions, view.sample_rate, row_labels=rows, caption=caption)
        sections.append(widgets)
    return sections


def sample_picture(path: Path, dataset: Dataset, samples: np.ndarray, title: str) -> Path:
    """Samples of the preview of the data set, with its reference."""
    preview, sets = dataset.preview(), {"samples": samples}
    if preview.reference is not None:
        sets["data"] = dataset.real(preview.reference)
    if drawn := _other_than_images(path, dataset, sets, title):
        return drawn
    images = np.concatenate([_images(dataset.view(x)) for x in sets.values()])
    usual = len(samples) if isinstance(dataset.view(samples), Sounds) else _COLUMNS
    columns = len(images) // len(preview.rows) if preview.rows else usual
    return grid(path, in_rows(images, columns), preview.rows, title=title)


def drawing(
    dataset: Dataset,
    generate: Callable[..., np.ndarray],
    seed: int,
    scale: float,
    about: str = "Samples after {:,} steps",
):
    """``(path, params, step) -> path``: the image of samples in the middle of a training."""
    samples = lambda params: generate(params, seed, dataset.preview().labels, scale)
    return lambda path, params, step: sample_picture(path, dataset, samples(params), about.format(step))


def picture_of(path: Path, dataset: Dataset, samples: np.ndarray, labels: np.ndarray, title: str) -> Path:
    """A picture of any samples: a titled row for each class, continued below where it has more than ten samples.

    Of a table each pair of columns, given the first of several observations in a colour each.
    """
    distinct = list(dict.fromkeys(labels.tolist()))
    few = distinct[: len(COLOURS)] if dataset.entries else []
    sets = {f"observation {k + 1}": samples[labels == k] for k in few} if len(few) > 1 else {"samples": samples}
    if drawn := _other_than_images(path, dataset, sets, title):
        return drawn
    images = _images(dataset.view(samples))
    if len(distinct) > _MOST_ROWS or dataset.num_classes == 1:
        return grid(path, in_rows(images, min(_COLUMNS, len(images))), title=title)
    columns = min(_COLUMNS, max(int(np.sum(labels == label)) for label in distinct))
    cells, rows = [], list[str]()
    for label, name in zip(distinct, dataset.named(distinct), strict=True):
        own = in_rows(images[labels == label], columns)
        cells += own
        rows += [name, *[""] * (len(own) - 1)]
    return grid(path, cells, rows, title=title)


def _other_than_images(path: Path, dataset: Dataset, sets: Mapping[str, np.ndarray], title: str) -> Path | None:
    if dataset.entries:
        return pair_plot(path, sets, labels=dataset.entries, title=title)
    views = {name: dataset.view(x) for name, x in sets.items()}
    points = {name: view.points for name, view in views.items() if isinstance(view, Points)}
    return clouds(path, points, title) if points else None


def _images(view: View) -> np.ndarray:
    return named_object("scorekit.audio:spectrogram_images")(view[0]) if isinstance(view, Sounds) else view[0]


def write_samples(out: Path, dataset: Dataset, title: str, samples: Mapping[str, np.ndarray]) -> str:
    """Writes samples as a picture, and as a CSV file of a table, or a PNG or WAV file each; returns the paths.

    Args:
      out: path without ending; earlier samples in a folder of this name are removed.
      samples: samples ``x``, their ``label``, and what belongs to each of them.
    """
    x = samples["x"]
    picture, view = picture_of(as_path(f"{out}.png"), dataset, x, samples["label"], title), dataset.view(x)
    if dataset.entries:
        given = samples["condition"].T if "condition" in samples else ()
        columns = dict(zip((*dataset.entries, *dataset.condition_entries), (*x.T, *given), strict=False))
        columns |= {name: samples[name] for name in ("log_prob", "label")} if "log_prob" in samples else {}
        text = io.StringIO()
        csv.writer(text).writerows([columns, *zip(*columns.values(), strict=True)])
        return f"{picture}, {write_atomic(f'{out}.csv', text.getvalue())}"
    if isinstance(view, Points):
        return str(picture)
    for old in as_path(out).glob("[0-9][0-9][0-9][0-9][0-9].*"):
        old.unlink()
    for i, one in enumerate(view[0]):
        if isinstance(view, Sounds):
            named_object("experiments.reporting.audio_widgets:write_wav")(f"{out}/{i:05}.wav", one, view.sample_rate)
            continue
        png, codes = io.BytesIO(), np.round(127.5 * (np.clip(one, -1, 1) + 1)).astype(np.uint8)
        Image.fromarray(codes.squeeze(-1) if codes.shape[-1] == 1 else codes).save(png, "png")
        write_atomic(f"{out}/{i:05}.png", png.getvalue())
    return f"{picture}, {out}"


# ---- tables --------------------------------------------------------------------------------------------------------


def pair_plot(
    path: PathLike,
    samples: Mapping[str, ArrayLike],
    *,
    truth: ArrayLike | None = None,
    labels: Sequence[str],
    title: str = "",
) -> Path:
    """Histograms of each column on the diagonal, samples of each pair of columns below it.

    Axes cover the central 99.8 % of what is drawn, and the truth.

    Args:
      samples: sets of samples ``(S, D)`` by name; of more than 10 columns the first 10 are drawn.
      truth: values that are marked, such as the parameters of the observation, ``(D,)``.
      labels: names of the columns, with their units.
    """
    sets = {name: np.asarray(x, float) for name, x in samples.items()}
    for name, x in sets.items():
        if x.ndim != 2 or not x.size or x.shape[1] != len(labels) or not np.all(np.isfinite(x)):
            raise ValueError(f"{name} must hold finite samples (S, {len(labels)}), got {x.shape}")
    dim = min(len(labels), _LARGEST)
    mark = None if truth is None else np.asarray(truth, float)
    values = np.concatenate(list(sets.values()))[:, :dim]

    def limits(i: int) -> tuple[float, float]:
        inside = [*np.quantile(values[:, i], [0.001, 0.999]), *([] if mark is None else [mark[i]])]
        room = 0.05 * (max(inside) - min(inside)) or 0.5
        return min(inside) - room, max(inside) + room

    ends = [limits(i) for i in range(dim)]

    def cell(i: int, j: int) -> Draw | None:
        if i == j:
            one = {name: x[:, i] for name, x in sets.items()}
            return _histograms(one, ends[i], labels[i], None if mark is None else mark[i])
        two, at = [x[:, [j, i]] for x in sets.values()], None if mark is None else mark[[j, i]]
        return scatter(*two, labels=(labels[j], labels[i]), limits=(ends[j], ends[i]), mark=at) if i > j else None

    cells = [[cell(i, j) for j in range(dim)] for i in range(dim)]
    if dim < len(labels):
        title = f"{title or 'Samples'} (the first {dim} of {len(labels)} columns)"
    return grid(path, cells, title=title, size=(2.0, 1.8))


def _histograms(sets: Mapping[str, np.ndarray], ends: tuple[float, float], label: str, mark: float | None) -> Draw:
    def draw(axes: Axes) -> None:
        for (name, x), colour in zip(sets.items(), COLOURS, strict=False):
            axes.hist(
                x, [*np.linspace(*ends, 40)], density=True, histtype="step", color=colour, linewidth=1.5, label=name
            )
        if mark is not None:
            axes.axvline(mark, color="black", linewidth=0.9, linestyle="--", label="truth")
        axes.set(xlim=ends, yticks=[], xlabel=label, ylabel="density")

    return draw
