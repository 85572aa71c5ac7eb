"""Tuned grids and step numbers: gradients through the sampler, what tuning promises, its tables and its files."""

import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import in_float64, quick_jit

from scorekit import denoisers, densities, samplers, schedules, solvers
from scorekit.solvers.precomputed import PrecomputedSolver, precomputed
from scorekit.tuning import Pairs, Tuned, distances, fine_pairs, load_grid, restore_solver, save_grid, tune
from scorekit.tuning.tune import log_power_mean
from scorekit.tuning.unconstrained import changed, grid_to_logits, logits_to_grid, zero_adjustments
from scorekit.typing import Prediction

FLOW = schedules.rectified_flow()
RING = densities.ring(num_modes=3)
RING_DENOISER = denoisers.exact_denoiser(RING, FLOW)
UNEVEN = (1.0, 0.8, 0.55, 0.3, 0.0)
FAMILIES = [
    solvers.Euler(),
    solvers.Heun(),
    solvers.RK4(),
    solvers.DPMSolver(order=3),
    solvers.DPMSolverPP2M(),
    solvers.AdamsBashforth(order=3),
    solvers.AdamsBashforth(order=3, coordinate="angle"),
    solvers.ExponentialAdamsBashforth(order=3),
    solvers.ExponentialAdamsBashforth(order=2, prediction="x0", variable="t"),
    solvers.IPNDM(order=3),
    solvers.UniPC(predictor=2),
]


def smooth(x, t):
    """A denoiser of some curvature that compiles fast."""
    x0 = jnp.tanh(x) / (1.0 + t)
    return Prediction(x0, (x - (1.0 - t) * x0) / t)


# ---- gradients ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", FAMILIES, ids=str)
@in_float64
def test_gradient_with_respect_to_the_grid_is_that_of_finite_differences(solver):
    """From t = 1, without signal, to t = 0, without noise; then through the softmax of the gaps, finite everywhere."""
    x, ts, h = jax.random.normal(jax.random.key(0), (4, 2)), jnp.array(UNEVEN), 1e-6

    def value(ts):
        ends = samplers.sample(None, smooth, FLOW, solver, x, ts)
        return jnp.mean(jnp.sin(2.0 * ends))

    @quick_jit
    def both(ts):
        moved = ts + h * jnp.concatenate([jnp.eye(5)[1:-1], -jnp.eye(5)[1:-1]])
        up, down = jnp.split(jax.lax.map(value, moved), 2)
        through = jax.grad(lambda gaps: value(logits_to_grid(FLOW, gaps, 1.0, 0.0)))(grid_to_logits(FLOW, ts))
        return jax.grad(value)(ts)[1:-1], (up - down) / (2 * h), through

    exact, numeric, through = both(ts)
    assert np.abs(numeric).max() > 1e-4
    np.testing.assert_allclose(exact, numeric, rtol=1e-5, atol=1e-8)
    assert np.isfinite(through).all()
    np.testing.assert_allclose(np.sum(through), 0, atol=1e-9)  # a common shift of the gaps changes nothing


# ---- parameters --------------------------------------------------------------------------------------------------


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
def test_any_parameters_are_a_grid_and_every_grid_has_parameters(schedule, t_max, t_min):
    ts = jnp.linspace(t_max, t_min, 7)
    lower = ts.at[0].add(-0.05 * t_max)

    @quick_jit
    def there_and_back(ts, lower, gaps):
        one = logits_to_grid(schedule, grid_to_logits(schedule, ts), t_max, t_min)
        other = logits_to_grid(schedule, grid_to_logits(schedule, lower, t_max), t_max, t_min, free_start=True)
        return one, other, jax.vmap(lambda gaps: logits_to_grid(schedule, gaps, t_max, t_min))(gaps)

    one, other, wild = there_and_back(ts, lower, 8.0 * jax.random.normal(jax.random.key(0), (200, 6)))
    np.testing.assert_allclose(one, ts, atol=2e-3)  # the floor under each gap is a 1e-5th of the range
    np.testing.assert_allclose(other, lower, atol=2e-3)
    assert np.isfinite(wild).all()
    assert (np.diff(wild, axis=1) < 0).all()
    np.testing.assert_array_equal(wild[:, 0], np.float32(t_max))
    np.testing.assert_array_equal(wild[:, -1], np.float32(t_min))


def test_no_change_gives_the_numbers_of_the_plan_and_a_change_leaves_the_times():
    solver, ts = solvers.UniPC(predictor=2), jnp.array(UNEVEN)
    changes = zero_adjustments(solver, FLOW, ts)
    plain = solver.plan(FLOW, ts)
    jax.tree.map(np.testing.assert_array_equal, changed(solver, FLOW, ts, changes).rows, plain)
    ahead = changed(solver, FLOW, ts, jax.tree.map(jnp.ones_like, changes)).rows
    np.testing.assert_array_equal(ahead[0].t, plain[0].t)
    np.testing.assert_array_equal(ahead[3], plain[3])  # whether there is a step before
    np.testing.assert_allclose(ahead[1].ratio[:3], 1.1 * plain[1].ratio[:3], rtol=1e-6)


# ---- tables ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "solver", [solvers.Heun(), solvers.AdamsBashforth(order=3), solvers.UniPC(predictor=2)], ids=str
)
def test_a_table_is_its_solver_in_the_loop_and_step_by_step(solver):
    ts, x = jnp.array(UNEVEN), jax.random.normal(jax.random.key(0), (3, 2))
    draw = quick_jit(lambda solver, x: samplers.sample(None, RING_DENOISER, FLOW, solver, x, ts))
    table = precomputed(solver, FLOW, ts)
    assert (table.order, table.evals_per_step, table.stochastic, table.steps) == (
        solver.order, solver.evals_per_step, False, 4)  # fmt: skip
    expected = draw(solver, x)
    np.testing.assert_allclose(draw(table, x), expected, rtol=1e-6, atol=1e-6)
    step = quick_jit(lambda state, x, t, s: table.step(None, state, x, t, s, RING_DENOISER, FLOW))
    state = table.init(x)
    for t, s in itertools.pairwise(ts):
        x, state = step(state, x, t, s)
    np.testing.assert_allclose(x, expected, rtol=1e-4, atol=1e-5)


def test_a_table_refuses_other_grids_and_solvers():
    table = precomputed(solvers.Euler(), FLOW, jnp.array(UNEVEN))
    with pytest.raises(ValueError, match=r"ts must have 5 times, for the 4 steps of this table, got 4"):
        samplers.sample(None, RING_DENOISER, FLOW, table, jnp.zeros((1, 2)), solvers.grids.uniform(3))
    with pytest.raises(ValueError, match="solver must be a planned solver of this library, got object"):
        precomputed(object(), FLOW, jnp.array(UNEVEN))  # type: ignore[arg-type]


# ---- tuning ------------------------------------------------------------------------------------------------------


@functools.cache
def drawn():
    return fine_pairs(jax.random.key(0), RING_DENOISER, FLOW, jnp.zeros((64, 2)), 12, steps=64)


def pairs_of(part):
    """Four batches to train on (0), choose by (1) or test on (2)."""
    return jax.tree.map(lambda leaf: leaf[4 * part : 4 * part + 4], drawn())


GRIDS = {
    "uniform": solvers.grids.uniform(4),
    "quadratic": solvers.grids.quadratic(4),
    "cubic": jnp.linspace(1, 0, 5) ** 3,
}


@quick_jit
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
        starts=2,
        steps=60,
        progress=lambda *now: seen.append(now),
    )
    return found, seen


def test_fine_pairs_are_ends_of_the_exact_flow():
    data = densities.gaussian(jnp.array([0.5, -1.0]), std=0.3)
    pairs = fine_pairs(
        jax.random.key(0), denoisers.exact_denoiser(data, FLOW), FLOW, jnp.zeros((8, 2)), 2, t_max=0.9, t_min=0.1
    )
    assert pairs.noise.shape == (2, 8, 2)
    assert not np.array_equal(pairs.noise[0], pairs.noise[1])
    expected = data.flow(0.9 * pairs.noise, (0.1, 0.9), (0.9, 0.1))
    np.testing.assert_allclose(pairs.end, expected, atol=1e-5)


@pytest.mark.parametrize(("coefficients", "factor"), [(False, 0.7), (True, 0.35)])
def test_tuning_lowers_the_error_on_noise_that_it_never_saw(coefficients, factor):
    found, _ = tuned(coefficients)
    test = pairs_of(2)
    untuned = min(mean_distance(solvers.AdamsBashforth(order=2), ts, test) for ts in GRIDS.values())
    assert mean_distance(found.solver, found.ts, test) < factor * untuned
    assert found.after < factor * found.before
    assert isinstance(found.solver, PrecomputedSolver) == coefficients
    assert (np.diff(found.ts) < 0).all()
    assert found.ts[-1] == 0
    np.testing.assert_allclose(mean_distance(found.solver, found.ts, pairs_of(1)), found.after, rtol=1e-4)


def test_every_grid_is_measured_and_the_best_are_tuned():
    found, seen = tuned(False)
    before = {name: float(trial.before) for name, trial in found.trials.items()}
    order = sorted(before, key=before.__getitem__)
    assert set(before) == set(GRIDS)
    assert found.before == before[order[0]]
    assert [bool(found.trials[name].after < found.trials[name].before) for name in order] == [True, True, False]
    assert found.after == min(trial.after for trial in found.trials.values())
    assert [now[:2] for now in seen] == [(k, 120) for k in range(1, 121)]
    assert all(np.isfinite(now[2]) for now in seen)


def test_the_same_arguments_give_the_same_result_and_the_first_level_may_stay():
    run = lambda: tune(
        RING_DENOISER, FLOW, solvers.Euler(), GRIDS, pairs_of(0), pairs_of(1), free_start=False, starts=1, steps=8
    )
    one, other = run(), run()
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert one.ts[0] == 1
    assert one.after < one.before


def test_what_is_returned_is_never_worse_than_what_was_given():
    """With steps that are far too long nothing better is found."""
    found = tune(
        RING_DENOISER, FLOW, solvers.Euler(), GRIDS, pairs_of(0), pairs_of(1), starts=1, steps=8, learning_rate=50.0
    )
    best = min(found.trials, key=lambda name: float(found.trials[name].before))
    assert found.after == found.before
    np.testing.assert_array_equal(found.ts, GRIDS[best])


def test_the_power_mean_that_is_tuned():
    """One step of Euler ends at the mean, so that the distances are known."""
    far = Pairs(jnp.zeros((1, 3, 1)), jnp.array([[[1.0], [2.0], [4.0]]]))
    zero = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=1.0), FLOW)
    found = tune(zero, FLOW, solvers.Euler(), {"one": jnp.array([1.0, 0.0])}, far, far, power=0.0, steps=1)
    np.testing.assert_allclose(found.before, 2.0, rtol=1e-5)
    for power, expected in ((2.0, 7.0), (1.0, 7 / 3), (0.01, np.mean([1, 2**0.01, 4**0.01]) ** 100)):
        value = jnp.exp(log_power_mean(far.end.ravel(), power))
        np.testing.assert_allclose(value, expected ** (0.5 if power == 2 else 1), rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"solver": solvers.EulerMaruyama()}, "solver must be deterministic.*got EulerMaruyama"),
        ({"grids": {}}, r"grids must hold at least one array.*got shapes \{\}"),
        ({"grids": {"a": jnp.ones(3), "b": jnp.ones(4)}}, "grids must hold.*all of one length"),
        ({"grids": {"up": jnp.linspace(0, 1, 5)}}, r"grids\['up'\] must be strictly decreasing"),
        ({"pairs": Pairs(jnp.zeros((1, 2, 2)), jnp.zeros((1, 3, 2)))}, "pairs must have noise and end of one shape"),
        ({"held_out": Pairs(jnp.zeros(2), jnp.zeros(2))}, r"held_out must .*\(N, B, ...\), got \(2,\)"),
        ({"power": -1.0}, "power must be finite and >= 0, got -1.0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"starts": 0}, "starts must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be finite and > 0, got 0.0"),
    ],
)
def test_tune_refuses(change, message):
    given = {"solver": solvers.Euler(), "grids": GRIDS, "pairs": pairs_of(0), "held_out": pairs_of(1), **change}
    with pytest.raises(ValueError, match=message):
        tune(RING_DENOISER, FLOW, **given)


def test_numbers_of_a_foreign_solver_cannot_be_tuned():
    class Foreign:
        order = evals_per_step = 1
        stochastic = False

    with pytest.raises(ValueError, match="solver must be a solver of this library to tune coefficients, got Foreign"):
        tune(RING_DENOISER, FLOW, Foreign(), GRIDS, pairs_of(0), pairs_of(1), coefficients=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batches must be at least 1, got 0"):
        fine_pairs(jax.random.key(0), RING_DENOISER, FLOW, jnp.zeros((1, 2)), 0)


# ---- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coefficients", [False, True])
def test_a_file_gives_back_grid_and_solver(tmp_path, coefficients):
    found, _ = tuned(coefficients)
    path = save_grid(tmp_path / "deep" / "grid.json", found, FLOW)
    assert [p.name for p in path.parent.iterdir()] == ["grid.json"]
    saved = load_grid(path)
    np.testing.assert_array_equal(saved.ts, found.ts)
    assert (saved.steps, saved.solver) == (4, "AdamsBashforth(order=2, coordinate='flow')")
    assert (saved.before, saved.after) == (float(found.before), float(found.after))
    again = restore_solver(saved, solvers.AdamsBashforth(order=2), FLOW)
    assert jax.tree.structure(again) == jax.tree.structure(found.solver)
    jax.tree.map(np.testing.assert_array_equal, again, found.solver)


@pytest.fixture
def saved_path(tmp_path):
    plain = Tuned(jnp.array([1.0, 0.5, 0.0]), solvers.Euler(), jnp.array(0.5), jnp.array(0.25), {})
    return save_grid(tmp_path / "grid.json", plain, FLOW)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[: len(text) // 2], "damaged, not JSON"),
        (lambda text: "[1, 2]", "foreign"),
        (lambda text: '{"ts": [1.0, 0.0]}', "foreign"),
        (lambda text: text.replace("version 1", "version 9"), "foreign"),
        (lambda text: text.replace('"steps": 2', '"steps": 3'), r"damaged, ValueError: ts must be 3 \+ 1"),
        (lambda text: text.replace("[1.0, 0.5, 0.0]", "[1.0, 1.5, 0.0]", 1), "damaged, ValueError: ts must be"),
        (lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "rows"}), "damaged, KeyError"),
    ],
)
def test_a_spoilt_file_is_refused(saved_path, spoil, message):
    saved_path.write_text(spoil(saved_path.read_text()))
    with pytest.raises(ValueError, match=f"path must be a file of save_grid, got {saved_path}: {message}"):
        load_grid(saved_path)


def test_a_file_is_refused_for_another_solver_or_schedule(saved_path):
    saved = load_grid(saved_path)
    assert restore_solver(saved, solvers.Euler(), FLOW) == solvers.Euler()
    with pytest.raises(ValueError, match=r"solver must be the one that the grid was tuned for, Euler\(\), got Heun"):
        restore_solver(saved, solvers.Heun(), FLOW)
    with pytest.raises(ValueError, match=r"schedule must have the noise levels of the tuned one, RectifiedFlow\(\)"):
        restore_solver(saved, solvers.Euler(), schedules.cosine())
    with pytest.raises(ValueError, match="no such file"):
        load_grid(saved_path.with_name("other.json"))
    spoilt = saved._replace(rows=(np.zeros(3),))
    with pytest.raises(ValueError, match="saved must hold numbers of Euler"):
        restore_solver(spoilt, solvers.Euler(), FLOW)
