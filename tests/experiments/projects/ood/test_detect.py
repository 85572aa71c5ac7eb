"""Digits against other images by every statistic, with a model whose denoiser is exact, and the program."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import succeeds

from experiments.projects.ood import detect, scores, statistics
from experiments.projects.ood.data import CALIBRATION, OWN, gather
from experiments.projects.ood.model import along_flow, first_time
from experiments.projects.ood.scores import Separation
from scorekit import denoisers, densities, schedules, typicality

QUICK = statistics.Settings(bound_times=4, path_steps=6, reconstruction_steps=3, batch_size=120)


@pytest.mark.slow
def test_scores_separate_photographs_and_batches_of_mirrored_digits(exact, digits, tmp_path):
    """Every score that is two-sided separates the photographs; the near set is harder."""
    sets = gather(digits, ["mirrored"], ["photos"], 120, 0)
    found = statistics.measure(exact, digits, sets, tmp_path, QUICK, {})
    others = {name: found[name] for name in ("mirrored (near)", "photos")}
    rows = scores.separate(scores.make_scores(found[CALIBRATION]), found[OWN], others, 0)
    auroc = {name: {row.score: row.auroc for row in rows if row.dataset == name} for name in others}
    assert all(0 <= row.low <= row.auroc <= row.high <= 1 for row in rows)
    for score in ("score norms, Gaussian (MSMA)", "density of states (DoSE)", "density of states, decorrelated"):
        assert auroc["photos"][score] > 0.97
    near, far = (np.mean(list(each.values())) for each in auroc.values())
    assert 0.6 < near < far
    rejected = scores.rejected_by_batch(found[CALIBRATION], {OWN: found[OWN], **others}, (1, 8), 0)
    assert rejected["photos"][1] == 1.0
    assert rejected[OWN][1] < 0.3


def test_the_effect_table_shows_when_the_likelihood_prefers_another_set():
    """Simple images that are more likely than the data, and noise that is less likely; typicality rejects both."""
    rng = np.random.default_rng(0)
    log_p = {CALIBRATION: 0.0, OWN: 0.0, "noise": -9.0, "flat": 9.0}
    found = {
        name: {"log p": mean + rng.normal(size=(200, 1)), "code length": np.full((200, 1), 100.0 - mean)}
        for name, mean in log_p.items()
    }
    rows = [
        Separation(score, name, area, area, area, area, area)
        for name in ("noise", "flat")
        for score, area in (("likelihood", float(name == "noise")), ("typicality |-log p - H|", 1.0))
    ]
    names, bits, _, likelier, typical, *areas = zip(*detect.effect_table(found, rows, 64).rows, strict=True)
    assert names == ("flat", OWN, "noise")
    np.testing.assert_allclose(bits, [91 / 64, 100 / 64, 109 / 64])
    np.testing.assert_allclose(likelier, [1.0, 0.5, 0.0], atol=0.01)
    np.testing.assert_allclose(typical, [0.0, 0.95, 0.0], atol=0.04)
    assert areas == [(0.0, None, 1.0), (1.0, None, 1.0)]


@pytest.mark.slow
def test_density_along_the_flow_is_accurate_in_flat_regions():
    """Half of the values vary less than the noise of the smallest level, as black parts of images do."""
    schedule, d = schedules.Cosine(), 64
    t_min = first_time(schedule, 256)
    factor = jnp.diag(jnp.geomspace(0.01, 1.0, d))[:, d // 2 :]
    density = densities.gaussian(jnp.zeros(d), factor=factor, std=1e-4)
    noisy = density.marginal(schedule.alpha(t_min), schedule.sigma(t_min))
    x = noisy.sample(jax.random.key(0), (10,))
    log_density = along_flow(denoisers.exact_denoiser(density, schedule), schedule, t_min, steps=10, probes=1)
    np.testing.assert_allclose(jax.jit(log_density)(jax.random.key(1), x), noisy.log_density(x), atol=0.05 * d)


@pytest.mark.slow
def test_statistics_continue_unless_the_settings_or_a_set_have_changed(exact, digits, tmp_path, monkeypatch):
    sets = {CALIBRATION: digits.test["x"][:6], "photos": digits.test["x"][6:9]}
    few, computed, make = QUICK._replace(batch_size=4), [], statistics.make_statistics

    def counted(*arguments):
        """Statistics that record their names."""
        note = lambda name, compute: lambda *inputs: computed.append(name) or compute(*inputs)
        return {name: note(name, compute) for name, compute in make(*arguments).items()}

    monkeypatch.setattr(statistics, "make_statistics", counted)
    measure = lambda settings=few: statistics.measure(exact, digits, sets, tmp_path, settings, {"model": "a"})
    first = measure()
    assert computed.count("norms") == 3  # batches of 4 and 2, and of 3
    assert first["photos"]["norms"].shape == (3, 5)
    assert len(first["photos"]) == 8
    ts = exact.schedule.time_at(jnp.asarray(few.log_snrs, jnp.float32))
    x = digits.to_model(sets[CALIBRATION])
    expected = jax.jit(lambda x: typicality.score_norms(exact.denoiser, exact.schedule, x, ts))(x)
    np.testing.assert_allclose(first[CALIBRATION]["norms"], expected, rtol=1e-4)  # whatever the batches

    (tmp_path / "one_step.npz").unlink()
    (tmp_path / "mine.npz").write_text("of somebody else")
    computed.clear()
    chex.assert_trees_all_equal(measure(), first)
    assert set(computed) == {"one step"}
    sets["photos"] = sets["photos"][::-1]
    for settings in (few, few._replace(path_steps=7)):
        computed.clear()
        measure(settings)
        assert len(set(computed)) == 7
    assert (tmp_path / "mine.npz").exists()


@pytest.mark.slow
def test_a_run_is_scored_from_a_shell_and_goes_on_where_it_was(digits_run, tmp_path):
    flags = [f"--workdir={digits_run}", "--examples=20", "--near=mirrored", "--probes=1", "--likelihood_steps=2"]
    out = succeeds("projects.ood.detect", *flags, f"--out={tmp_path / 'ood'}")
    assert "sklearn_digits against mirrored (near)" in out
    assert "log p: 80 images, " in out
    found = json.loads((tmp_path / "ood" / "ood.json").read_text())
    assert len(found) == 2 * 13
    assert all(0 <= value <= 1 for value in found.values())
    assert (tmp_path / "ood" / "ood.html").read_text().count("<img") == 1
    again = succeeds("projects.ood.detect", *flags, f"--out={tmp_path / 'ood'}")
    assert "log p: 80 images, " not in again
    assert json.loads((tmp_path / "ood" / "ood.json").read_text()) == found
