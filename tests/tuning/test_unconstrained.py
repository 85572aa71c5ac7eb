"""Unconstrained parameters of grids and coefficients: every value is valid, and every grid has its parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import schedules, solvers
from scorekit.tuning._unconstrained import adjusted, grid_to_logits, logits_to_grid, zero_adjustments

FLOW = schedules.rectified_flow()


@pytest.mark.parametrize(
    ("schedule", "t_max", "t_min"),
    [
        (FLOW, 1.0, 0.0),
        (schedules.edm(), 1.0, 0.0),
        (schedules.edm(0.0), 1.0, 0.0),
        (schedules.cosine(), 1.0, 0.0),
        (schedules.linear_vp(), 1.0, 1e-3),
        (schedules.geometric_ve(), 0.9, 0.0),
    ],
    ids=str,
)
def test_all_logits_are_a_grid_and_every_grid_has_logits(schedule, t_max, t_min):
    ts = jnp.linspace(t_max, t_min, 7)
    lower = ts.at[0].add(-0.05 * t_max)

    @jax.jit
    def there_and_back(ts, lower, logits):
        one = logits_to_grid(schedule, grid_to_logits(schedule, ts), t_max, t_min)
        other = logits_to_grid(schedule, grid_to_logits(schedule, lower, t_max), t_max, t_min, free_start=True)
        return one, other, jax.vmap(lambda logits: logits_to_grid(schedule, logits, t_max, t_min))(logits)

    one, other, wild = there_and_back(ts, lower, 8.0 * jax.random.normal(jax.random.key(0), (200, 6)))
    np.testing.assert_allclose(one, ts, atol=2e-3)  # each gap is at least 1e-5 of the range
    np.testing.assert_allclose(other, lower, atol=2e-3)
    assert np.isfinite(wild).all()
    assert (np.diff(wild, axis=1) < 0).all()
    np.testing.assert_array_equal(wild[:, 0], np.float32(t_max))
    np.testing.assert_array_equal(wild[:, -1], np.float32(t_min))


def test_zero_adjustments_give_the_plan_and_no_adjustment_moves_the_times():
    solver, ts = solvers.UniPC(predictor=2), jnp.array([1.0, 0.8, 0.55, 0.3, 0.0])

    @jax.jit
    def run():
        zero = zero_adjustments(solver, FLOW, ts)
        one = jax.tree.map(jnp.ones_like, zero)
        return solver.plan(FLOW, ts), adjusted(solver, FLOW, ts, zero).rows, adjusted(solver, FLOW, ts, one).rows

    plain, same, moved = run()
    jax.tree.map(np.testing.assert_array_equal, same, plain)
    np.testing.assert_array_equal(moved[0].t, plain[0].t)
    np.testing.assert_array_equal(moved[3], plain[3])  # whether there is an earlier step
    np.testing.assert_allclose(moved[1].ratio[:3], 1.1 * plain[1].ratio[:3], rtol=1e-6)
