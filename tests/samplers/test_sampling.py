"""The sampling loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising

from scorekit import denoisers, densities, forcing, samplers, schedules, solvers
from scorekit.solvers.steps import integrate

SCHEDULE = schedules.Cosine()
DATA = densities.gaussian(jnp.array([1.0, -0.5]), std=0.5)
DENOISER = denoisers.exact_denoiser(DATA, SCHEDULE)
X = jax.random.normal(jax.random.key(0), (3, 2))
TS = solvers.grids.uniform(5)


def test_trajectory_holds_the_state_after_every_step():
    final, states = samplers.trajectory(DENOISER, SCHEDULE, solvers.Euler(), X, TS)
    assert states.shape == (5, 3, 2)
    np.testing.assert_array_equal(states[-1], final)
    np.testing.assert_array_equal(final, samplers.sample(DENOISER, SCHEDULE, solvers.Euler(), X, TS))
    x = X
    for t, s, expected in zip(TS[:-1], TS[1:], states, strict=True):
        x0, eps = DENOISER(x, t)
        x = SCHEDULE.alpha(s) * x0 + SCHEDULE.sigma(s) * eps
        np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-6)


def test_integrate_unrolls():
    draw = jax.jit(
        lambda x, ts, unroll: integrate(DENOISER, SCHEDULE, solvers.UniPC(), x, ts, unroll=unroll)[0],
        static_argnums=2,
    )
    for unroll in (False, True):
        assert ("while" in draw.lower(X, TS, unroll).as_text()) != unroll
    np.testing.assert_allclose(draw(X, TS, True), draw(X, TS, False), rtol=1e-6)


def test_states_are_stacked_only_for_a_trajectory():
    def shapes(sampler):
        run = lambda x: sampler(DENOISER, SCHEDULE, solvers.Euler(), x, TS)
        (scan,) = [e for e in jax.make_jaxpr(run)(X).eqns if e.primitive.name == "scan"]
        return [v.aval.shape for v in scan.outvars]

    assert (5, 3, 2) not in shapes(samplers.sample)
    assert (5, 3, 2) in shapes(samplers.trajectory)


def test_sample_is_determined_by_the_key():
    run = jax.jit(lambda key: samplers.sample(DENOISER, SCHEDULE, solvers.Ancestral(), X, TS, key=key))
    one, again, other = run(jax.random.key(1)), run(jax.random.key(1)), run(jax.random.key(2))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


@pytest.mark.parametrize("ts", [[1.0, 0.5, 0.0], (1, 0), np.array([1.0, 0.25]), jnp.array([0.9, 0.2], jnp.bfloat16)])
def test_times_of_any_kind_reach_the_denoiser_as_float32_scalars(ts):
    def denoiser(x, t):
        assert (t.shape, t.dtype) == ((), jnp.float32)
        return DENOISER(x, t)

    out = samplers.sample(denoiser, SCHEDULE, solvers.DPMSolverPP2M(), X, ts)
    assert (out.shape, out.dtype) == (X.shape, X.dtype)
    exact = samplers.sample(denoiser, SCHEDULE, solvers.DPMSolverPP2M(), X, np.asarray(ts, np.float32))
    np.testing.assert_array_equal(out, exact)


def test_nfe_counts_evaluations():
    assert samplers.nfe(solvers.Euler(), TS) == 5
    assert samplers.nfe(solvers.Heun(), TS) == 10


EPS = denoisers.denoiser_from_network(lambda x, t: 0.1 * x, SCHEDULE, "eps")
KEY, ANCESTRAL, EULER = jax.random.key(0), solvers.Ancestral(), solvers.Euler()
X0 = denoisers.denoiser_from_network(lambda x, t: 0.1 * x, SCHEDULE, "x0")
FRAMES = jnp.ones((1, 2, 1))
UNDEFINED_AT_NOISE = {
    "sample": lambda: samplers.sample(EPS, SCHEDULE, EULER, X, TS),
    "sample of the score": lambda: samplers.sample(
        denoisers.denoiser_from_score(lambda x, t: -x, SCHEDULE), SCHEDULE, EULER, X, TS
    ),
    "sample by EulerMaruyama": lambda: samplers.sample(DENOISER, SCHEDULE, solvers.EulerMaruyama(), X, TS, key=KEY),
    "trajectory": lambda: samplers.trajectory(EPS, SCHEDULE, EULER, X, TS),
    "sdedit": lambda: samplers.sdedit(KEY, EPS, SCHEDULE, EULER, X, TS),
    "translate": lambda: samplers.translate(DENOISER, EPS, SCHEDULE, EULER, X, TS),
    "repaint": lambda: samplers.repaint(KEY, EPS, SCHEDULE, ANCESTRAL, X, TS, jnp.zeros((3, 2)), X, jump_length=2),
    "sample_with_log_probs": lambda: samplers.sample_with_log_probs(KEY, EPS, SCHEDULE, ANCESTRAL, X, TS),
    "twisted_sample": lambda: samplers.twisted_sample(
        KEY, EPS, SCHEDULE, ANCESTRAL, X, TS, lambda x: -jnp.square(x).sum(1)
    ),
    "product_sample": lambda: samplers.product_sample(KEY, EPS, SCHEDULE, ANCESTRAL, X, TS, [EPS], [2.0]),
    "corrupt_denoise": lambda: samplers.corrupt_denoise(KEY, EPS, SCHEDULE, EULER, X, TS, 2),
    "forcing.sample": lambda: forcing.sample(EPS, SCHEDULE, EULER, FRAMES, forcing.full_sequence([1.0, 0.5, 0.0], 2)),
    "forcing.sample_long": lambda: forcing.sample_long(
        KEY, forcing.roll_out(EPS, SCHEDULE, EULER, [1.0, 0.5, 0.0], window=3, context=1), FRAMES
    ),
}
NOT_FINITE = {
    "x_init must be finite": lambda: samplers.sample(DENOISER, SCHEDULE, EULER, X * jnp.nan, TS),
    "predicts x0 divides by sigma, which is 0 at t = 0: begin at t_min=0.001": lambda: samplers.invert(
        X0, SCHEDULE, EULER, X, TS
    ),
    "t below 1": lambda: samplers.adaptive_ode(EPS, SCHEDULE, X, coordinate="flow", max_steps=1),
    "must keep the chain finite, but 6 of": lambda: samplers.langevin(KEY, lambda x: 1e30 * x, X, 1.0, 3),
    "^x must be finite": lambda: samplers.metropolis_langevin(KEY, lambda x: -x[:, 0], X * jnp.nan, 1.0, 3),
}
BEGIN = r"alpha, which is 0 at t = 1: begin at t_max=0\.999"
test_eager_sampling_says_where_a_target_is_undefined = pytest.mark.slow(
    raising([(BEGIN, call) for call in UNDEFINED_AT_NOISE.values()])
)
test_eager_sampling_says_what_is_not_finite = pytest.mark.slow(raising(NOT_FINITE, error=(ValueError, RuntimeError)))


def test_the_readme_path_of_a_network_of_eps():
    solver, ts = samplers.recommended(SCHEDULE, 8)
    with pytest.raises(ValueError, match=r"6 of 6 values of the samples are not.*t_max=0\.999"):
        samplers.sample(EPS, SCHEDULE, solver, X, ts)
    solver, ts = samplers.recommended(SCHEDULE, 8, target="eps")
    assert np.isfinite(samplers.sample(EPS, SCHEDULE, solver, X, ts)).all()


def test_compiled_sampling_is_the_bare_loop_and_gives_nan():
    ours = lambda x: samplers.sample(EPS, SCHEDULE, EULER, x, TS)
    bare = lambda x: integrate(EPS, SCHEDULE, EULER, x, TS)[0]
    assert str(jax.make_jaxpr(ours)(X)) == str(jax.make_jaxpr(bare)(X))
    assert np.isnan(jax.jit(ours)(X)).all()
    assert np.isnan(jax.vmap(ours)(X)).all()
