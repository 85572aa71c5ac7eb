"""Tuned grids as small JSON files."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import checked
from scorekit.checks import check_finite
from scorekit.io import as_path, check_regular, parse_json, write_atomic
from scorekit.solvers.precomputed import PrecomputedSolver
from scorekit.tuning.tuned import Tuned
from scorekit.typing import Array, Schedule, Solver

_FORMAT = "scorekit tuned grid, version 1"


class SavedGrid(NamedTuple):
    """The content of a file of :func:`save_grid`.

    Attributes:
      ts: the grid ``(n + 1,)``.
      solver: the ``repr`` of the solver.
      schedule: the ``repr`` of the schedule.
      alpha: signal scale at ``ts``.
      sigma: noise scale at ``ts``.
      before: held-out error of the best grid before tuning, in units of the data.
      after: held-out error of this grid.
      rows: the leaves of the solver's coefficients if they were tuned, else ``None``.

    >>> ts = jnp.array([1.0, 0.0])
    >>> SavedGrid(ts, "Euler()", "Linear()", (0.0, 1.0), (1.0, 0.0), before=0.5, after=0.25, rows=None).steps
    1
    """

    ts: Array
    solver: str
    schedule: str
    alpha: tuple[float, ...]
    sigma: tuple[float, ...]
    before: float
    after: float
    rows: tuple[Array, ...] | None

    @property
    def steps(self) -> int:
        """The number of steps."""
        return self.ts.shape[0] - 1


@checked
def save_grid(path: str | os.PathLike[str], tuned: Tuned, schedule: Schedule) -> Path:
    """Writes the grid, its solver and schedule, and its errors to a file, atomically.

    Args:
      path: the JSON file to write; its folder is created.
      tuned: result of :func:`~scorekit.tuning.tune`.
      schedule: the schedule of the tuning, whose noise levels at ``tuned.ts`` are saved.

    Returns:
      The path of the file.

    >>> import tempfile
    >>> from scorekit import schedules, solvers
    >>> tuned = Tuned(jnp.array([1.0, 0.25, 0.0]), solvers.Euler(), jnp.array(0.5), jnp.array(0.25), {})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saved = load_grid(save_grid(f"{folder}/grid.json", tuned, schedules.RectifiedFlow()))
    >>> saved.steps, saved.ts, saved.solver
    (2, Array([1.  , 0.25, 0.  ], dtype=float32), 'Euler()')
    """
    tuned_rows = tuned.solver if isinstance(tuned.solver, PrecomputedSolver) else None
    fields = {
        "format": _FORMAT,
        "solver": repr(tuned.solver if tuned_rows is None else tuned_rows.base),
        "schedule": repr(schedule),
        "steps": tuned.ts.shape[0] - 1,
        "error_before": float(tuned.before),
        "error_after": float(tuned.after),
        "ts": _as_list(tuned.ts),
        "alpha": _as_list(schedule.alpha(tuned.ts)),
        "sigma": _as_list(schedule.sigma(tuned.ts)),
        "rows": None if tuned_rows is None else [_as_list(leaf) for leaf in jax.tree.leaves(tuned_rows.rows)],
    }
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items())
    return write_atomic(path, f"{{\n{lines}\n}}\n")


def load_grid(path: str | os.PathLike[str]) -> SavedGrid:
    """Reads a file of :func:`save_grid`.

    Args:
      path: the JSON file.

    Returns:
      The content of the file.

    >>> load_grid("/nowhere")
    Traceback (most recent call last):
    ValueError: path must be a file of save_grid, got /nowhere: no such file
    """

    def invalid(why: str) -> ValueError:
        return ValueError(f"path must be a file of save_grid, got {path}: {why}")

    try:
        check_regular(path)
        fields = parse_json(as_path(path).read_text(), "it")
    except OSError as error:
        raise invalid("no such file" if isinstance(error, FileNotFoundError) else str(error)) from error
    except (ValueError, RecursionError) as error:
        raise invalid(f"damaged, not JSON ({error})") from error
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        raise invalid(f'not in its format, "format": "{_FORMAT}"')
    try:
        return _parse(fields)
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise invalid(f"damaged, {type(error).__name__}: {error}") from error


@checked
def restore_solver(saved: SavedGrid, solver: Solver, schedule: Schedule) -> Solver:
    """The solver to use on ``saved.ts``: ``solver`` itself, or with its tuned coefficients.

    Args:
      saved: grid of :func:`load_grid`.
      solver: the solver of the tuning, before it.
      schedule: the schedule of the tuning; the noise levels at ``saved.ts`` must be as in the file.

    >>> from scorekit import schedules, solvers
    >>> ts = jnp.array([1.0, 0.0])
    >>> saved = SavedGrid(ts, "Euler()", "Linear()", (0.0, 1.0), (1.0, 0.0), before=0.5, after=0.25, rows=None)
    >>> restore_solver(saved, solvers.Heun(), schedules.RectifiedFlow())
    Traceback (most recent call last):
    ValueError: solver must be the one that the grid was tuned for, Euler(), got Heun(coordinate='flow')
    """
    if repr(solver) != saved.solver:
        raise ValueError(f"solver must be the one that the grid was tuned for, {saved.solver}, got {solver!r}")
    for name in ("alpha", "sigma"):
        here = np.asarray(getattr(schedule, name)(saved.ts))
        if not np.allclose(here, getattr(saved, name), rtol=1e-3, atol=1e-5):
            raise ValueError(f"schedule must have the noise levels of the tuned one, {saved.schedule}, got {schedule}")
    if saved.rows is None:
        return solver
    likes, structure = jax.tree.flatten(jax.eval_shape(lambda: solver.plan(schedule, saved.ts)))
    if [like.shape for like in likes] != [row.shape for row in saved.rows]:
        raise ValueError(f"saved must hold coefficients of {solver!r}, got {len(saved.rows)} arrays of other shapes")
    rows = [jnp.asarray(row, like.dtype) for row, like in zip(saved.rows, likes, strict=True)]
    return PrecomputedSolver(rows=jax.tree.unflatten(structure, rows), base=solver)


def _parse(fields: dict[str, Any]) -> SavedGrid:
    ts = np.asarray(fields["ts"], float)
    if ts.ndim != 1 or ts.shape != (fields["steps"] + 1,) or not np.all(np.diff(ts) < 0):
        raise ValueError(f"ts must be {fields['steps']} + 1 decreasing times, got {fields['ts']}")
    levels = {name: tuple(map(float, fields[name])) for name in ("alpha", "sigma")}
    if any(len(level) != len(ts) for level in levels.values()):
        raise ValueError("alpha and sigma must have a value for every time")
    rows = None if fields["rows"] is None else tuple(np.asarray(row, float) for row in fields["rows"])
    check_finite(ts=ts, rows=rows, **levels)
    return SavedGrid(
        ts=jnp.asarray(ts, float),
        solver=str(fields["solver"]),
        schedule=str(fields["schedule"]),
        **levels,
        before=float(fields["error_before"]),
        after=float(fields["error_after"]),
        rows=rows,  # type: ignore[arg-type]
    )


def _as_list(array: Array) -> list:
    return np.asarray(array).tolist()
