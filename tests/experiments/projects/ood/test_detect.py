"""``experiments.projects.ood.detect`` from end to end, on real images, with a model whose denoiser is exact."""

import contextlib
import io
import json

import numpy as np
import pytest
from programs import give, given, succeeds

from experiments.projects.ood import experiment, report
from experiments.projects.ood.experiment import Outcome
from experiments.projects.ood.model import open_model
from experiments.projects.ood.scores import Separation
from experiments.tasks import saved
from experiments.tasks.flows import model as flows


@pytest.fixture(scope="module")
def finished(make_config, tmp_path_factory):
    """The outcome of an experiment, and what it printed to both streams."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        outcome = experiment.run(make_config(), tmp_path_factory.mktemp("ood"))
    return outcome, out.getvalue(), err.getvalue()


@pytest.mark.slow
def test_run_measures_every_statistic_of_every_set(finished):
    outcome, out, err = finished
    assert "scoring 184/184 (100%)" in err  # 1 + 4 + 5 + 5 + 15 + 6 + 10 evaluations of each of four batches
    assert "log p: 480 images, " in out
    assert list(outcome.images) == ["calibration", "in distribution", "mirrored (near)", "photos"]


@pytest.mark.slow
def test_digits_are_separated_from_photographs(load_program, finished, make_config, monkeypatch, tmp_path, capsys):
    """Every score that is two-sided separates the photographs; the near set is harder; missing sets are printed."""
    program = load_program("experiments.projects.ood.detect")
    monkeypatch.setattr(experiment, "run", lambda *_: finished[0])
    give(workdir=tmp_path)
    program.main(make_config())
    printed = capsys.readouterr().out
    assert "\nlikelihood and typicality of each set\n" in printed
    assert "sklearn_digits (in) against mirrored (near) (out), 8 x 8" in printed
    assert "left out: mnist is not in" in printed
    assert "python -m experiments.projects.ood.fetch mnist" in printed
    metrics = json.loads((tmp_path / "ood.json").read_text())
    assert metrics["photos/score norms, Gaussian (MSMA)"] > 0.97
    assert metrics["photos/density of states (DoSE)"] > 0.97
    near = [value for name, value in metrics.items() if name.startswith("mirrored (near)/")]
    far = [value for name, value in metrics.items() if name.startswith("photos/")]
    assert len(near) == len(far) == 13
    assert metrics["photos/density of states, decorrelated"] > 0.97
    assert 0.6 < np.mean(near) < np.mean(far)
    page = (tmp_path / "ood.html").read_text()
    assert page.count("<img") == 4
    assert "AUROC, photos: best / likelihood" in page


@pytest.mark.slow
def test_mode_is_more_likely_and_less_typical(finished):
    outcome = finished[0]
    ascent, calibration = outcome.ascent, outcome.statistics["calibration"]["log p"]
    assert np.all(ascent.log_p_after > ascent.log_p_before + 10)
    assert np.all(ascent.log_p_after > calibration.max())
    assert np.all(ascent.p_after < 0.02)
    assert np.median(ascent.p_before) > 0.1


@pytest.mark.slow
def test_halves_do_not_overlap_and_the_near_set_is_made_of_the_second(finished):
    images = finished[0].images
    rows = {name: {image.tobytes() for image in found} for name, found in images.items()}
    assert not rows["calibration"] & rows["in distribution"]
    np.testing.assert_array_equal(images["mirrored (near)"][:, :, ::-1], images["in distribution"])
    assert all(found.shape[1:] == (8, 8, 1) and found.max() <= 16 for found in images.values())
    assert len(finished[0].left_out) == 1


@pytest.mark.slow
def test_a_flow_is_scored_by_its_exact_density_of_all_classes(make_config, tmp_path):
    fields = "network.features=8 network.steps=1 training.steps=40 training.warmup_steps=1 evaluation.at_end=False"
    folder = tmp_path / "flow"
    succeeds("train", *given("images/digits_flow", fields), f"--workdir={folder}")
    config = make_config(kind="flow", run=str(folder), near="shifted")
    outcome = experiment.run(config, tmp_path / "ood")
    assert {row.score for row in outcome.rows} == {"likelihood", "typicality |-log p - H|", "input complexity"}
    assert np.all(outcome.ascent.log_p_after > outcome.ascent.log_p_before)
    dataset = experiment.InDistribution(config.in_distribution, config.side, config.bins)
    run = flows.open_run(saved(str(folder), "flow"), folder)
    scored, x = open_model(config, dataset, tmp_path), dataset.to_model(dataset.test["x"][:3])
    given_class = [flows.log_prob(run.model, run.params, x, {"labels": np.full(3, k)}) for k in range(10)]
    expected = np.logaddexp.reduce(np.asarray(given_class, np.float64)) - np.log(10)
    np.testing.assert_allclose(scored.log_density(None, x), expected, rtol=1e-4)


def test_effect_table_shows_when_likelihood_prefers_another_set(config):
    """Simple images that are more likely than the data, and noise that is less likely; typicality rejects both."""
    rng = np.random.default_rng(0)
    log_p = {"calibration": 0.0, "in distribution": 0.0, "noise": -9.0, "flat": 9.0}
    images = {name: np.zeros((200, 8, 8, 1), np.uint8) for name in log_p}
    found = {
        name: {"log p": mean + rng.normal(size=(200, 1)), "code length": np.full((200, 1), 100.0 - mean)}
        for name, mean in log_p.items()
    }
    rows = [
        Separation(score, name, area, area, area, area, area)
        for name in ("noise", "flat")
        for score, area in (("likelihood", float(name == "noise")), ("typicality |-log p - H|", 1.0), ("best", 0.9))
    ]
    outcome = Outcome("", images, found, "best", {}, rows, {}, None, [])
    table = report.effect_table(outcome)
    names, _, _, likelier, typical, *areas = zip(*table.rows, strict=True)
    assert names == ("flat", "in distribution", "noise")
    np.testing.assert_allclose(likelier, [1.0, 0.5, 0.0], atol=0.01)
    np.testing.assert_allclose(typical, [0.0, 0.95, 0.0], atol=0.04)
    assert areas == [(0.0, None, 1.0), (1.0, None, 1.0), (0.9, None, 0.9)]
    assert "flat" in report.as_text(config, outcome)
