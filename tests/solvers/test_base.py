"""The solver contract, for every solver of the table and for one that a user writes: row, plan, init, step."""

import functools
import re
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from solver_table import NAMES, TIMES, WHOLE_GRID, build, x0_denoiser
from tables import in_float64

from scorekit import schedules, solvers
from scorekit.samplers import sample
from scorekit.solvers import NoiseLevels, SolverBase, noise_levels
from scorekit.solvers.precomputed import precomputed
from scorekit.solvers.steps import stacked_rows

SCHEDULE = schedules.Cosine()
NETWORK = lambda x, t: jnp.tanh(x[..., ::-1]) + 0.3 * jnp.sin(5.0 * (t[:, None] if t.ndim else t))
DENOISER = x0_denoiser(NETWORK, SCHEDULE)
X = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
KEY = jax.random.key(1)
FACTORIES = {"ddim", "deis", "linear_multistep", "edm_stochastic"}
"""Of classes that are in the table themselves."""
CLASSES = [name for name in NAMES if name not in FACTORIES]
WITH_ROWS = [name for name in CLASSES if name not in WHOLE_GRID]
VARIANTS = {
    "DPMSolver(3)": lambda: solvers.DPMSolver(order=3),
    "AdamsBashforth(4, angle)": lambda: solvers.AdamsBashforth(order=4, coordinate="angle"),
    "UniPC(3)": lambda: solvers.UniPC(predictor=3),
    "SASolver(3)": lambda: solvers.SASolver(steps=3),
    "PredictorCorrector(SASolver(2))": lambda: solvers.PredictorCorrector(predictor=solvers.SASolver(steps=2)),
}


def rows_one_by_one(solver, ts):
    """The rows of single steps, stacked; their windows hold s, t and only the earlier times that exist."""
    past, n = solver.max_past, len(ts) - 1
    growing = [solver.row(SCHEDULE, ts[np.arange(k + 1, -1, -1)], k) for k in range(past)]
    whole = ts[np.arange(past, n)[:, None] + 1 - np.arange(past + 2)]
    rest = jax.lax.map(lambda times: solver.row(SCHEDULE, times, past), whole)
    return jax.tree.map(
        lambda *leaves: jnp.concatenate([*(jnp.stack([a]) for a in leaves[:-1]), leaves[-1]]), *growing, rest
    )


# ---- the table -----------------------------------------------------------------------------------------------------


def test_docstring_lists_every_solver_with_its_properties():
    """A solver whose column is not the value of its default is described in words: only numbers are compared."""
    lines = re.findall(r"^``(\w+)``\s+(\S+)\s+(\S+(?: or more)?)\s+(\S+)", solvers.__doc__ or "", re.MULTILINE)
    assert sorted(name for name, *_ in lines) == sorted(NAMES)
    for name, order, evaluations, stochastic in lines:
        solver = build(name)
        low, *high = order.split("-")
        if low.isdigit():
            assert int(low) <= solver.order <= int((high or [low])[0]), name
        if evaluations[0].isdigit():
            assert int(evaluations[0]) == solver.evals_per_step, name
        if stochastic in ("yes", "no"):
            assert (stochastic == "yes") == solver.stochastic, name


ELSEWHERE = {
    "DPS": "tests/samplers/test_editing.py",
    "MultistepConsistency": "tests/solvers/test_laws.py",
    "PrecomputedSolver": "as its base",
    "ddim": "as Euler and Ancestral",
    "precomputed": "as its base",
}
"""Solvers whose order is not measured, or of another solver."""


def test_the_order_of_every_solver_is_measured():
    files = ("test_orders.py", "test_weak_order.py")
    measured = "".join((Path(__file__).parent / name).read_text() for name in files)
    assert {name for name in NAMES if not re.search(rf"\b{name}\b", measured)} == set(ELSEWHERE)


# ---- plan, row, step -----------------------------------------------------------------------------------------------


assert_close = functools.partial(chex.assert_trees_all_close, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", [*CLASSES, *VARIANTS])
@in_float64
def test_plan_stacks_single_rows_and_sample_is_a_loop_of_steps(name):
    """Rows one by one, without padding of the history; a loop over them with one key per step is ``sample``."""
    solver = VARIANTS[name]() if name in VARIANTS else build(name)
    ts = TIMES if name in WHOLE_GRID else jnp.array([0.9, 0.7, 0.6, 0.35, 0.2])
    n = len(ts) - 1

    @jax.jit
    def both(key, x):
        single = plan = solver.plan(SCHEDULE, ts)
        if name not in WHOLE_GRID:
            single = rows_one_by_one(solver, ts)
        keys = jax.random.split(key, n)

        def step(k, carry):
            row = jax.tree.map(lambda leaf: leaf[k], single)
            return solver.step(carry[1], carry[0], row, DENOISER, key=keys[k] if solver.stochastic else None)

        looped, _ = jax.lax.fori_loop(0, n, step, (x, solver.init(x)))
        return plan, single, looped, sample(DENOISER, SCHEDULE, solver, x, ts, key=key)

    plan, single, looped, sampled = both(KEY, X.astype(float))
    assert all(jnp.shape(leaf)[0] == n for leaf in jax.tree.leaves(plan))
    assert_close(single, plan, rtol=1e-10, atol=1e-12)
    assert_close(looped, sampled, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", WITH_ROWS)
def test_rows_of_a_time_per_example_step_each_example_by_itself(name):
    """A first step, and one with a history of the second example only, at ``(B,)`` times and with the same noise."""
    solver = build(name)
    key = KEY if solver.stochastic else None
    s, t, before = jnp.array([0.3, 0.6]), jnp.array([0.4, 0.7]), jnp.array([0.9, 0.8])

    @jax.jit
    def run(x):
        def steps(s, t, before, num_past):
            row = solver.row(SCHEDULE, jnp.stack([t, before], axis=-1), 0)
            x_t, state = solver.step(solver.init(x), x, row, DENOISER, key=key)
            row = solver.row(SCHEDULE, jnp.stack([s, t, before], axis=-1), num_past)
            return solver.step(state, x_t, row, DENOISER, key=key)[0]

        past = [min(i, solver.max_past) for i in range(2)]
        if solver.max_past:
            alone = [steps(s[i], t[i], before[i], past[i]) for i in range(2)]
        else:
            alone = jax.lax.map(lambda times: steps(*times, 0), (s, t, before))
        return steps(s, t, before, jnp.array(past)), alone

    batch, scalar = run(X)
    for i in range(2):
        np.testing.assert_allclose(batch[i], scalar[i][i], rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_network_is_traced_once_and_deterministic_solvers_draw_nothing(name):
    solver = build(name)
    chex.clear_trace_counter()  # of the other solvers

    @chex.assert_max_traces(n=1)
    def denoiser(x, t):
        chex.assert_rank(t, 0)
        chex.assert_type(t, jnp.float32)
        return DENOISER(x, t)

    program = jax.make_jaxpr(lambda x: sample(denoiser, SCHEDULE, solver, x, TIMES, key=KEY))(X)
    assert ("random_bits" in str(program)) == solver.stochastic


# ---- noise levels --------------------------------------------------------------------------------------------------


def test_noise_levels_repeats_the_oldest_time():
    levels = jax.jit(lambda ts: noise_levels(SCHEDULE, ts, max_past=2))(np.float32([[0.2, 0.5], [0.1, 0.3]]))
    assert isinstance(levels, NoiseLevels)
    np.testing.assert_array_equal(levels.t, np.float32([[0.2, 0.5, 0.5, 0.5], [0.1, 0.3, 0.3, 0.3]]))
    np.testing.assert_allclose(levels.alpha[:, 1], np.cos(np.pi / 2 * np.array([0.5, 0.3])), rtol=1e-6)
    np.testing.assert_array_equal(levels.at(1).alpha, levels.alpha[:, 1])


def test_stacked_rows_broadcasts_constants():
    class Constant(SolverBase):
        def row(self, schedule, times, num_past):
            return jnp.ones((1, 2)), noise_levels(schedule, times).at(1).sigma

    rows = jax.jit(lambda ts: stacked_rows(Constant(), SCHEDULE, ts, 0))(np.float32([[0.7, 0.97], [0.4, 0.7]]))
    assert [leaf.shape for leaf in rows] == [(2, 2), (2,)]


# ---- a solver of a user --------------------------------------------------------------------------------------------


def test_user_solver_needs_only_a_step_and_may_have_a_state_of_another_type_than_x():
    class DDIM(SolverBase):
        def step(self, state, x_t, row, denoiser, *, key=None):
            assert key is None
            x0, eps = denoiser(x_t, row.t)
            return row.alpha_s * x0 + row.sigma_s * eps, state

    class Counting(DDIM):
        def init(self, x):
            return jnp.zeros((), jnp.int32)

        def step(self, state, x_t, row, denoiser, *, key=None):
            return super().step(state, x_t, row, denoiser, key=key)[0], state + 1

    assert (DDIM().order, DDIM().evals_per_step, DDIM().stochastic, DDIM().max_past) == (1, 1, False, 0)
    run = lambda solver: sample(DENOISER, SCHEDULE, solver, X, TIMES)
    for solver in (DDIM(), Counting()):
        assert_close(run(solver), run(solvers.Euler()))


# ---- given coefficients ----------------------------------------------------------------------------------------------


def test_precomputed_solver_is_its_base():
    base = solvers.UniPC(predictor=2)

    @jax.jit
    def both(x):
        table = precomputed(base, SCHEDULE, TIMES)
        return table, [sample(DENOISER, SCHEDULE, solver, x, TIMES) for solver in (base, table)]

    table, (expected, found) = both(X)
    assert (table.order, table.evals_per_step, table.stochastic, table.steps) == (3, 1, False, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


test_precomputed_solver_belongs_to_its_grid = raising(
    {
        "ts must have 4 times, for the 3 steps of this solver, got 5": lambda solver: solver.plan(
            SCHEDULE, jnp.ones(5)
        ),
        r"solver must compute its coefficients .* belong to a whole grid": lambda solver: solver.row(
            SCHEDULE, TIMES, 0
        ),
    },
    lambda call: call(build("PrecomputedSolver")),
)
