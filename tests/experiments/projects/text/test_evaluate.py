"""Images from captions evaluated: which captions are right, real images and chance, rows that are kept."""

import functools
import html
import json
import math
import types
from typing import Any

import numpy as np
import pytest
from programs import SQUARES, fails, succeeds

from experiments.data.images import ImageSet
from experiments.projects.text import evaluation

CAPTIONED: Any = types.SimpleNamespace(
    num_classes=1,
    texts=(
        [["a cat, flat", "flat: cat"], ["a cat, round", "round: cat"], *([f"thing {i}"] * 2 for i in range(4))],
        [["a red cat", "red: cat"], [""]],
    ),
    train={"x": np.zeros((6, 2, 2, 3)), "label": np.zeros(6, int), "subject": np.array([0, 0, 1, 2, 3, 4])},
    test={"x": np.zeros((2, 2, 2, 3)), "label": np.zeros(2, int), "subject": np.array([5, 6])},
)
"""Six training and two test images; two of them are of one subject."""


def test_captions_of_one_subject_are_right_and_held_out_ones_are_apart(monkeypatch):
    gallery, found = evaluation.of_captions(CAPTIONED)
    assert len(gallery) == len(set(gallery)) == 4 + 4 + 2
    seen, held_out = found["seen"], found["held out"]
    named = lambda text: {gallery[j] for j in np.flatnonzero(seen.right[seen.texts.index(text)])}
    assert named("a cat, flat") == {"a cat, flat", "flat: cat", "a cat, round", "round: cat"}
    assert named("thing 2") == {"thing 2"}
    assert held_out.texts == ["a red cat", "red: cat"]  # an empty caption is none
    assert held_out.right.sum(1).tolist() == [2, 2]
    assert held_out.rows.tolist() == [0, 0]
    assert len(set(seen.some(3).texts)) == 3
    assert sorted(seen.some(12).texts) == sorted(seen.texts)
    assert len(held_out.some(5).texts) == 5
    all_right = evaluation.retrieval(np.ones((3, 1)), np.ones((6, 1)), np.ones((3, 6), bool))
    assert all_right["similarity"] == [1.0, 0.0]  # a mean over the right captions
    monkeypatch.setattr(evaluation, "MOST_SEEN", 6)
    _, found = evaluation.of_captions(CAPTIONED)
    assert found["seen"].rows.tolist() == [0, 0, 2, 2, 5, 5]  # three images of two captions, evenly spaced


@pytest.mark.slow
def test_a_perfect_evaluator_of_real_images_and_one_that_knows_nothing():
    rng = np.random.default_rng(0)
    real = rng.uniform(-1, 1, size=(40, 2, 2, 1)).astype(np.float32)
    flat = lambda x: np.asarray(x).reshape(len(x), -1)
    unit = lambda x: flat(x) / np.linalg.norm(flat(x), axis=1, keepdims=True)
    evaluator, right = evaluation.Evaluator(unit, unit(real[:20])), np.eye(20, dtype=bool)
    found = evaluation.measure(real[:20], right, evaluator, evaluation.Reference(real, unit(real)))
    assert found["R@1"] == [1.0, 0.0]
    assert found["similarity"][0] == pytest.approx(1.0, abs=1e-6)
    assert found["nearest"][0] == pytest.approx(0.0, abs=1e-3)
    assert found["precision"] == [1.0, 0.0]
    chance = evaluation.chance(right)
    np.testing.assert_allclose([chance[f"R@{k}"][0] for k in (1, 5)], [1 / 20, 5 / 20], rtol=1e-5)
    one = evaluation.nearest(real[:20] + 0.25, real[:20])["nearest"]
    differences = np.sqrt(((real[:20, None] + 0.25 - real[None, :20]) ** 2).mean((2, 3, 4))).min(1)
    np.testing.assert_allclose(one, [differences.mean(), differences.std(ddof=1) / math.sqrt(20)], rtol=1e-3)


def evaluate(runs, stages, *flags, evaluator="other", end=succeeds):
    names = ",".join(str(runs(name)) for name in stages.split(","))
    return end("projects.text.evaluate", f"--stages={names}", f"--evaluator={runs(evaluator)}", *flags)


@pytest.mark.slow
def test_rows_are_kept_and_added(runs, tmp_path, monkeypatch):
    credit = "Images by A & B, CC-BY 4.0"
    monkeypatch.setattr(ImageSet, "credit", credit)
    flags = ("--num=8", f"--out={tmp_path}")
    evaluate(runs, "low", *flags, "--captions=held_out", "--scales=3")
    first = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert "held out, γ = 3 …" not in evaluate(runs, "low", *flags, "--scales=1,3")
    saved = json.loads((tmp_path / "rows.json").read_text())
    rows = saved["rows"]
    assert len(rows) == 2 * (2 + 2)
    assert first.items() <= rows.items()
    row = rows["held out, γ = 3"]
    assert row["images"] == [8, 0.0]
    assert 0 <= row["R@1"][0] <= row["R@5"][0] <= 1
    assert row["nearest"][0] > rows["real images, held out"]["nearest"][0]
    assert rows["real images, seen"].keys() == {"R@1", "R@5", "similarity", "images"}
    assert rows["chance, held out"]["R@1"][0] == pytest.approx(1 / len(SQUARES))
    assert rows["seen, γ = 1"] != rows["seen, γ = 3"]
    page = (tmp_path / "report.html").read_text()
    assert (page.count("<img"), page.count(html.escape(credit))) == (5, 1)
    message = "holds rows of {'seed': 0}, not of {'seed': 1}"
    assert message in evaluate(runs, "low", *flags, "--seed=1", end=functools.partial(fails, at_once=False))


@pytest.mark.slow
def test_a_prior_and_its_decoder_are_evaluated_by_encoders_that_they_were_not_trained_with(runs, tmp_path):
    flags = (f"--prior={runs('prior')}", "--captions=held_out", "--scales=3", "--num=8", f"--out={tmp_path}")
    assert "held out, γ = 3" in evaluate(runs, "decoder", *flags)
    wrong = evaluate(runs, "decoder", *flags, evaluator="contrastive", end=functools.partial(fails, at_once=False))
    assert "contrastive: must be one that no stage was trained with, " in wrong
