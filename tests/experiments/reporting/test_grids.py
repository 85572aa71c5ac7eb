"""Grids: the pixels of images, titles, and axes of cells; images and sounds as files."""

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image
from programs import tones

from experiments import data
from experiments.configs.images import smoke
from experiments.data.images import Images
from experiments.reporting import samples
from experiments.reporting.grids import clouds, grid, in_rows
from scorekit import audio
from scorekit.audio import representations


def flat_images(*values):
    """2x2 images of one grey value each."""
    return np.stack([np.full((2, 2, 1), v, np.float32) for v in values])


def image_in(figure):
    return figure.axes[0].images[0].get_array()


def labels_of(figure):
    """The titles of rows and of columns."""
    axes = figure.axes[0]
    return [x.get_text() for x in axes.get_yticklabels()], [x.get_text() for x in axes.get_xticklabels()]


def test_every_pixel_is_clipped_and_enlarged_by_a_whole_factor(tmp_path, figures):
    path = grid(tmp_path / "new" / "grid.png", in_rows(flat_images(-1, 0, 1, 5, -5), 3))
    assert path == tmp_path / "new" / "grid.png"
    written = imread(path)[..., 0]
    top, left = np.argwhere(written < 0.9).min(0)  # inside a white margin, 60 pixels apart
    for i, grey in enumerate([0.0, 0.5, 1.0, 1.0, 0.0, 1.0]):
        y, x = top + 60 * (i // 3), left + 60 * (i % 3)
        np.testing.assert_allclose(written[y + 2 : y + 54, x + 2 : x + 54], grey, atol=0.01)
    small, large = np.array([[-1.0, 1.0], [0.0, 0.0]])[..., None], np.zeros((8, 8, 3))
    grid(tmp_path / "a.png", [[small], [large]])
    image = image_in(figures[1])
    assert image.shape == (116, 56, 3)
    assert [image[i, j, 0] for i, j in ((27, 27), (27, 28), (28, 27), (57, 0), (60, 0))] == [0, 1, 0.5, 1, 0.5]


def test_rows_and_columns_have_titles_that_do_not_overlap(tmp_path, figures):
    names, images = ["ab", "c", "a name that is wider"], [flat_images(-1, 1, 1), flat_images(1, -1, 1)]
    grid(tmp_path / "a.png", images, ["γ = 0", "γ = 2.5"], names)
    assert labels_of(figures[0]) == (["γ = 0", "γ = 2.5"], names)
    boxes = [x.get_window_extent() for x in figures[0].axes[0].get_xticklabels()]
    assert not boxes[1].overlaps(boxes[0])
    np.testing.assert_array_equal(image_in(figures[0])[30::60, 30::60, 0], [[0, 1, 1], [1, 0, 1]])


def test_samples_of_a_class_continue_below_after_ten(tmp_path, figures):
    dataset = object.__new__(Images)
    dataset.num_classes, dataset.class_names = 3, ("circle", "cross", "star")
    labels = np.array([2, 0] + [2] * 11)
    samples.picture_of(tmp_path / "a.png", dataset, flat_images(*np.linspace(-1, 0.2, 13)), labels, "T")
    assert labels_of(figures[0])[0] == ["star", "", "circle"]
    middles, drawn = image_in(figures[0])[30::60, 30::60, 0], np.linspace(0, 0.6, 13)
    np.testing.assert_allclose(middles[:, :2], [[0, 0.1], drawn[11:], [drawn[1], 1]], atol=1e-6)
    assert middles.shape == (3, 10)


def test_clouds_share_their_axes_and_count_points_that_are_not_finite(tmp_path, figures):
    points = {"data": [[0, 0], [1, 1]], "samples": [[0, 9], [np.inf, 0], [1, np.nan]]}
    clouds(tmp_path / "a.png", points)
    first, second = figures[0].axes
    assert first.get_ylim() == second.get_ylim()
    assert first.get_ylim()[1] > 9
    assert (first.get_xlabel(), first.get_ylabel()) == ("x₁", "x₂")
    assert second.get_title().replace("\n", " ") == "samples (3 points, 2 not finite)"
    assert len(second.collections[0].get_offsets()) == 1


@pytest.mark.slow
def test_pair_plots_show_every_pair_and_the_truth(tmp_path, figures):
    x = np.random.default_rng(0).normal(size=(200, 3))
    sets, labels = {"posterior": x, "reference": x + 1.0}, ["θ₁", "θ₂", "θ₃"]
    samples.pair_plot(tmp_path / "pair.png", sets, truth=x[0], labels=labels, title="Posterior")
    panels = [axes for axes in figures[0].axes if axes.axison]
    assert [axes.get_xlabel() for axes in panels[-3:]] == labels
    assert len(panels) == 6
    assert [text.get_text() for text in figures[0].legends[0].texts] == ["posterior", "reference", "truth"]
    assert len(panels[1].collections) == 2
    assert panels[0].lines[0].get_xdata()[0] == x[0, 0]


def test_images_and_sounds_are_files_of_their_kind(tmp_path):
    sets = {"digits": data.build(smoke.get_config()), "tones": tones(representations.waveform())}
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "00009.png").touch()  # of an earlier call
    for name, dataset in sets.items():
        x = dataset.real(dataset.test)[:4]
        written = samples.write_samples(tmp_path / name, dataset, "title", {"x": x, "label": np.zeros(4, np.int32)})
        assert written == f"{tmp_path}/{name}.png, {tmp_path}/{name}"
        first, *_, last = sorted((tmp_path / name).iterdir())
        assert (first.stem, last.stem) == ("00000", "00003")
        found = audio.read(last).x if name == "tones" else np.asarray(Image.open(last), float)[..., None] / 127.5 - 1
        np.testing.assert_allclose(found, x[3], atol=1 / 255 if name == "digits" else 0)
