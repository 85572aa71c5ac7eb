"""Pictures from captions evaluated: what counts as right, real pictures and chance, rows that are kept, and errors."""

import html
import json
import math
import types
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import SQUARES, fails, succeeds

from experiments import data
from experiments.cli.config import ConfigError, load_resolved, save_resolved
from experiments.configs.images import digits_classifier
from experiments.configs.images import smoke as classes
from experiments.data.images import ImageSet
from experiments.projects.text import evaluation_report, evaluators, examples, measures
from experiments.projects.text.cells import Cell, by_style, grid, kept, thresholded
from experiments.projects.text.evaluators import Evaluator
from experiments.projects.text.stages import Stage
from experiments.tasks.classifier import model as classifier
from experiments.tasks.diffusion.metrics.feature_networks import NETWORKS
from experiments.tasks.diffusion.metrics.inception import to_bytes

CAPTIONED: Any = types.SimpleNamespace(
    num_classes=1,
    texts=(
        [["a cat, flat", "flat: cat"], ["a cat, round", "round: cat"], *([f"thing {i}"] * 2 for i in range(4))],
        [["a red cat", "red: cat"], [""]],
    ),
    train={"x": np.zeros((6, 2, 2, 3)), "label": np.zeros(6, int), "subject": np.array([0, 0, 1, 2, 3, 4])},
    test={"x": np.zeros((2, 2, 2, 3)), "label": np.zeros(2, int), "subject": np.array([5, 6])},
)
"""Six training and two test pictures; two of them are of one subject."""


def test_captions_of_one_subject_are_right_and_held_out_ones_are_apart():
    gallery, found = examples.of_captions(CAPTIONED)
    assert len(gallery.texts) == len(set(gallery.texts)) == 4 + 4 + 2
    seen, held_out = found["seen"], found["held out"]
    named = lambda text: {gallery.texts[j] for j in np.flatnonzero(seen.right[seen.texts.index(text)])}
    assert named("a cat, flat") == {"a cat, flat", "flat: cat", "a cat, round", "round: cat"}
    assert named("thing 2") == {"thing 2"}
    assert held_out.texts == ["a red cat", "red: cat"]  # an empty caption is none
    assert held_out.right.sum(1).tolist() == [2, 2]
    assert held_out.rows.tolist() == [0, 0]
    assert len(set(seen.some(3).texts)) == 3
    assert sorted(seen.some(12).texts) == sorted(seen.texts)
    assert len(held_out.some(5).texts) == 5


def test_the_gallery_has_a_thousand_captions_of_training_at_most(monkeypatch):
    monkeypatch.setattr(examples, "MOST_SEEN", 6)
    _, found = examples.of_captions(CAPTIONED)
    assert found["seen"].rows.tolist() == [0, 0, 2, 2, 5, 5]  # three pictures of two captions, evenly spaced


def test_settings_are_all_combinations_with_names_of_their_own():
    cells = grid(["seen", "held out"], [1.0, 3.0], [False, True], [0.0, 0.1])
    assert len({cell.name for cell in cells}) == 16
    assert cells[1].name == "seen, no thresholding, noise 0, γ = 3"
    assert Cell("held out", 1.0).name == "held out, γ = 1"


def test_no_thresholding_leaves_out_its_fields():
    config = classes.get_config()
    config.guidance, config.rules.dynamic_threshold.percentile = ("classifier_free", "dynamic_threshold"), 0.9
    off = thresholded(config, False)
    assert (off.guidance, off.rules.dynamic_threshold.percentile) == (("classifier_free",), None)
    on = thresholded(off, True)
    assert on.guidance == config.guidance
    assert thresholded(config, True).rules.dynamic_threshold.percentile == 0.9


@pytest.mark.slow
def test_a_perfect_evaluator_of_real_pictures_and_one_that_knows_nothing():
    rng = np.random.default_rng(0)
    real = rng.uniform(-1, 1, size=(40, 2, 2, 1)).astype(np.float32)
    some = examples.Examples([f"{i}" for i in range(20)], np.zeros(20, int), np.eye(20, dtype=bool), np.arange(20))
    flat = lambda x: np.asarray(x).reshape(len(x), -1)
    unit = lambda x: flat(x) / np.linalg.norm(flat(x), axis=1, keepdims=True)
    evaluator = Evaluator("pixels", unit, unit(real[:20]), True, "")
    reference = measures.Reference(real, (measures.Features(unit, "", unit(real)),))
    found = measures.measure(real[:20], some, evaluator, reference)
    assert found["R@1"] == [1.0, 0.0]
    assert found["similarity"][0] == pytest.approx(1.0, abs=1e-6)
    assert found["nearest"][0] == pytest.approx(0.0, abs=1e-3)
    assert found["precision"] == [1.0, 0.0]
    chance = measures.chance(evaluator, some)
    np.testing.assert_allclose([chance[f"R@{k}"][0] for k in (1, 5)], [1 / 20, 5 / 20], rtol=1e-5)
    one = measures.nearest(real[:20] + 0.25, measures.Reference(real[:20], ()))["nearest"]
    differences = np.sqrt(((real[:20, None] + 0.25 - real[None, :20]) ** 2).mean((2, 3, 4))).min(1)
    np.testing.assert_allclose(one, [differences.mean(), differences.std(ddof=1) / math.sqrt(20)], rtol=1e-3)


def evaluate(runs, stages, *flags, evaluator="other", is_wrong=False):
    names = ",".join(str(runs(name)) for name in stages.split(","))
    given = ("projects.text.evaluate", f"--stages={names}", f"--evaluator={runs(evaluator)}", *flags)
    return fails(*given, at_once=False) if is_wrong else succeeds(*given)


CASCADE = ("--captions=held_out", "--scales=1,3", "--map_noise=0,0.1", "--num=8")
CREDIT = "Pictures by A & B, CC-BY 4.0"


@pytest.fixture(scope="module")
def evaluated(runs, tmp_path_factory):
    """The folder of an evaluation of a cascade, and what it has printed."""
    out = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageSet, "credit", CREDIT)
        text = evaluate(runs, "low,high", *CASCADE, f"--out={out}")
    return out, text


@pytest.mark.slow
def test_a_cascade_is_evaluated_and_goes_on_where_it_was(runs, evaluated):
    out, text = evaluated
    flags = (*CASCADE, f"--out={out}")
    rows = json.loads((out / "rows.json").read_text())["rows"]
    assert len(rows) == 4 + 2
    row = rows["held out, noise 0.1, γ = 3"]
    assert row["s per picture"][0] > 0
    assert row["pictures"] == [8, 0.0]
    assert 0 <= row["R@1"][0] <= row["R@5"][0] <= 1
    assert row["nearest"][0] > rows["real pictures, held out"]["nearest"][0]
    assert rows["chance, held out"]["R@1"][0] == pytest.approx(1 / len(SQUARES))
    for name in ("over_scale", "over_noise", "trade_off", "drawn_held_out", "scales_held_out"):
        assert (out / f"{name}.png").exists()
    assert "held out, noise 0.1, γ = 3" in text
    page = (out / "report.html").read_text()
    assert page.count("<img") == 5
    assert page.count(html.escape(CREDIT)) == 1
    before = (out / "rows.json").stat().st_mtime_ns
    evaluate(runs, "low,high", *flags)
    assert (out / "rows.json").stat().st_mtime_ns == before
    assert "holds rows of" in evaluate(runs, "low,high", *flags, "--seed=1", is_wrong=True)


class Tiny(nn.Module):
    """A network of one layer, by the output of VGG-16 that is compared."""

    @nn.compact
    def __call__(self, x):
        return {"relu5_3": nn.Dense(4)(x.reshape(len(x), -1))}


@pytest.mark.slow
def test_pictures_are_compared_by_other_features_too(monkeypatch):
    """With a small network in place of VGG-16, whose file of 59 MB has its own tests: the columns and their values."""
    x = np.random.default_rng(0).uniform(-1, 1, size=(60, 4, 4, 3)).astype(np.float32)
    real_ones, drawn = x[:40], x[40:]
    params = Tiny().init(jax.random.key(0), x)["params"]
    tiny = {"load": lambda path: (Tiny(), params, path), "prepare": lambda images, how: images / 255.0}
    monkeypatch.setitem(NETWORKS, "vgg", NETWORKS["vgg"]._replace(**tiny))
    some = examples.Examples([f"{i}" for i in range(20)], np.zeros(20, int), np.eye(20, dtype=bool), np.arange(20))
    flat = lambda x: np.asarray(x).reshape(len(x), -1)
    evaluator = Evaluator("pixels", flat, flat(drawn), True, "")
    dataset: Any = types.SimpleNamespace(train={"x": real_ones}, real=lambda part: part["x"])
    real = measures.reference(dataset, evaluator, measures.vgg_features("file"))
    found = measures.measure(drawn, some, evaluator, real)
    names = ("precision", "recall", "density", "coverage", "Fréchet distance")
    apply: Any = Tiny().apply
    features = lambda x: np.asarray(apply({"params": params}, to_bytes(x) / 255.0)["relu5_3"])
    expected = measures.compared(features(drawn), features(real_ones))
    for name in names:
        np.testing.assert_allclose(found[f"{name} (VGG)"], expected[name], rtol=1e-4, atol=1e-5)
        assert name in found
    assert found["Fréchet distance (VGG)"] != found["Fréchet distance"]
    assert measures.vgg_features(None) == {}


@pytest.mark.slow
def test_a_prior_and_its_decoder_are_evaluated_beside_a_cascade(runs, evaluated, tmp_path):
    flags = ("--captions=held_out", "--scales=3", "--num=8", f"--out={tmp_path}")
    through = (f"--prior={runs('prior')}", f"--beside={evaluated[0]}")
    text = evaluate(runs, "decoder", *flags, *through)
    saved = json.loads((tmp_path / "rows.json").read_text())
    assert saved["rows"].keys() == {"held out, γ = 3", "real pictures, held out", "chance, held out"}
    assert saved["settings"]["prior"] == str(runs("prior"))
    assert saved["rows"]["held out, γ = 3"]["s per picture"][0] > 0
    assert "low of 16 x 16 pixels: held out, noise 0.1, γ = 3" in text
    err = evaluate(runs, "decoder", *flags, *through, "--num=9", is_wrong=True)
    assert "must have the number of pictures of this evaluation, 9, it has 8" in err


@pytest.mark.slow
def test_a_model_of_latents_is_evaluated_by_a_classifier_of_its_pictures(runs, tmp_path):
    flags = ("--scales=1,2", "--num=20", f"--out={tmp_path}")
    text = evaluate(runs, "latent_digits", *flags, evaluator="digits_classifier")
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert rows.keys() == {"classes, γ = 1", "classes, γ = 2", "real pictures, classes", "chance, classes"}
    assert rows["chance, classes"]["accuracy, top 1"][0] == pytest.approx(0.1)
    assert rows["chance, classes"]["accuracy, top 5"][0] == pytest.approx(0.5)
    folder = runs("digits_classifier")
    chosen = types.SimpleNamespace(workdir=folder, step=None)
    opened = classifier.open_logits(load_resolved(folder / "config.json"), chosen)
    dataset = data.build(classes.get_config())
    predicted = opened(jnp.asarray(dataset.real(dataset.test)), jnp.zeros(len(dataset.test["x"]))).argmax(1)
    expected = float(np.mean(np.asarray(predicted) == dataset.test["label"]))
    assert rows["real pictures, classes"]["accuracy, top 1"][0] == pytest.approx(expected, abs=1e-6)
    assert rows["real pictures, classes"]["pictures"] == [len(dataset.test["x"]), 0.0]
    assert "classes, γ = 2" in text


def test_classes_are_evaluated_by_a_classifier(tmp_path, monkeypatch):
    save_resolved(digits_classifier.get_config(), tmp_path / "config.json")
    weights = jnp.eye(4, 3)
    given = []
    opened = lambda config, chosen: given.append(chosen.workdir) or (lambda x, t: 9.0 * x.reshape(len(x), -1) @ weights)
    monkeypatch.setattr(evaluators.classifier, "open_logits", opened)
    labels = np.array([2, 0, 1, 0])
    test, named = {"x": np.zeros((4, 2, 2, 1)), "label": labels}, lambda labels: [f"class {k}" for k in labels]
    pictures: Any = types.SimpleNamespace(num_classes=3, test=test, named=named)
    gallery, found = examples.of_classes(pictures)
    evaluators.check(str(tmp_path), classes.get_config(), "digits")
    evaluator = evaluators.open_evaluator(str(tmp_path), "digits", 2, gallery)
    shown = np.eye(3, 4)[[2, 0, 2, 0]].reshape(4, 2, 2, 1)  # the third one is of another class
    row = measures.retrieval(evaluator.features(shown), evaluator, found["classes"])
    assert given == [str(tmp_path)]
    assert row["accuracy, top 1"] == [0.75, 0.25]
    assert row.keys() == {"accuracy, top 1", "accuracy, top 5"}
    assert measures.chance(evaluator, found["classes"])["accuracy, top 1"][0] == pytest.approx(1 / 3)


def test_captions_are_drawn_in_every_style_once(tmp_path):
    dataset = ImageSet.__new__(ImageSet)
    dataset.styles, dataset.num_classes, dataset.name = ("flat", "round"), 1, "pictures"
    config = types.SimpleNamespace(data=types.SimpleNamespace(label=None))
    stage: Any = Stage("low", config, types.SimpleNamespace(dataset=dataset))  # type: ignore[arg-type]
    texts = ["a cat, flat style", "a cat, round style", "a dog, round style", "a bird"]
    some = examples.Examples(texts, np.zeros(4, int), np.zeros((4, 0), bool), np.arange(4))
    drawn = []

    def painter(cell, asked):
        drawn.append(asked.texts)
        return [np.arange(4.0).reshape(4, 1, 1, 1)], 0.0

    for _ in range(2):
        assert by_style([stage], some, painter, Cell("seen", 1.0), tmp_path / "styles.npz")  # type: ignore[arg-type]
    assert drawn == [["a cat, flat style", "a dog, flat style", "a cat, round style", "a dog, round style"]]
    stages, captions = kept(tmp_path / "styles.npz")
    assert captions == ["a cat", "a dog"]
    assert [x.ravel().tolist() for x in stages] == [[0.0, 1.0], [2.0, 3.0]]
    dataset.styles = ()
    assert not by_style([stage], some, painter, Cell("seen", 1.0), tmp_path / "none.npz")  # type: ignore[arg-type]


def test_the_setting_that_agrees_best_is_shown():
    cells = [Cell("seen", 1.0), Cell("seen", 3.0), Cell("seen", 5.0)]
    rows = {cell.name: {"R@1": [r, 0.0]} for cell, r in zip(cells, (0.1, 0.4, 0.2), strict=True)}
    assert evaluation_report.best_of(cells, rows) == cells[1]


def test_rows_that_were_added_later_stand_beside_those_of_their_curve():
    names = ["seen, γ = 3", "seen, noise 0.1, γ = 10", "chance, seen", "seen, noise 0.1, γ = 2", "seen, γ = 0.5"]
    found = evaluation_report.table({name: {"R@1": [0.5, 0.1]} for name in names}, "features", "").rows
    assert [row[0] for row in found] == [names[i] for i in (4, 0, 3, 1, 2)]


def test_an_evaluator_that_a_stage_was_trained_with_is_named_whatever_its_run_is_opened_with(tmp_path, monkeypatch):
    """By ``--reinterpret_weights`` a decoder is opened with another encoder than that of its training."""
    monkeypatch.setattr(evaluators, "recorded_encoder", {tmp_path / "decoder": "trained"}.get)
    run_with = lambda encoder: types.SimpleNamespace(dataset=types.SimpleNamespace(encoder=encoder))
    stage = lambda name, opened: Stage(str(tmp_path / name), classes.get_config(), run_with(opened))  # type: ignore
    stages = [stage("decoder", "opened"), stage("upper", None)]
    evaluator = lambda identity: Evaluator("", np.asarray, np.zeros((1, 2)), True, identity)
    evaluators.check_independent("runs/e", evaluator("other"), stages)
    for identity in ("trained", "opened"):
        with pytest.raises(ConfigError, match=r"--evaluator=runs/e: must be one that no stage was .*decoder was"):
            evaluators.check_independent("runs/e", evaluator(identity), stages)
