"""Files of tuned grids: what is saved is restored, damaged files and other solvers are errors."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import schedules, solvers
from scorekit.tuning import Tuned, load_grid, restore_solver, save_grid

FLOW = schedules.RectifiedFlow()


@pytest.mark.parametrize("coefficients", [False, True])
def test_load_grid_restores_grid_and_solver(tmp_path, coefficients):
    ts, solver = jnp.array([0.97, 0.6, 0.4, 0.1, 0.0]), solvers.AdamsBashforth(order=2)
    tuned = solver
    if coefficients:
        tuned = jax.tree.map(lambda leaf: 1.1 * leaf, solvers.precomputed(solver, FLOW, ts))
    found = Tuned(ts, tuned, jnp.array(0.31), jnp.array(0.17), {})
    path = save_grid(tmp_path / "deep" / "grid.json", found, FLOW)
    assert [p.name for p in path.parent.iterdir()] == ["grid.json"]
    saved = load_grid(path)
    np.testing.assert_array_equal(saved.ts, found.ts)
    assert (saved.steps, saved.solver) == (4, "AdamsBashforth(order=2, coordinate='flow')")
    assert (saved.before, saved.after) == (float(found.before), float(found.after))
    again = restore_solver(saved, solver, FLOW)
    assert jax.tree.structure(again) == jax.tree.structure(found.solver)
    chex.assert_trees_all_equal(again, found.solver)


@pytest.fixture
def saved_path(tmp_path):
    plain = Tuned(jnp.array([1.0, 0.5, 0.0]), solvers.Euler(), jnp.array(0.5), jnp.array(0.25), {})
    return save_grid(tmp_path / "grid.json", plain, FLOW)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "damaged, not JSON"),
        (lambda text: "[" * 100_000, "damaged, not JSON"),
        (lambda text: "[1, 2]", "not in its format"),
        (lambda text: '{"ts": [1.0, 0.0]}', "not in its format"),
        (lambda text: text.replace("version 1", "version 9"), "not in its format"),
        (lambda text: text.replace('"steps": 2', '"steps": 3'), r"damaged, ValueError: ts must be 3 \+ 1"),
        (lambda text: text.replace("[1.0, 0.5, 0.0]", "[1.0, 1.5, 0.0]", 1), "damaged, ValueError: ts must be"),
        (lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "rows"}), "damaged, KeyError"),
    ],
)
def test_load_grid_raises_for_a_damaged_file(saved_path, damage, message):
    saved_path.write_text(damage(saved_path.read_text()))
    with pytest.raises(ValueError, match=f"path must be a file of save_grid, got {saved_path}: {message}"):
        load_grid(saved_path)


def test_restore_solver_raises_for_another_solver_or_schedule(saved_path):
    saved = load_grid(saved_path)
    assert restore_solver(saved, solvers.Euler(), FLOW) == solvers.Euler()
    damaged, euler, cosine = saved._replace(rows=(np.zeros(3),)), solvers.Euler(), schedules.Cosine()
    of_other = {"solver": (saved, solvers.Heun(), FLOW), "schedule": (saved, euler, cosine)}
    for name, arguments in {**of_other, "saved": (damaged, euler, FLOW)}.items():
        with pytest.raises(ValueError, match=f"^{name} must"):
            restore_solver(*arguments)
    with pytest.raises(ValueError, match="no such file"):
        load_grid(saved_path.with_name("other.json"))
