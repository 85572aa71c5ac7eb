"""The script that makes the table of ``few_steps``: exact slopes and flows, and tables through the file and back."""

import importlib.util
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import densities
from scorekit.samplers._tabulated import TABLES

SCRIPT = Path(__file__).parents[1] / "golden" / "tune_few_steps.py"


@pytest.fixture(scope="module")
def tabulation():
    spec = importlib.util.spec_from_file_location("tune_few_steps", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_slopes_are_of_the_guided_mixture(tabulation):
    dim = 8
    data = tabulation.random_mixture(np.random.default_rng(dim), dim)
    in_class = jnp.arange(8) % 3 == jnp.array([[0], [1]])
    u, angle = jax.random.normal(jax.random.key(0), (2, dim)), 0.7
    noise = jnp.cos(angle), jnp.sin(angle)
    own = data.predict(u, *noise).x0
    of_class = [jax.tree.map(lambda leaf, k=k: leaf[k::3], data).predict(x, *noise).x0 for k, x in enumerate(u)]
    for scale in (0.0, 1.0, 3.0):
        expected = (noise[0] * u - own - scale * (jnp.stack(of_class) - own)) / noise[1]
        found = tabulation.slope(data, in_class, jnp.asarray(scale), u, angle)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_references_are_exact_flows(tabulation):
    dim, modes = 3, 2  # equal ones: a Gaussian, guided or not
    one = densities.gaussian(jnp.array([0.5, -0.2, 0.0]), std=0.3, factor=jnp.array([[1.0], [0.4], [0.0]]))
    data = densities.mixture([0.4, 0.6], [one] * modes)
    noise = jax.random.normal(jax.random.key(1), (4, dim))
    alpha, sigma = np.cos(tabulation.TOP), np.sin(tabulation.TOP)
    found = tabulation.exact_flow(data, jnp.ones((4, modes), bool), jnp.asarray(5.0), noise)
    np.testing.assert_allclose(found, one.flow(sigma * noise, (alpha, sigma), (1.0, 0.0)), atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 20])
def test_tables_pass_through_their_free_parameters_and_the_file(tabulation, n):
    rows = TABLES["1"][str(n)]
    table = tabulation.as_table(rows)
    for leaf, expected in zip(tabulation.table_of(tabulation.free_of(table, n)), table, strict=True):
        np.testing.assert_allclose(leaf, expected, atol=2e-4)
    assert json.loads(tabulation.as_text({"1": {str(n): rows}})) == {"1": {str(n): rows}}
    np.testing.assert_allclose(np.concatenate(tabulation.as_rows(table)), np.concatenate(rows), rtol=1e-4, atol=1e-4)
    t, ends = table.evaluations, table.angles
    weights = tabulation.adams(ends, t)[2:, :3]  # exact for slopes that are polynomials of the angle
    for power in range(3 if n < 10 else 0):
        seen = jnp.stack([t[k : k - 3 if k > 2 else None : -1] ** power for k in range(2, n)])
        exact = (ends[3:] ** (power + 1) - ends[2:-1] ** (power + 1)) / (power + 1) / jnp.diff(ends)[2:]
        np.testing.assert_allclose(jnp.sum(weights * seen, 1), exact, atol=1e-5)


@pytest.mark.slow
def test_the_file_of_tables_is_tuned(tabulation, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tabulation, "SIZES", {2: (1, 16)})
    tabulation.main(["5", "--updates=3", "--rate=0.02", "--guidance_scale=3", f"--out={tmp_path / 'tables.json'}"])
    losses = [float(value) for value in re.findall(r"update \d+/3: (\S+),", capsys.readouterr().out)]
    assert len(losses) == 2
    assert np.all(np.isfinite(losses))
    tables = json.loads((tmp_path / "tables.json").read_text())
    assert list(tables) == ["1", "2", "3", "4", "8"]
    assert {scale: tables[scale] for scale in TABLES} == TABLES
    change = np.abs(np.concatenate(tables["3"]["5"]) - np.concatenate(TABLES["2"]["5"]))  # from where it starts
    assert 1e-4 < np.max(change) < 0.1
