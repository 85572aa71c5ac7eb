"""A cell: one method on the signals of one law through one operator."""

import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments.cli.progress import Progress
from experiments.projects.posteriors.calibration import methods, problems
from scorekit import densities, metrics

LEVELS = (0.5, 0.9)


class Cell(NamedTuple):
    """What a cell is; two that are equal have the same result."""

    law: str
    operator: str
    noise: float
    method: str
    signals: int
    samples: int
    stages: int
    steps: int
    seed: int

    @property
    def name(self) -> str:
        return "-".join(map(str, self))


def measured(cell: Cell, law: problems.Law, folder: Path, draws: int) -> dict:
    """The results of a cell; exact posteriors stay in the folder for the other methods."""
    matrix, (x, y) = problems.matrix_of(cell.operator), observed(cell, law)
    exact, seconds = _exact(cell, law, matrix, y, folder, draws), time.process_time()
    found, log_evidence = [], []
    with Progress(cell.signals, batch_size=1, label=cell.name, unit="signals") as bar:
        for i, key in enumerate(jax.random.split(jax.random.key(cell.seed + 1), cell.signals)):
            arguments = law.denoiser, matrix, y[i], cell.noise, cell.samples, cell.stages, cell.steps
            one, evidence = methods.draw(key, cell.method, *arguments)
            found.append(np.asarray(one))
            log_evidence.append(float(evidence))
            bar.update(i + 1)
    seconds = time.process_time() - seconds
    result = {**cell._asdict(), **scores(np.stack(found), np.asarray(x), exact), "cpu_seconds": seconds}
    if exact.log_evidence is not None and np.all(np.isfinite(log_evidence)):
        errors = np.array(log_evidence) - exact.log_evidence
        result |= {"log_evidence": float(errors.mean()), "log_evidence_std": float(errors.std())}
    if exact.weights is not None:
        assert isinstance(law.data, densities.Mixture)
        weights = np.stack([np.asarray(law.data.responsibilities(one)).mean(0) for one in found])
        result["weights"] = float(np.abs(weights - exact.weights)[:, 0].mean())
    result["evaluations"], result["gradients"] = methods.cost(cell.method, cell.stages, cell.steps)
    return result


def observed(cell: Cell, law: problems.Law):
    """The signals ``(N, 64)`` and their observations; the same for all methods."""
    for_signals, for_noise = jax.random.split(jax.random.key(cell.seed))
    x, matrix = law.data.sample(for_signals, (cell.signals,)), problems.matrix_of(cell.operator)
    seen = np.abs(np.asarray(matrix)).sum(1) > 1e-6
    return x, x @ matrix.T + cell.noise * seen * jax.random.normal(for_noise, x.shape)


def _exact(cell, law, matrix, y, folder, draws) -> problems.Exact:
    path = folder / f"exact-{cell.law}-{cell.operator}-{cell.noise}-{cell.signals}-{draws}-{cell.seed}.npz"
    if not path.exists():
        found = problems.exact(jax.random.key(cell.seed + 2), law.data, matrix, y, cell.noise, draws)
        np.savez(path, **{name: value for name, value in found._asdict().items() if value is not None})
    with np.load(path) as arrays:
        return problems.Exact(**arrays)


def scores(found: np.ndarray, x: np.ndarray, exact: problems.Exact) -> dict:
    """Coverage with its standard error over signals, and the distance of the means; samples ``(N, S, 64)``.

    ``gap`` is the mean of ``|mean - E[x | y]|^2`` over the mean of ``|x - E[x | y]|^2``: 1 / S for exact samples.
    """
    if not np.all(np.isfinite(found)):
        return {"diverged": int(np.sum(~np.isfinite(found).all((1, 2))))}
    covered = np.stack([metrics.interval_coverage(f[None], t[None], LEVELS) for f, t in zip(found, x, strict=True)])
    n, result = len(exact.mean), {}
    if n:
        error = np.mean((found[:n].mean(1) - exact.mean) ** 2)
        result["gap"] = float(error / np.mean((x[:n] - exact.mean) ** 2))
    for level, each in zip(LEVELS, np.moveaxis(covered.mean(-1), 1, 0), strict=True):
        error = float(each.std(ddof=1) / len(each) ** 0.5) if len(each) > 1 else None
        result |= {f"coverage_{level:g}": float(each.mean()), f"error_{level:g}": error}
    return result
