"""Images and curves: their pixels, their labels, and validation errors."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from experiments.data.images import Images
from experiments.reporting import calibration, curves, pictures, plots


@pytest.fixture
def figures(monkeypatch):
    """The figures as they are saved, to look at axes and labels."""
    seen = []
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (seen.append(self), savefig(self, *a, **k))[1])
    return seen


def flat_images(*values):
    """2x2 images of one grey value each."""
    return np.stack([np.full((2, 2, 1), v, np.float32) for v in values])


def cells_of(figure):
    return figure.axes[0].images[0].get_array()


def test_tile_enlarges_every_pixel_and_leaves_white_gaps():
    cells = np.arange(8, dtype=float).reshape(1, 2, 2, 2, 1) / 7 * 2 - 1
    picture = plots.tile(cells, zoom=3, gap=1)
    assert picture.shape == (6, 13, 3)
    np.testing.assert_array_equal(picture[:, 6], 1.0)
    for i in range(2):
        for j in range(2):
            block = picture[3 * i : 3 * i + 3, 3 * j : 3 * j + 3]
            np.testing.assert_allclose(block, (2 * i + j) / 7, rtol=1e-6)


def test_tile_clips_what_is_out_of_range():
    picture = plots.tile(np.array([-7.0, 7.0]).reshape(1, 2, 1, 1, 1), zoom=1, gap=0)
    np.testing.assert_array_equal(picture[..., 0], [[0, 1]])


def test_image_grid_writes_the_pixels_one_to_one(tmp_path):
    path = plots.image_grid(tmp_path / "new" / "grid.png", flat_images(-1, 0, 1, 5, -5))
    assert path == tmp_path / "new" / "grid.png"
    picture = imread(path)[..., 0]
    # 3 columns and 2 rows of 56 pixels with gaps of 4, inside a white margin.
    top, left = np.argwhere(picture < 0.9).min(0)
    for i, grey in enumerate([0.0, 0.5, 1.0, 1.0, 0.0, 1.0]):
        y, x = top + 60 * (i // 3), left + 60 * (i % 3)
        np.testing.assert_allclose(picture[y + 2 : y + 54, x + 2 : x + 54], grey, atol=0.01)


@pytest.mark.parametrize("side", [8, 28, 32, 64])
def test_small_images_are_enlarged_to_at_least_56_pixels(tmp_path, figures, side):
    plots.image_grid(tmp_path / "a.png", np.zeros((1, side, side, 3)))
    high = cells_of(figures[0]).shape[0]
    assert high >= 56
    assert high % side == 0


def test_image_grid_labels_rows(tmp_path, figures):
    plots.image_grid(tmp_path / "a.png", flat_images(0, 0, 0, 0, 0, 0), row_labels=["a", "b"], title="T")
    axes = figures[0].axes[0]
    assert [x.get_text() for x in axes.get_yticklabels()] == ["a", "b"]
    assert axes.get_title() == "T"
    assert cells_of(figures[0]).shape[1] == 3 * 60 - 4


def test_samples_have_a_titled_row_for_each_class(tmp_path, figures):
    dataset = object.__new__(Images)
    dataset.num_classes, dataset.class_names = 3, ("circle", "cross", "star")
    labels = np.array([2, 0] + [2] * 11)
    pictures.picture_of(tmp_path / "a.png", dataset, flat_images(*np.linspace(-1, 0.2, 13)), labels, "T")
    assert [x.get_text() for x in figures[0].axes[0].get_yticklabels()] == ["star", "", "circle"]
    middles = cells_of(figures[0])[30::60, 30::60, 0]
    drawn = np.linspace(0, 0.6, 13)
    np.testing.assert_allclose(middles[:, :2], [[0, 0.1], drawn[11:], [drawn[1], 1]], atol=1e-6)
    assert middles.shape == (3, 10)


def test_guidance_strip_has_a_row_per_scale_and_a_column_per_class(tmp_path, figures):
    names, by_scale = ["ab", "c", "a name that is wider"], {0: flat_images(-1, 1, 1), 2.5: flat_images(1, -1, 1)}
    plots.guidance_strip(tmp_path / "a.png", by_scale, names)
    axes = figures[0].axes[0]
    assert [x.get_text() for x in axes.get_yticklabels()] == ["γ = 0", "γ = 2.5"]
    assert [x.get_text() for x in axes.get_xticklabels()] == names
    boxes = [x.get_window_extent() for x in axes.get_xticklabels()]
    assert not boxes[1].overlaps(boxes[0])
    middles = cells_of(figures[0])[30::60, 30::60, 0]
    np.testing.assert_array_equal(middles, [[0, 1, 1], [1, 0, 1]])


def test_comparison_has_a_row_per_example_and_a_column_per_version(tmp_path, figures):
    plots.comparison(tmp_path / "a.png", {"before": flat_images(-1, 1), "after": flat_images(0, -1)}, row_labels=[3, 7])
    axes = figures[0].axes[0]
    assert [x.get_text() for x in axes.get_yticklabels()] == ["3", "7"]
    assert [x.get_text() for x in axes.get_xticklabels()] == ["before", "after"]
    np.testing.assert_array_equal(cells_of(figures[0])[44::88, 44::88, 0], [[0, 0.5], [1, 0]])


def test_trajectory_runs_from_left_to_right_and_keeps_both_ends(tmp_path, figures):
    greys = np.linspace(-1, 1, 23)
    states = np.stack([flat_images(g, -g) for g in greys])
    plots.trajectory_strip(tmp_path / "a.png", states, np.linspace(-11, 11, 23))
    axes = figures[0].axes[0]
    assert [x.get_text() for x in axes.get_xticklabels()] == [str(x) for x in range(-11, 12, 2)]
    assert axes.get_xlabel() == "log-SNR (nats)"
    middles = cells_of(figures[0])[30::60, 30::60, 0]
    rising = np.linspace(0, 1, 12)
    np.testing.assert_allclose(middles, [rising, rising[::-1]], atol=1e-6)


def test_loss_by_noise_level_leaves_empty_bins_out_and_has_units(tmp_path, figures):
    plots.loss_by_noise_level(tmp_path / "a.png", [-2, -1, 0, 1], [5.0, 0.1, 2.0], [0, 3, 4], ylabel="eps-MSE")
    front, behind = figures[0].axes
    assert "log-SNR (nats)" in front.get_xlabel()
    assert front.get_ylabel() == "eps-MSE"
    np.testing.assert_array_equal(front.patches[0].get_data().values, [np.nan, 0.1, 2.0])
    np.testing.assert_array_equal(behind.patches[0].get_data().values, [0, 3, 4])
    assert front.get_legend() is None


def test_loss_by_noise_level_names_several_curves(tmp_path, figures):
    plots.loss_by_noise_level(tmp_path / "a.png", [0, 1, 2], {"ema": [1, 1], "raw": [2, np.nan]})
    (axes,) = figures[0].axes
    assert [x.get_text() for x in axes.get_legend().get_texts()] == ["ema", "raw"]


def test_training_curve_smooths_and_counts_what_is_not_finite(tmp_path, figures):
    loss = np.tile([1.0, 3.0], 50)
    loss[10], loss[51] = np.nan, -np.inf
    plots.training_curve(tmp_path / "a.png", np.arange(100), loss, held_out=([0, 99], [2, 2]), window=20)
    logged, mean, held_out = figures[0].axes[0].lines
    assert len(logged.get_xdata()) == 98
    assert "2 not finite" in logged.get_label()
    np.testing.assert_allclose(mean.get_ydata()[20:-20], 2.0, atol=0.15)  # about 21 points of 1 and 3
    np.testing.assert_allclose(mean.get_ydata()[0], np.mean([*loss[:10], 3.0]))
    assert held_out.get_ydata().tolist() == [2, 2]


def test_points_2d_puts_clouds_on_the_same_axes(tmp_path, figures):
    points = {"data": [[0, 0], [1, 1]], "samples": [[0, 9], [np.inf, 0], [1, np.nan]]}
    plots.points_2d(tmp_path / "a.png", points)
    first, second = figures[0].axes
    assert first.get_ylim() == second.get_ylim()
    assert first.get_ylim()[1] > 9
    assert second.get_title() == "samples (3 points, 2 not finite)"
    assert len(second.collections[0].get_offsets()) == 1


def test_accuracy_by_noise_level_has_a_curve_for_each_classifier_and_the_chance_line(tmp_path, figures):
    curves = {"noisy": [0.1, 0.6, 0.9], "clean": [0.1, 0.3, 0.95]}
    plots.accuracy_by_noise_level(tmp_path / "a.png", [-4.0, 0.0, 4.0], curves, chance=0.1)
    axes = figures[0].axes[0]
    noisy, clean, guess = axes.lines
    np.testing.assert_array_equal(noisy.get_ydata(), curves["noisy"])
    np.testing.assert_array_equal(clean.get_xdata(), [-4, 0, 4])
    assert set(guess.get_ydata()) == {0.1}
    assert "log-SNR (nats)" in axes.get_xlabel()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["noisy", "clean", "guessing, 0.1"]
    with pytest.raises(ValueError, match="clean must have shape"):
        plots.accuracy_by_noise_level(tmp_path / "a.png", [-4.0, 0.0, 4.0], {"clean": [0.1, 0.3]}, chance=0.1)


def test_panels_draw_curves_with_shades_and_raise_on_other_lengths(tmp_path):
    x, panel = np.arange(3.0), {"a": np.array([1.0, np.nan, 30.0]), "b": np.ones(3)}
    shades = {"left": {"a": np.ones(3)}}
    path = curves.panels(
        tmp_path / "c.png", x, {"left": panel, "right": panel}, xlabel="x", ylabel="y", title="t", shades=shades
    )
    assert path.stat().st_size > 1000
    with pytest.raises(ValueError, match=r"a must have the shape \(3,\) of x, got \(2,\)"):
        curves.panels(path, x, {"": {"a": np.ones(2)}}, xlabel="x", ylabel="y")


def test_levels_that_depend_on_nothing_differ_from_every_curve(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(curves, "save", lambda figure, path: saved.append(figure) or path)
    values = {name: np.arange(3.0) for name in "abcdefgh"}
    levels = {"recall": {"real": 0.9, "chance": 0.1}, "precision": {"real": 0.5}}
    curves.metric_panels(
        tmp_path / "m.png", np.arange(3.0), {"recall": values, "precision": values}, xlabel="x", levels=levels
    )
    (figure,) = saved
    first, second = figure.axes
    real, chance = first.get_lines()[8:]
    assert [list(line.get_ydata()) for line in (real, chance)] == [[0.9, 0.9], [0.1, 0.1]]
    assert list(second.get_lines()[8].get_ydata()) == [0.5, 0.5]
    look = lambda line: (line.get_color(), line.get_linestyle())
    assert len({look(line) for line in first.get_lines()}) == 10
    assert look(second.get_lines()[8]) == look(real)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*"abcdefgh", "real", "chance"]


# ---- posteriors


@pytest.mark.slow
def test_pair_plots_show_every_pair_the_reference_and_the_truth(tmp_path, figures):
    x = np.random.default_rng(0).normal(size=(200, 3))
    calibration.pair_plot(tmp_path / "pair.png", x, reference=x + 1.0, truth=x[0], title="Posterior")
    panels = [axes for axes in figures[0].axes if axes.axison]
    assert [axes.get_xlabel() for axes in panels[-3:]] == ["θ₁", "θ₂", "θ₃"]
    assert len(panels) == 6
    assert [text.get_text() for text in figures[0].legends[0].texts] == ["posterior", "reference", "truth"]
    assert len(panels[1].collections) == 2
    assert panels[0].lines[0].get_xdata()[0] == x[0, 0]
    calibration.pair_plot(tmp_path / "many.png", np.tile(x, 4)[:, :11])
    assert figures[1].get_suptitle() == "Posterior (the first 10 of 11 parameters)"
    with pytest.raises(ValueError, match="reference must hold finite samples"):
        calibration.pair_plot(tmp_path / "pair.png", x, reference=x[:, :2])


def test_coverage_and_ranks_are_drawn_over_the_band_of_an_exact_posterior(tmp_path, figures):
    levels = np.linspace(0.1, 0.9, 9)
    calibration.coverage_curves(tmp_path / "coverage.png", levels, {"θ₁": levels, "narrow": 0.8 * levels}, 400)
    axes = figures[0].axes[0]
    band = axes.collections[0].get_paths()[0].vertices
    assert axes.get_legend().texts[0].get_text() == "exact posterior, 95% of 400 simulations"
    assert band[:, 1].min() < 0.1 < 0.9 < band[:, 1].max() < 0.95
    np.testing.assert_array_equal(axes.lines[2].get_ydata(), 0.8 * levels)
    uniform = np.arange(400)[:, None] % 20
    calibration.rank_plots(tmp_path / "ranks.png", np.concatenate([uniform, 0 * uniform], axis=1), 19)
    left, right = figures[1].axes
    assert left.get_ylim()[1] > 19
    assert len(right.lines) == 3
    np.testing.assert_allclose(right.lines[0].get_ydata(), 0.0, atol=1e-12)
    with pytest.raises(ValueError, match="ranks must be"):
        calibration.rank_plots(tmp_path / "ranks.png", uniform, 18)
    with pytest.raises(ValueError, match=r"coverage\['a'\] must have shape"):
        calibration.coverage_curves(tmp_path / "coverage.png", levels, {"a": [0.5]}, 400)
