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
from scorekit._integration.steps import stacked_rows
from scorekit.samplers import sample
from scorekit.solvers import NoiseLevels, SolverBase, noise_levels
from scorekit.solvers.precomputed import precomputed
from scorekit.trees import combine, pytree_dataclass

SCHEDULE = schedules.cosine()
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
    "MultistepConsistency": "tests/solvers/test_consistency.py",
    "PrecomputedSolver": "as its base",
    "ddim": "as Euler and Ancestral",
    "precomputed": "as its base",
}
"""Solvers whose order is not measured, or of another solver."""


def test_the_order_of_every_solver_is_measured():
    files = ("test_orders.py", "test_weak_order.py")
    measured = "".join((Path(__file__).parent / name).read_text() for name in files)
    assert {name for name in NAMES if not re.search(rf"\b{name}\b", measured)} == set(ELSEWHERE)


@pytest.mark.parametrize("name", NAMES)
def test_solver_is_a_frozen_pytree(name):
    solver = build(name)
    leaves, tree = jax.tree.flatten(solver)
    again = jax.tree.unflatten(tree, leaves)
    assert type(again) is type(solver)
    assert jax.tree.structure(again) == tree
    with pytest.raises(AttributeError):
        solver.order = 7


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
            return solver.step(keys[k] if solver.stochastic else None, carry[1], carry[0], row, DENOISER)

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
            x_t, state = solver.step(key, solver.init(x), x, row, DENOISER)
            row = solver.row(SCHEDULE, jnp.stack([s, t, before], axis=-1), num_past)
            return solver.step(key, state, x_t, row, DENOISER)[0]

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


def test_precomputed_solver_has_no_single_rows():
    for name in WHOLE_GRID:
        with pytest.raises(ValueError, match=r"solver must compute its coefficients .* belong to a whole grid"):
            build(name).row(SCHEDULE, TIMES[1::-1], 0)


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


@pytree_dataclass
class TwoStep(SolverBase):
    """Second-order Adams-Bashforth on ``eps - x0``, on the row that every solver inherits."""

    strength: float = 1.0  # of the second-order term; 0 is Euler
    order = 2

    def init(self, x):
        return jnp.array(jnp.inf), jax.tree.map(jnp.zeros_like, x)  # an infinite step before the first: no correction

    def step(self, key, state, x_t, row, denoiser):
        x0, eps = denoiser(x_t, row.t)
        scale_t, scale_s = row.alpha_t + row.sigma_t, row.alpha_s + row.sigma_s
        clock, end = row.sigma_t / scale_t, row.sigma_s / scale_s
        before, old = state
        slope = combine((1.0, eps), (-1.0, x0))
        h, w = end - clock, 0.5 * self.strength * (end - clock) / (clock - before)
        return combine((scale_s / scale_t, x_t), (scale_s * h * (1 + w), slope), (-scale_s * h * w, old)), (
            clock,
            slope,
        )


def test_user_solver_equals_the_library_under_jit_vmap_and_grad():
    run = lambda solver, x: sample(DENOISER, SCHEDULE, solver, x, TIMES)
    expected = [jax.jit(run)(s, X) for s in (solvers.Euler(), solvers.AdamsBashforth(order=2))]
    many = jax.jit(jax.vmap(run, (0, None)))(TwoStep(strength=jnp.array([0.0, 1.0])), X)
    assert_close(many[0], expected[0])
    assert_close(many[1], expected[1])
    assert_close(jax.jit(run)(TwoStep(), X), expected[1])
    over_data = jax.jit(jax.vmap(functools.partial(run, TwoStep())))(X)
    assert_close(over_data, expected[1])
    gradient = jax.jit(jax.grad(lambda solver: jnp.sum(run(solver, X) ** 2)))(TwoStep()).strength
    assert np.isfinite(gradient)
    assert gradient != 0


def test_user_solver_needs_only_a_step_and_may_have_a_state_of_another_type_than_x():
    class DDIM(SolverBase):
        def step(self, key, state, x_t, row, denoiser):
            assert key is None
            x0, eps = denoiser(x_t, row.t)
            return row.alpha_s * x0 + row.sigma_s * eps, state

    class Counting(DDIM):
        def init(self, x):
            return jnp.zeros((), jnp.int32)

        def step(self, key, state, x_t, row, denoiser):
            return super().step(key, state, x_t, row, denoiser)[0], state + 1

    assert (DDIM().order, DDIM().evals_per_step, DDIM().stochastic, DDIM().max_past) == (1, 1, False, 0)
    run = lambda solver: sample(DENOISER, SCHEDULE, solver, X, TIMES)
    for solver in (DDIM(), Counting()):
        assert_close(run(solver), run(solvers.Euler()))


# ---- given coefficients ----------------------------------------------------------------------------------------------

FLOW, GRID = schedules.rectified_flow(), jnp.array([1.0, 0.8, 0.55, 0.3, 0.1])
OF_FLOW = x0_denoiser(lambda x, t: jnp.tanh(x) / (1.0 + t), FLOW)


@pytest.mark.parametrize(
    "solver", [solvers.Heun(), solvers.AdamsBashforth(order=3), solvers.UniPC(predictor=2)], ids=str
)
def test_precomputed_solver_is_its_base(solver):
    x = jax.random.normal(jax.random.key(0), (3, 2))

    @jax.jit
    def both(x):
        table = precomputed(solver, FLOW, GRID)
        return table, [sample(OF_FLOW, FLOW, s, x, GRID) for s in (solver, table)]

    table, (expected, found) = both(x)
    assert (table.order, table.evals_per_step) == (solver.order, solver.evals_per_step)
    assert (table.stochastic, table.steps) == (False, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


test_precomputed_solver_raises_on_a_grid_of_another_length = raising(
    {"ts must have 5 times, for the 4 steps of this solver, got 4": solvers.grids.uniform(3)},
    lambda ts: sample(OF_FLOW, FLOW, precomputed(solvers.Euler(), FLOW, GRID), jnp.zeros((1, 2)), ts),
)
