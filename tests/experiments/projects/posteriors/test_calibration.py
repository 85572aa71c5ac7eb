"""Calibration of posteriors at its smallest: exact numbers of its problems, rows, flags; and the tasks of SBIBM."""

import json
import sys
from types import ModuleType, SimpleNamespace

import jax
import numpy as np
import pytest
from programs import give
from scipy import stats

from experiments.projects.posteriors import problems, recipes
from scorekit import densities


def test_operators_are_linear_and_observe_what_they_say():
    ranks = {name: np.linalg.matrix_rank(problems.matrix_of(name), tol=1e-5) for name in problems.OPERATORS}
    assert (ranks["denoise"], ranks["fourier"]) == (64, 25)
    rows = np.asarray(problems.matrix_of("fourier"))[:25]
    np.testing.assert_allclose(rows @ rows.T, np.eye(25), atol=1e-5)
    assert ranks["inpaint"] == int(np.asarray(problems.matrix_of("inpaint")).sum()) < 64
    x = jax.random.normal(jax.random.key(0), (3, 64))
    for name, operator in problems.OPERATORS.items():
        np.testing.assert_allclose(x @ problems.matrix_of(name).T, operator(x), atol=1e-4)


def test_scores_of_exact_samples_and_of_narrow_ones(load_program):
    """The posterior of the mixture, by its components; half of the width has less coverage."""
    calibration = load_program("experiments.projects.posteriors.calibration")
    data, _ = problems.law("mixture")
    matrix = problems.matrix_of("fourier")
    x, y = calibration.observed(jax.random.key(0), data, matrix, 40, 0.1)
    exact = problems.exact(data, matrix, y, 0.1)
    assert abs(exact.weights.mean(0) - np.array([0.3, 0.7])).max() < 0.05  # it does not observe the mode
    seen = np.abs(np.asarray(matrix)).sum(1) > 1e-6
    a, parts = np.asarray(matrix, float)[seen], [data.component(k) for k in range(2)]
    moments = [(np.asarray(part.mean, float), np.asarray(part.covariance(), float)) for part in parts]
    noise = 0.01 * np.eye(len(a))
    each = [
        stats.multivariate_normal(a @ mean, a @ c @ a.T + noise).logpdf(np.asarray(y)[:, seen]) for mean, c in moments
    ]
    evidence = np.logaddexp(np.log(0.3) + each[0], np.log(0.7) + each[1])
    np.testing.assert_allclose(exact.log_evidence, evidence, rtol=1e-3, atol=0.01)
    posteriors = []
    for each in np.asarray(y, float):
        parts = [problems.condition(data.component(k), np.asarray(matrix, float), each, 0.1)[0] for k in range(2)]
        posteriors.append(densities.mixture([0.3, 0.7], parts).sample(jax.random.key(1), (200,)))
    samples = np.stack(posteriors)
    coverage, errors, excess = calibration.scores(samples, np.asarray(x), exact.mean)
    assert abs(coverage[17] - 0.9) < 3 * errors[17] + 0.01
    assert excess < 0.03
    mean = samples.mean(1, keepdims=True)
    narrow, _, _ = calibration.scores(mean + 0.5 * (samples - mean), np.asarray(x), exact.mean)
    assert narrow[17] < 0.75  # of 90 %


@pytest.mark.slow
def test_every_cell_has_a_row(load_program, capsys, tmp_path):
    module = load_program("experiments.projects.posteriors.calibration")
    give(law="gaussian,mixture", operator="inpaint", method="mmps,annealed", signals=2, samples=16, stages=3, steps=2)
    give(workdir=tmp_path / "table")
    module.main(None)
    out = capsys.readouterr().out
    rows = [line.split()[:3] for line in out.splitlines() if line.startswith(("gaussian", "mixture"))]
    assert rows == [[law, "inpaint", method] for law in ("gaussian", "mixture") for method in ("mmps", "annealed")]
    assert {path.stem for path in tmp_path.glob("table/*.png")} == {"gaussian_inpaint", "mixture_inpaint"}
    assert (tmp_path / "table" / "table.txt").read_text().strip() == out.strip()


@pytest.mark.slow
def test_a_task_of_sbibm_is_trained_and_compared(load_program, tmp_path, monkeypatch):
    """On a task of our own with an exact posterior: theta is uniform in the square, and x is theta with noise."""

    def reference(i):
        draws = np.random.default_rng(i).normal(0.1, 0.2, size=(400, 2))
        return draws[np.abs(draws).max(1) < 1][:300]

    support = SimpleNamespace(lower_bound=-np.ones(2), upper_bound=np.ones(2))
    task = SimpleNamespace(
        dim_theta=2,
        prior_dist=SimpleNamespace(support=support, sample=None, log_prob=None),
        get_prior=lambda key, n: jax.random.uniform(key, (n, 2), minval=-1, maxval=1),
        get_simulator=lambda key: lambda key, theta: theta + 0.2 * jax.random.normal(key, theta.shape),
        get_observation=lambda i: np.full((1, 2), 0.1),
        get_reference_posterior_samples=reference,
    )
    tasks = ModuleType("sbibm_jax.tasks")
    tasks.get_task = lambda name: task  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sbibm_jax.tasks", tasks)
    small = recipes.Recipe({"network.features": 32, "network.blocks": 1, "sampling.steps": 10})
    monkeypatch.setitem(recipes.RECIPES, "two_moons", small)
    module = load_program("experiments.projects.posteriors.sbibm")
    monkeypatch.setattr(module, "_SAMPLES", 300)
    give(tasks="two_moons", simulations=2000, steps=600, observations=1, out=tmp_path / "found")
    module.main(None)
    (row,) = json.loads((tmp_path / "found" / "table.json").read_text())
    assert 0.45 < row["C2ST"] < 0.65
