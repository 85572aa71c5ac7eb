"""Parallel sampling: the answer of ``sample`` in fewer sequential calls, on one device or four."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tables import in_float64

from scorekit import denoisers, densities, process, samplers, schedules, solvers
from scorekit.samplers.parallel import parallel_sample

SCHEDULE = schedules.cosine()
RING = denoisers.exact_denoiser(densities.ring(), SCHEDULE)
X = process.sample_prior(jax.random.key(0), SCHEDULE, jnp.zeros((4, 2)))
SOLVERS = {
    "euler": solvers.Euler(),
    "ab_2_angle": solvers.AdamsBashforth(order=2, coordinate="angle"),
    "dpmpp_2m": solvers.DPMSolverPP2M(),
    "exp_3_eps": solvers.ExponentialAdamsBashforth(),
    "heun": solvers.Heun(),
    "ipndm": solvers.IPNDM(),
    "dpm_3_x0": solvers.DPMSolver(order=3),
}


def rough(x, t):
    """A network that is smooth neither in x nor in time."""
    column = jnp.reshape(t, (-1, 1))
    return jnp.sin(7.0 * x[..., ::-1]) + 0.3 * jnp.cos(50.0 * column)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVERS)
@in_float64
def test_n_sweeps_give_the_sequential_answer_for_any_network(name):
    solver, ts, x = SOLVERS[name], jnp.array([1.0, 0.8, 0.6, 0.5, 0.3, 0.2, 0.0]), jnp.array(X, float)
    denoiser = denoisers.denoiser_from_network(rough, SCHEDULE, "v")

    @jax.jit
    def run(x):
        parallel = lambda most, m: parallel_sample(
            denoiser, SCHEDULE, solver, x, ts, tolerance=1e-14, max_iterations=most, anderson=m
        )
        sequential = samplers.sample(None, denoiser, SCHEDULE, solver, x, ts)
        return [parallel(None, 0), parallel(6, 2), parallel(4, 1)], sequential

    (*complete, cut), sequential = run(x)
    for result in complete:
        assert bool(result.converged)
        assert int(result.evaluations) == int(result.iterations) * 6 * solver.evals_per_step
        np.testing.assert_allclose(result.x, sequential, rtol=1e-9, atol=1e-11)
    assert not bool(cut.converged)
    assert int(cut.iterations) == 4
    assert float(cut.error.max()) > 1e-3
    assert float(jnp.abs(cut.x - sequential).max()) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "heun"])
def test_few_sweeps_are_enough_on_the_ring(name):
    """64 steps in at most 10 sweeps; a window of 16 needs half of all the evaluations, and stays near the answer."""
    solver, ts = SOLVERS[name], solvers.grids.uniform(64)
    x = process.sample_prior(jax.random.key(0), SCHEDULE, jnp.zeros((32, 2)))

    @jax.jit
    def run(x):
        parallel = lambda **kwargs: parallel_sample(RING, SCHEDULE, solver, x, ts, **kwargs)
        results = parallel(anderson=0), parallel(), parallel(window=16), parallel(tolerance=1e-1)
        return results, samplers.sample(None, RING, SCHEDULE, solver, x, ts)

    (picard, anderson, window, loose), sequential = run(x)
    assert int(anderson.iterations) < int(picard.iterations) <= 10
    assert int(window.iterations) <= 17
    assert int(window.evaluations) < 0.6 * int(anderson.evaluations)
    assert int(loose.iterations) < int(anderson.iterations)
    assert float(loose.error.max()) <= 1e-1
    for result in (picard, anderson, window):
        assert bool(result.converged)
        assert float(result.error.max()) <= 1e-3
        np.testing.assert_allclose(result.x, sequential, atol=1e-3)


def test_sweep_is_one_batched_call_with_a_time_per_state():
    calls, shapes = [], []

    def denoiser(x, t):
        shapes.append((x.shape, t.shape))
        jax.debug.callback(calls.append, t)
        return RING(x, t)

    ts = solvers.grids.uniform(12)
    result = jax.jit(lambda x: parallel_sample(denoiser, SCHEDULE, solvers.DPMSolverPP2M(), x, ts, window=8))(X)
    jax.effects_barrier()
    assert set(shapes) == {((32, 2), (32,))}
    assert len(calls) == int(result.iterations) == int(result.evaluations) // 8
    first = sorted({tuple(np.asarray(t)) for t in calls})[-1]
    np.testing.assert_allclose(first, np.repeat(ts[:8], 4))


@pytest.mark.slow
@pytest.mark.parametrize("window", [None, 8])
def test_four_devices_share_the_steps(window):
    mesh = Mesh(np.array(jax.devices()[:4]), ("steps",))
    layout = NamedSharding(mesh, PartitionSpec("steps"))
    seen, ts = [], solvers.grids.uniform(16)

    def watched(x, t):
        jax.debug.inspect_array_sharding(x, callback=seen.append)
        return RING(x, t)

    def run(x, sharding):
        denoiser = RING if sharding is None else watched
        return parallel_sample(
            denoiser, SCHEDULE, solvers.AdamsBashforth(), x, ts, window=window, tolerance=1e-4, sharding=sharding
        )

    one = jax.jit(run, static_argnums=1)(X[:1], None)
    four = jax.jit(run, static_argnums=1)(jax.device_put(X[:1], NamedSharding(mesh, PartitionSpec())), layout)
    assert seen
    assert all(s.is_equivalent_to(layout, 2) for s in seen)
    np.testing.assert_allclose(four.x, one.x, atol=1e-5)
    assert int(four.iterations) == int(one.iterations)


@pytest.mark.slow
def test_pytrees_and_bfloat16():
    pull = lambda x, t: jax.tree.map(lambda leaf: jnp.tanh(2.0 * leaf), x)
    denoiser, ts = denoisers.denoiser_from_network(pull, SCHEDULE, "x0"), solvers.grids.uniform(16)
    x = {"a": X, "b": X.reshape(4, 2, 1)[:, ::-1].astype(jnp.bfloat16)}

    @jax.jit
    def run(x):
        solver = solvers.DPMSolverPP2M()
        parallel = parallel_sample(denoiser, SCHEDULE, solver, x, ts, tolerance=1e-2, window=12)
        return parallel, samplers.sample(None, denoiser, SCHEDULE, solver, x, ts)

    result, sequential = run(x)
    assert bool(result.converged)
    assert result.error.shape == (4,)
    for key, atol in (("a", 1e-2), ("b", 0.05)):
        assert (result.x[key].shape, result.x[key].dtype) == (x[key].shape, x[key].dtype)
        np.testing.assert_allclose(*(x[key].astype(jnp.float32) for x in (result.x, sequential)), rtol=0, atol=atol)


@pytest.mark.slow
def test_under_vmap_each_example_stops_for_itself():
    x, ts = jnp.concatenate([X, 0.1 * X, 20.0 * X])[:, None], solvers.grids.uniform(24)
    run = lambda x: parallel_sample(RING, SCHEDULE, solvers.Euler(), x, ts)
    together = jax.jit(run)(x[:, 0])
    alone = jax.jit(jax.vmap(run))(x)
    assert len(set(alone.iterations.tolist())) > 1
    assert int(alone.iterations.max()) == int(together.iterations)
    np.testing.assert_allclose(alone.x[:, 0], together.x, atol=1e-2, rtol=1e-3)


@pytest.mark.slow
@in_float64
def test_forward_derivatives_are_those_of_the_sequential_sampler():
    ts, direction = solvers.grids.uniform(12), jnp.ones((4, 2))
    ring = denoisers.exact_denoiser(densities.ring(), SCHEDULE)
    parallel = lambda x: parallel_sample(ring, SCHEDULE, solvers.Euler(), x, ts, tolerance=1e-9).x
    sequential = lambda x: samplers.sample(None, ring, SCHEDULE, solvers.Euler(), x, ts)
    both = jax.jit(lambda x: [jax.jvp(f, (x,), (direction,))[1] for f in (parallel, sequential)])
    np.testing.assert_allclose(*both(jnp.array(X, float)), rtol=1e-5, atol=1e-7)


ERRORS = {
    "solver must be deterministic, got the stochastic Ancestral": {"solver": solvers.Ancestral()},
    "solver must carry nothing but .* methods slope and combine, got UniPC": {"solver": solvers.UniPC()},
    "ts must decrease strictly": {"ts": [0.0, 1.0]},
}
ARGUMENTS = {"schedule": SCHEDULE, "solver": solvers.Euler(), "x_init": X, "ts": [1.0, 0.0]}
test_errors = raising(ERRORS, lambda changes: parallel_sample(RING, **{**ARGUMENTS, **changes}))


def test_standard_normal_needs_few_sweeps():
    denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(2), std=1.0), SCHEDULE)
    run = jax.jit(lambda x: parallel_sample(denoiser, SCHEDULE, solvers.Euler(), x, solvers.grids.uniform(50)))
    assert int(run(X).iterations) <= 3
