"""The benchmark of posteriors at its smallest: exact numbers of its problems, cells, and flags."""

import jax
import numpy as np
import pytest
from programs import give

from experiments.cli.config import ConfigError
from experiments.projects.posteriors.calibration import cells, problems
from experiments.projects.posteriors.inverse.posteriors import times_matrix
from scorekit import densities


@pytest.fixture
def program(load_program, capsys):
    module = load_program("experiments.projects.posteriors.calibration.__main__")

    def run(**given):
        give(**given)
        module.main(None)
        return capsys.readouterr().out

    return run


def test_operators_are_linear_and_observe_what_they_say():
    ranks = {name: np.linalg.matrix_rank(problems.matrix_of(name), tol=1e-5) for name in problems.OPERATORS}
    assert ranks["denoise"] == 64
    assert ranks["fourier"] == 25
    rows = np.asarray(problems.matrix_of("fourier"))[:25]
    np.testing.assert_allclose(rows @ rows.T, np.eye(25), atol=1e-5)
    assert ranks["inpaint"] == int(np.asarray(problems.matrix_of("inpaint")).sum()) < 64
    x = jax.random.normal(jax.random.key(0), (3, 64))
    for name, operator in problems.OPERATORS.items():
        np.testing.assert_allclose(times_matrix(problems.matrix_of(name))(x), operator(x), atol=1e-4)


def test_scores_of_exact_samples_and_of_narrow_ones(tmp_path):
    """The posterior of the mixture, by its components; half of the width has less coverage."""
    law = problems.law("mixture", tmp_path, 1)
    cell = cells.Cell("mixture", "fourier", 0.1, "annealed", 40, 200, 0, 0, 0)
    (x, y), matrix = cells.observed(cell, law), problems.matrix_of("fourier")
    exact = problems.exact(jax.random.key(0), law.data, matrix, y, 0.1, 0)
    assert abs(exact.weights.mean(0) - np.array([0.3, 0.7])).max() < 0.05  # it does not observe the mode
    posteriors = []
    for each in np.asarray(y, float):
        parts = [problems.condition(law.data.component(k), np.asarray(matrix, float), each, 0.1)[0] for k in range(2)]
        posteriors.append(densities.mixture([0.3, 0.7], parts).sample(jax.random.key(1), (200,)))
    found = np.stack(posteriors)
    right = cells.scores(found, np.asarray(x), exact)
    assert abs(right["coverage_0.9"] - 0.9) < 3 * right["error_0.9"] + 0.01
    assert right["gap"] < 0.03
    mean = found.mean(1, keepdims=True)
    narrow = cells.scores(mean + 0.5 * (found - mean), np.asarray(x), exact)
    assert narrow["coverage_0.9"] < 0.75
    assert cells.scores(np.full((2, 3, 64), np.nan), np.asarray(x)[:2], exact) == {"diverged": 2}


@pytest.mark.slow
def test_every_cell_has_a_row(program, tmp_path):
    flags = dict(law="gaussian,laplace", operator="inpaint", method="mmps,annealed", signals="2", samples="16")
    flags |= dict(stages="3", steps="2", training="100", draws="4", workdir=str(tmp_path / "found"))
    out = program(**flags)
    assert out.count("annealed") == out.count("mmps") == 2
    assert (tmp_path / "found" / "table.txt").read_text().strip() == out.strip()


def test_flags_are_checked(program, tmp_path):
    usual = dict(law="gaussian", method="mmps", noise="0.1", steps="4", workdir=str(tmp_path / "found"))
    for given, message in (
        ({"law": "cauchy"}, "--law=cauchy: must be some of"),
        ({"method": "annealing"}, "did you mean annealed"),
        ({"noise": "0"}, "--noise=0: must be numbers above 0"),
        ({"steps": "many"}, "--steps=many: must be numbers"),
    ):
        with pytest.raises(ConfigError, match=message):
            program(**usual | given)
    assert not (tmp_path / "found").exists()
