"""Tuned grids and coefficients: gradients through the sampler, and the error of the tuned sampler."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from tables import in_float64

from scorekit import denoisers, densities, samplers, schedules, solvers
from scorekit.solvers import PrecomputedSolver
from scorekit.tuning import Pairs, distances, fine_pairs, tune
from scorekit.tuning._unconstrained import adjusted, grid_to_logits, logits_to_grid, zero_adjustments
from scorekit.tuning.tuned import _log_power_mean
from scorekit.typing import Prediction

FLOW = schedules.RectifiedFlow()
RING = densities.ring(num_modes=3)
RING_DENOISER = denoisers.exact_denoiser(RING, FLOW)
UNEVEN = (1.0, 0.8, 0.55, 0.3, 0.0)
FAMILIES = [
    solvers.Euler(),
    solvers.RK4(),
    solvers.DPMSolver(order=3),
    solvers.DPMSolverPP2M(),
    solvers.AdamsBashforth(order=3, coordinate="angle"),
    solvers.ExponentialAdamsBashforth(order=2, prediction="x0", variable="t"),
    solvers.ExponentialAdamsBashforth(order=3),
    solvers.IPNDM(order=3),
    solvers.UniPC(predictor=2),
]


def smooth(x, t):
    """A nonlinear denoiser that compiles fast."""
    x0 = jnp.tanh(x) / (1.0 + t)
    return Prediction(x0, (x - (1.0 - t) * x0) / t)


# ---- gradients ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("solver", FAMILIES, ids=str)
@in_float64
def test_gradient_of_the_grid_is_that_of_finite_differences(solver):
    """From t = 1, without signal, to t = 0, without noise; then through the softmax of the gaps, finite everywhere."""
    x, ts, h = np.random.default_rng(0).normal(size=(4, 2)), np.array(UNEVEN), 1e-6

    def value(ts):
        ends = samplers.sample(smooth, FLOW, solver, x, ts)
        return jnp.mean(jnp.sin(2.0 * ends))

    @jax.jit
    def both(ts):
        moved = ts + h * jnp.concatenate([jnp.eye(5)[1:-1], -jnp.eye(5)[1:-1]])
        up, down = jnp.split(jax.lax.map(value, moved), 2)
        grid, pull = jax.vjp(lambda logits: logits_to_grid(FLOW, logits, 1.0, 0.0), grid_to_logits(FLOW, ts))
        exact = jax.grad(value)(ts)
        return exact[1:-1], (up - down) / (2 * h), pull(exact)[0], grid

    exact, numeric, through, grid = both(ts)
    np.testing.assert_allclose(grid, ts, atol=1e-4)  # up to the smallest gap
    assert np.abs(numeric).max() > 1e-4
    np.testing.assert_allclose(exact, numeric, rtol=1e-5, atol=1e-8)
    assert np.isfinite(through).all()
    np.testing.assert_allclose(np.sum(through), 0, atol=1e-9)  # a common shift of the logits changes nothing


# ---- tuning ------------------------------------------------------------------------------------------------------


@functools.cache
def drawn():
    return fine_pairs(jax.random.key(0), RING_DENOISER, FLOW, jnp.zeros((64, 2)), 12, steps=64)


def pairs_of(part):
    """Four batches for training (0), selection (1) or testing (2)."""
    return jax.tree.map(lambda leaf: leaf[4 * part : 4 * part + 4], drawn())


GRIDS = {
    "uniform": solvers.grids.uniform(4),
    "quadratic": solvers.grids.quadratic(4),
    "cubic": jnp.linspace(1, 0, 5) ** 3,
}


SHORT = {"uniform": solvers.grids.uniform(2), "quadratic": solvers.grids.quadratic(2)}  # quick to compile


@jax.jit
def mean_distance(solver, ts, pairs):
    return jnp.mean(jax.lax.map(lambda pair: distances(RING_DENOISER, FLOW, solver, ts, *pair), pairs))


@functools.cache
def tuned(coefficients):
    seen = []
    found = tune(
        RING_DENOISER,
        FLOW,
        solvers.AdamsBashforth(order=2),
        GRIDS,
        pairs_of(0),
        pairs_of(1),
        coefficients=coefficients,
        num_starts=2,
        steps=60,
        progress=lambda *now: seen.append(now),
    )
    return found, seen


@pytest.mark.slow
def test_fine_pairs_are_ends_of_the_exact_flow():
    data = densities.gaussian(jnp.array([0.5, -1.0]), std=0.3)
    pairs = fine_pairs(
        jax.random.key(0), denoisers.exact_denoiser(data, FLOW), FLOW, jnp.zeros((8, 2)), 2, t_max=0.9, t_min=0.1
    )
    assert pairs.noise.shape == (2, 8, 2)
    assert not np.array_equal(pairs.noise[0], pairs.noise[1])
    expected = data.flow(0.9 * pairs.noise, (0.1, 0.9), (0.9, 0.1))
    np.testing.assert_allclose(pairs.end, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("coefficients", "factor"), [(False, 0.7), (True, 0.35)])
def test_tune_lowers_the_error_on_new_noise(coefficients, factor):
    found, _ = tuned(coefficients)
    test = pairs_of(2)
    untuned = min(mean_distance(solvers.AdamsBashforth(order=2), ts, test) for ts in GRIDS.values())
    assert mean_distance(found.solver, found.ts, test) < factor * untuned
    assert found.after < factor * found.before
    assert isinstance(found.solver, PrecomputedSolver) == coefficients
    assert (np.diff(found.ts) < 0).all()
    assert found.ts[-1] == 0
    np.testing.assert_allclose(mean_distance(found.solver, found.ts, pairs_of(1)), found.after, rtol=1e-4)


@pytest.mark.slow
def test_tune_measures_every_grid_and_tunes_the_best():
    found, seen = tuned(False)
    before = {name: float(trial.before) for name, trial in found.trials.items()}
    order = sorted(before, key=before.__getitem__)
    assert set(before) == set(GRIDS)
    assert found.before == before[order[0]]
    assert [bool(found.trials[name].after < found.trials[name].before) for name in order] == [True, True, False]
    assert found.after == min(trial.after for trial in found.trials.values())
    assert [now[:2] for now in seen] == [(k, 120) for k in range(1, 121)]
    assert all(np.isfinite(now[2]) for now in seen)


@pytest.mark.slow
def test_tune_is_deterministic_and_keeps_a_fixed_start():
    run = lambda: tune(
        RING_DENOISER, FLOW, solvers.Euler(), SHORT, pairs_of(0), pairs_of(1), free_start=False, num_starts=1, steps=8
    )
    one, other = run(), run()
    chex.assert_trees_all_equal(one, other)
    assert one.ts[0] == 1
    assert one.after < one.before


@pytest.mark.slow
def test_tune_is_never_worse_than_the_best_starting_grid():
    """A far too large learning rate finds nothing better."""
    found = tune(
        RING_DENOISER, FLOW, solvers.Euler(), SHORT, pairs_of(0), pairs_of(1), num_starts=1, steps=8, learning_rate=50.0
    )
    best = min(found.trials, key=lambda name: float(found.trials[name].before))
    assert found.after == found.before
    np.testing.assert_array_equal(found.ts, SHORT[best])


@pytest.mark.slow
def test_tune_reports_the_power_mean_of_the_distances():
    """One step of Euler ends at the mean, which gives the distances."""
    far = Pairs(jnp.zeros((1, 3, 1)), jnp.array([[[1.0], [2.0], [4.0]]]))
    zero = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=1.0), FLOW)
    found = tune(zero, FLOW, solvers.Euler(), {"one": jnp.array([1.0, 0.0])}, far, far, power=0.0, steps=1)
    np.testing.assert_allclose(found.before, 2.0, rtol=1e-5)
    for power, expected in ((2.0, 7.0), (1.0, 7 / 3), (0.01, np.mean([1, 2**0.01, 4**0.01]) ** 100)):
        value = jnp.exp(_log_power_mean(far.end.ravel(), power))
        np.testing.assert_allclose(value, expected ** (0.5 if power == 2 else 1), rtol=1e-4)


test_tune_validates_its_arguments = raising(
    {
        "solver must": {"solver": solvers.EulerMaruyama()},
        "grids must": {"grids": {}},
        "grids must hold": {"grids": {"a": jnp.ones(3), "b": jnp.ones(4)}},
        r"grids\['up'\] must": {"grids": {"up": jnp.linspace(0, 1, 5)}},
        "pairs must": {"pairs": Pairs(jnp.zeros((1, 2, 2)), jnp.zeros((1, 3, 2)))},
        "held_out must": {"held_out": Pairs(jnp.zeros(2), jnp.zeros(2))},
        "pairs must be finite": {"pairs": Pairs(jnp.zeros((1, 2, 2)), jnp.full((1, 2, 2), jnp.nan))},
        "held_out must be finite": {"held_out": Pairs(jnp.full((1, 2, 2), jnp.nan), jnp.zeros((1, 2, 2)))},
        "pairs must hold floating": {"pairs": Pairs(jnp.zeros((1, 2, 2), int), jnp.zeros((1, 2, 2)))},
        "held_out must hold": {"held_out": Pairs(jnp.zeros((1, 3, 2)), jnp.zeros((1, 3, 2)))},
        r"grids\['nan'\] must": {"grids": {"nan": jnp.array([1.0, jnp.nan, 0.0])}},
    },
    lambda changes: tune(
        RING_DENOISER,
        FLOW,
        **{"solver": solvers.Euler(), "grids": GRIDS, "pairs": pairs_of(0), "held_out": pairs_of(1), **changes},
    ),
)


# ---- unconstrained parameters ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "t_max", "t_min"),
    [
        (FLOW, 1.0, 0.0),
        (schedules.EDM(), 1.0, 0.0),
        (schedules.EDM(sigma_min=0.0), 1.0, 0.0),
        (schedules.Cosine(), 1.0, 0.0),
        (schedules.LinearVP(), 1.0, 1e-3),
        (schedules.GeometricVE(), 0.9, 0.0),
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
    chex.assert_trees_all_equal(same, plain)
    np.testing.assert_array_equal(moved[0].t, plain[0].t)
    np.testing.assert_array_equal(moved[3], plain[3])  # whether there is an earlier step
    np.testing.assert_allclose(moved[1].ratio[:3], 1.1 * plain[1].ratio[:3], rtol=1e-6)
