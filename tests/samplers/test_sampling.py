"""The sampling loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import denoisers, densities, samplers, schedules, solvers
from scorekit.samplers._integrate import integrate

SCHEDULE = schedules.cosine()
DATA = densities.gaussian(jnp.array([1.0, -0.5]), std=0.5)
DENOISER = denoisers.exact_denoiser(DATA, SCHEDULE)
X = jax.random.normal(jax.random.key(0), (3, 2))
TS = solvers.grids.uniform(5)


class CountingDDIM(solvers.SolverBase):
    """A solver with a state of another type than x, as a user may write it."""

    def init(self, x):
        return jnp.zeros((), jnp.int32)

    def step(self, key, state, x_t, row, denoiser):
        assert key is None
        x0, eps = denoiser(x_t, row.t)
        return row.alpha_s * x0 + row.sigma_s * eps, state + 1


def test_trajectory_holds_the_state_after_every_step():
    final, states = samplers.sample(None, DENOISER, SCHEDULE, solvers.Euler(), X, TS, trajectory=True)
    assert states.shape == (5, 3, 2)
    np.testing.assert_array_equal(states[-1], final)
    x = X
    for t, s, expected in zip(TS[:-1], TS[1:], states, strict=True):
        x0, eps = DENOISER(x, t)
        x = SCHEDULE.alpha(s) * x0 + SCHEDULE.sigma(s) * eps
        np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-6)


def test_integrate_unrolls():
    draw = jax.jit(
        lambda x, ts, unroll: integrate(None, DENOISER, SCHEDULE, solvers.UniPC(), x, ts, unroll=unroll),
        static_argnums=2,
    )
    for unroll in (False, True):
        assert ("while" in draw.lower(X, TS, unroll).as_text()) != unroll
    np.testing.assert_allclose(draw(X, TS, True), draw(X, TS, False), rtol=1e-6)


def test_states_are_stacked_only_for_a_trajectory():
    def shapes(trajectory):
        run = lambda x: samplers.sample(None, DENOISER, SCHEDULE, solvers.Euler(), x, TS, trajectory=trajectory)
        (scan,) = [e for e in jax.make_jaxpr(run)(X).eqns if e.primitive.name == "scan"]
        return [v.aval.shape for v in scan.outvars]

    assert (5, 3, 2) not in shapes(False)
    assert (5, 3, 2) in shapes(True)


def test_user_solver_with_a_state_of_another_type():
    ours = samplers.sample(None, DENOISER, SCHEDULE, solvers.Euler(), X, TS)
    theirs = jax.jit(lambda x: samplers.sample(None, DENOISER, SCHEDULE, CountingDDIM(), x, TS))(X)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_sample_is_determined_by_the_key():
    run = jax.jit(lambda key: samplers.sample(key, DENOISER, SCHEDULE, solvers.Ancestral(), X, TS))
    one, again, other = run(jax.random.key(1)), run(jax.random.key(1)), run(jax.random.key(2))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


@pytest.mark.parametrize("ts", [[1.0, 0.5, 0.0], (1, 0), np.array([1.0, 0.25]), jnp.array([0.9, 0.2], jnp.bfloat16)])
def test_times_of_any_kind_reach_the_denoiser_as_float32_scalars(ts):
    def denoiser(x, t):
        assert (t.shape, t.dtype) == ((), jnp.float32)
        return DENOISER(x, t)

    out = samplers.sample(None, denoiser, SCHEDULE, solvers.DPMSolverPP2M(), X, ts)
    assert (out.shape, out.dtype) == (X.shape, X.dtype)
    exact = samplers.sample(None, denoiser, SCHEDULE, solvers.DPMSolverPP2M(), X, np.asarray(ts, np.float32))
    np.testing.assert_array_equal(out, exact)


def test_nfe_counts_evaluations():
    assert samplers.nfe(solvers.Euler(), TS) == 5
    assert samplers.nfe(solvers.Heun(), TS) == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ts": TS[::-1]}, "ts must decrease strictly within"),
        ({"ts": jnp.array([1.5, 0.5])}, "ts must decrease strictly within"),
        ({"ts": jnp.array([0.5, -0.1])}, "ts must decrease strictly within"),
        ({"ts": jnp.array([0.5, jnp.nan])}, "ts must decrease strictly within"),
        ({"ts": jnp.array([0.5])}, r"ts must have shape \(n \+ 1,\)"),
        ({"ts": TS[None]}, r"ts must have shape \(n \+ 1,\)"),
        ({"x_init": jnp.zeros((3, 2), jnp.int32)}, "x_init must hold floating arrays, got dtype int32"),
        ({"solver": solvers.Ancestral()}, "key must be a PRNG key for the stochastic solver Ancestral"),
    ],
)
def test_sample_validates_its_arguments(changes, message):
    arguments = {"denoiser": DENOISER, "schedule": SCHEDULE, "solver": solvers.Euler(), "x_init": X, "ts": TS}
    with pytest.raises(ValueError, match=message):
        samplers.sample(None, **{**arguments, **changes})
