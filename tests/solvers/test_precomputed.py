"""Solvers with given coefficients: equal to the solver they come from, on its grid only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from solver_table import x0_denoiser

from scorekit import schedules, solvers
from scorekit.samplers import sample
from scorekit.solvers.precomputed import precomputed

FLOW, TS = schedules.rectified_flow(), jnp.array([1.0, 0.8, 0.55, 0.3, 0.1])
DENOISER = x0_denoiser(lambda x, t: jnp.tanh(x) / (1.0 + t), FLOW)


@pytest.mark.parametrize(
    "solver", [solvers.Heun(), solvers.AdamsBashforth(order=3), solvers.UniPC(predictor=2)], ids=str
)
def test_precomputed_solver_is_its_base(solver):
    x = jax.random.normal(jax.random.key(0), (3, 2))

    @jax.jit
    def both(x):
        table = precomputed(solver, FLOW, TS)
        return table, [sample(None, DENOISER, FLOW, s, x, TS) for s in (solver, table)]

    table, (expected, found) = both(x)
    assert (table.order, table.evals_per_step, table.stochastic, table.steps) == (
        solver.order,
        solver.evals_per_step,
        False,
        4,
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_precomputed_solver_raises_on_a_grid_of_another_length():
    table = precomputed(solvers.Euler(), FLOW, TS)
    with pytest.raises(ValueError, match=r"ts must have 5 times, for the 4 steps of this solver, got 4"):
        sample(None, DENOISER, FLOW, table, jnp.zeros((1, 2)), solvers.grids.uniform(3))
