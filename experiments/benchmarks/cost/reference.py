"""Reference implementations of samplers, each specialised to one schedule, grid and solver, for :mod:`.samplers`.

Each is a single ``lax.scan`` over a table of NumPy constants, with its linear combinations written out and without the
terms whose coefficients are 0 at every step. The network predicts v.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import solvers
from scorekit.typing import Schedule


def sampler(solver: Any, schedule: Schedule, ts: np.ndarray, network, trajectory: bool = False):
    """``(params, x, key) -> x_0`` for this solver, schedule and grid; with ``trajectory`` also all states."""
    rows: Any = jax.tree.map(np.asarray, solver.plan(schedule, ts))
    n = len(ts) - 1

    def schedule_values(t):
        return np.asarray(schedule.alpha(t)), np.asarray(schedule.sigma(t))

    make = next(make for kind, make in _KINDS.items() if isinstance(solver, kind))
    step, start, tables = make(solver, rows, schedule_values)

    def run(params, x, key):
        def body(carry, inputs):
            x, state = carry
            table, key = inputs
            x, state = step(lambda x, t: network(params, x, t), x, state, table, key)
            return (x, state), (x if trajectory else None)

        keys = jax.random.split(key, n) if solver.stochastic else None
        (x, _), states = jax.lax.scan(body, (x, start(x)), (tables, keys))
        return (x, states) if trajectory else x

    return run


def _split(network, x, table):
    """Signal and noise from the prediction of v at the alpha a and sigma b of a table."""
    v = network(x, table["t"])
    return table["a"] * x - table["b"] * v, table["b"] * x + table["a"] * v


def _sum(table, **trees):
    """``sum_i table[i] trees[i]`` over the terms of the table."""
    terms = [table[name] * tree for name, tree in trees.items() if name in table]
    return sum(terms[1:], terms[0])


def _terms(row):
    """The columns of the rows that are not 0 at every step."""
    named = {"x": row.x, "x0": row.x0, "eps": row.eps, "std": row.std}
    named |= {f"h{j}": column for j, column in enumerate(row.history)}
    return {name: column for name, column in named.items() if column is not None and np.any(column)}


def _slope(coordinate, table, x0, eps):
    match coordinate:
        case "signal":
            return x0
        case "sigma":
            return eps
        case "flow":
            return eps - x0
        case _:
            return table["noise"] * eps + table["signal"] * x0


def _at(row, schedule_values):
    a, b = schedule_values(row.t)
    extra = {} if row.signal is None else {"signal": row.signal, "noise": row.noise}
    return {"t": row.t, "a": a, "b": b, **extra}


def _linear(solver, row, schedule_values):
    tables = {**_terms(row), **_at(row, schedule_values)}

    def step(network, x, slopes, table, key):
        x0, eps = _split(network, x, table)
        noise = {"std": jax.random.normal(key, x.shape)} if "std" in table else {}
        new = _sum(table, x=x, x0=x0, eps=eps, **{f"h{j}": h for j, h in enumerate(slopes)}, **noise)
        return new, (_slope(solver.coordinate, table, x0, eps), *slopes)[: solver.max_past]

    return step, lambda x: (jnp.zeros_like(x),) * solver.max_past, tables


def _stages(solver, rows, schedule_values):
    tables = [{**_terms(row), **_at(row, schedule_values)} for row in rows]

    def step(network, x, state, tables, key):
        del key
        y, slopes = x, []
        x0 = eps = None
        for i, table in enumerate(tables):
            at_y = _split(network, y, table)
            if i:
                slopes.append(_slope(solver.coordinate, table, *at_y))
            else:
                x0, eps = at_y
            y = _sum(table, x=x, x0=x0, eps=eps, **{f"h{j}": h for j, h in enumerate(slopes)})
        return y, state

    return step, lambda x: (), tables


def _churned_heun(solver, rows, schedule_values):
    scale, std, stages = rows
    step_of_heun, start, tables = _stages(solver, stages, schedule_values)

    def step(network, x, state, table, key):
        scale, std, tables = table
        return step_of_heun(network, scale * x + std * jax.random.normal(key, x.shape), state, tables, None)

    return step, start, (scale, std, tables)


def _unipc(solver, rows, schedule_values):
    evaluation, predict, correct, has_past = rows
    tables = {**_at(evaluation, schedule_values), "has_past": has_past, "predict": predict, "correct": correct}

    def step(network, x, carry, table, key):
        del key
        previous, slopes = carry
        x0, eps = _split(network, x, table)
        slopes = (_slope(solver.coordinate, table, x0, eps), *slopes)
        ratio, weights = table["correct"]
        corrected = ratio * previous + sum(w * h for w, h in zip(weights, slopes, strict=True))
        x = jnp.where(table["has_past"], corrected, x)
        ratio, weights = table["predict"]
        new = ratio * x + sum(w * h for w, h in zip(weights, slopes, strict=False))
        return new, (x, slopes[: solver.max_past])

    return step, lambda x: (jnp.zeros_like(x), (jnp.zeros_like(x),) * solver.max_past), tables


def _corrected(solver, rows, schedule_values):
    row, (at, sigma, strength) = rows
    predict, start, tables = _linear(solver.predictor, row, schedule_values)
    a, b = schedule_values(at)
    tables = tables, {"t": at, "a": a, "b": b, "sigma": sigma, "strength": strength}

    def step(network, x, state, tables, key):
        table, after = tables
        key, *keys = jax.random.split(key, 1 + solver.corrector_steps)
        x, state = predict(network, x, state, table, key)
        for k in keys:
            z = jax.random.normal(k, x.shape)
            eps = _split(network, x, after)[1]
            d = jnp.minimum(after["strength"], 1.0)
            new = x - d * after["sigma"] * eps + after["sigma"] * jnp.sqrt(2.0 * d) * z
            x = jnp.where(after["sigma"] > 0, new, x)
        return x, state

    return step, start, tables


def _langevin(solver, rows, schedule_values):
    t, sigma, alpha, noisy, noise = rows
    a, b = schedule_values(t)
    tables = {"t": t, "a": a, "b": b, "sigma": sigma, "alpha": alpha, "noisy": noisy, "std": noise * sigma}

    def step(network, x, state, table, key):
        for k in jax.random.split(key, solver.steps):
            x0, eps = _split(network, x, table)
            x = x - solver.step_size * table["sigma"] * eps + table["std"] * jax.random.normal(k, x.shape)
        return jnp.where(table["noisy"], x, table["alpha"] * x0), state

    return step, lambda x: (), tables


_KINDS = {
    solvers.LinearSolver: _linear,
    solvers.Heun: _stages,
    solvers.Midpoint: _stages,
    solvers.DPMSolver: _stages,
    solvers.RK4: _stages,
    solvers.UniPC: _unipc,
    solvers.StochasticHeun: _churned_heun,
    solvers.PredictorCorrector: _corrected,
    solvers.AnnealedLangevin: _langevin,
}
