"""Levels for each frame: exact denoisers, samples of Gaussian processes, roll-outs; all linear, so that the covariance
of what a solver draws is computed and not estimated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from problems import lagged

from scorekit import denoisers, forcing, samplers, schedules, solvers
from scorekit.densities import gaussian
from scorekit.typing import Prediction

SCHEDULE = schedules.Cosine()
COEFFICIENT = 0.8
BETWEEN = np.array([[1.0, 0.5], [0.5, 2.0]])


def process(frames, channels=1):
    """``x_i = a x_{i-1} + noise`` with variance 1, or of two channels with covariance ``BETWEEN``."""
    return np.kron(lagged(frames, COEFFICIENT), BETWEEN if channels == 2 else np.eye(1))


def density(frames, channels=1):
    return gaussian(jnp.zeros(frames * channels), covariance=jnp.asarray(process(frames, channels), jnp.float32))


def covariance_of(solver, levels, frames, channels=1, causal=False):
    """That of the samples of a deterministic solver: they are linear in the noise."""
    denoiser = forcing.exact_denoiser(density(frames, channels), SCHEDULE, frames, causal)
    basis = jnp.eye(frames * channels).reshape(-1, frames, channels)
    rows = jax.jit(forcing.sample)(denoiser, SCHEDULE, solver, basis, levels).reshape(len(basis), -1)
    return np.asarray(rows.T @ rows)


@pytest.mark.parametrize("causal", [pytest.param(False, marks=pytest.mark.slow), True])
def test_exact_denoiser_is_gaussian_conditioning(causal):
    frames, channels = 4, 2
    c, rng = process(frames, channels), np.random.default_rng(0)
    t = np.array([0.0, 0.3, 0.9, 1.0], np.float32)
    x = jnp.asarray(rng.normal(size=(1, frames, channels)), jnp.float32)
    found = forcing.exact_denoiser(density(frames, channels), SCHEDULE, frames, causal)(x, t[None])
    a, s = (np.repeat(np.asarray(value(t), float), channels) for value in (SCHEDULE.alpha, SCHEDULE.sigma))
    noisy = a[:, None] * c * a + np.diag(s**2)
    for i in range(frames):
        seen = slice(0, (i + 1) * channels if causal else frames * channels)
        of_frame = slice(i * channels, (i + 1) * channels)
        inverse = np.linalg.solve(noisy[seen, seen], np.asarray(x).reshape(-1)[seen])
        np.testing.assert_allclose(found.x0[0, i], (c * a)[of_frame, seen] @ inverse, atol=2e-4)
        np.testing.assert_allclose(found.eps[0, i], np.diag(s)[of_frame, seen] @ inverse, atol=2e-4)


@pytest.mark.slow
def test_exact_denoiser_at_one_level_is_that_of_the_density():
    x = jax.random.normal(jax.random.key(0), (3, 4, 1))
    expected = denoisers.exact_denoiser(density(4), SCHEDULE)(x[..., 0], 0.4)
    for t in (0.4, jnp.full(3, 0.4), jnp.full((3, 4), 0.4)):
        found = forcing.exact_denoiser(density(4), SCHEDULE, 4)(x, t)
        np.testing.assert_allclose(found.x0[..., 0], expected.x0, atol=1e-5)
        np.testing.assert_allclose(found.eps[..., 0], expected.eps, atol=1e-5)


SOLVERS = [solvers.Euler(), solvers.Ancestral()]


@pytest.mark.parametrize("solver", [SOLVERS[0], *(pytest.param(s, marks=pytest.mark.slow) for s in SOLVERS[1:])])
def test_equal_levels_are_the_ordinary_sampler(solver):
    denoiser, ts = forcing.exact_denoiser(density(3), SCHEDULE, 3), solvers.grids.uniform(6)
    x = jax.random.normal(jax.random.key(1), (4, 3, 1))
    key = jax.random.key(2)
    found = jax.jit(forcing.sample)(denoiser, SCHEDULE, solver, x, forcing.full_sequence(ts, 3), key=key)
    expected = jax.jit(samplers.sample)(denoiser, SCHEDULE, solver, x, ts, key=key)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert float(jnp.abs(expected).max()) > 0.5


@pytest.mark.slow
def test_gradients_into_the_schedule_are_those_of_the_ordinary_sampler():
    ts, x = solvers.grids.uniform(3), jax.random.normal(jax.random.key(1), (2, 2, 1))

    def total(sample, times, s):
        schedule = schedules.Cosine(s=s)
        denoiser = forcing.exact_denoiser(density(2), schedule, 2)
        return jnp.sum(sample(denoiser, schedule, SOLVERS[0], x, times) ** 2)

    found = jax.jit(jax.grad(lambda s: total(forcing.sample, forcing.full_sequence(ts, 2), s)))(0.008)
    expected = jax.jit(jax.grad(lambda s: total(samplers.sample, ts, s)))(0.008)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("order", "solver", "channels"),
    [
        (1, solvers.Euler(), 1),
        pytest.param(2, solvers.Heun(), 2, marks=pytest.mark.slow),
    ],
)
def test_a_pyramid_has_the_covariance_of_the_process_at_the_order_of_the_solver(order, solver, channels):
    frames, errors = 4, []
    for n in (16, 32):
        levels = forcing.pyramid(solvers.grids.uniform(n), frames, delay=n // 4)
        errors.append(np.abs(covariance_of(solver, levels, frames, channels) - process(frames, channels)).max())
    assert errors[1] < channels * (0.1, 0.005)[order - 1]
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), order, atol=0.15)


@pytest.mark.slow
def test_a_causal_denoiser_is_exact_one_frame_after_the_other_and_not_all_together():
    ts, frames = solvers.grids.uniform(24), 3
    one_by_one = covariance_of(solvers.Heun(), forcing.autoregressive(ts, frames), frames, causal=True)
    np.testing.assert_allclose(one_by_one, process(frames), atol=0.02)
    together = covariance_of(solvers.Heun(), forcing.full_sequence(ts, frames), frames, causal=True)
    assert np.abs(together - process(frames)).max() > 0.05


def of_shared_levels(frames, schedule=SCHEDULE):
    """The exact denoiser of a batch at the same levels, as one matrix."""
    exact = forcing.exact_denoiser(density(frames), schedule, frames)

    def denoiser(x, t):
        found = exact(jnp.eye(frames)[..., None], jnp.broadcast_to(t[:1], (frames, frames)))
        return Prediction(*(jnp.einsum("bj,ji->bi", x[..., 0], half[..., 0])[..., None] for half in found))

    return denoiser


def autocovariance(sampler, draws=4000, length=40):
    """``E x_i x_(i + lag)`` of a roll-out for lags up to 3, ``(4, length)``."""
    x = np.asarray(jax.jit(forcing.sample_long)(jax.random.key(0), sampler, jnp.zeros((draws, length, 1))))[..., 0]
    return np.stack([np.pad((x[:, lag:] * x[:, : length - lag]).mean(0), (0, lag), "edge") for lag in range(4)])


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "chunk"), [(solvers.Euler(), 1), (solvers.Ancestral(), 2)])
def test_a_roll_out_of_eight_windows_stays_stationary(solver, chunk):
    errors = []
    for n in (16, 64):
        ts = solvers.grids.uniform(n)
        sampler = forcing.roll_out(of_shared_levels(5), SCHEDULE, solver, ts, window=5, context=1, chunk=chunk)
        found = autocovariance(sampler)
        np.testing.assert_allclose(found[:, 5:10].mean(1), found[:, -5:].mean(1), atol=0.06)  # the last as the first
        errors.append(np.abs(found.mean(1) - COEFFICIENT ** np.arange(4)).max())
    assert errors[1] < 0.1
    assert errors[1] < 0.45 * errors[0]  # first order, and the noise of the draws


@pytest.mark.slow
def test_a_roll_out_continues_its_history():
    ts, history = solvers.grids.uniform(64), jnp.full((4000, 3, 1), 2.0)
    options = {"window": 4, "context": 2, "chunk": 2}
    sampler = forcing.roll_out(of_shared_levels(4), SCHEDULE, solvers.Euler(), ts, **options)
    x = jax.jit(forcing.sample_long)(jax.random.key(0), sampler, jnp.zeros((4000, 4, 1)), history)[..., 0]
    np.testing.assert_allclose(x.mean(0), 2.0 * COEFFICIENT ** np.arange(1, 5), atol=0.1)
    np.testing.assert_allclose(x.var(0), 1 - COEFFICIENT ** (2 * np.arange(1, 5)), atol=0.1)


@pytest.mark.slow
def test_init_and_step_are_the_loop_of_sample_long():
    sampler = forcing.roll_out(
        of_shared_levels(4), SCHEDULE, solvers.Euler(), solvers.grids.uniform(6), window=4, context=1
    )
    history = jax.random.normal(jax.random.key(3), (2, 1, 1))
    expected = jax.jit(forcing.sample_long)(jax.random.key(0), sampler, jnp.zeros((2, 5, 1)), history)
    for_start, for_steps = jax.random.split(jax.random.key(0))
    state, step, found = sampler.init(for_start, history), jax.jit(lambda s, k, state: s.step(k, state)), []
    for key in jax.random.split(for_steps, 5 + sampler.delay):
        state, frames = step(sampler, key, state)
        found.append(frames)
    np.testing.assert_allclose(jnp.concatenate(found[sampler.delay :], axis=1), expected, atol=1e-5)
    np.testing.assert_allclose(found[sampler.delay - 1], history)  # given frames are not changed


def test_stabilisation_shows_finished_frames_as_slightly_noisy():
    seen = []

    def denoiser(x, t):
        jax.debug.callback(lambda x, t: seen.append((np.asarray(x), np.asarray(t))), x, t)
        return Prediction(0 * x, x)

    x = jnp.ones((1, 2, 1))
    levels = jnp.array([[0.0, 1.0], [0.0, 0.5], [0.0, 0.0]])
    found = forcing.sample(denoiser, SCHEDULE, solvers.Euler(), x, levels, stabilisation=0.2)
    jax.effects_barrier()
    for (shown, t), own in zip(seen, (1.0, 0.5), strict=True):
        np.testing.assert_allclose(t, [[0.2, own]])
        np.testing.assert_allclose(shown[0, 0], SCHEDULE.alpha(0.2), rtol=1e-6)
    assert float(found[0, 0, 0]) == 1.0


TS, ROLL = [1.0, 0.5, 0.0], {"window": 4, "context": 1}
WITH = (lambda x, t: Prediction(x, x), SCHEDULE, solvers.Euler())
TWO = jnp.ones((1, 2, 1))
ERRORS = [
    ("ts must end at 0, got 0.1", lambda: forcing.pyramid([1.0, 0.1], 2, 1)),
    ("ts must end at 0, got 0.1", lambda: forcing.roll_out(*WITH, [1.0, 0.1], **ROLL)),
    (
        r"levels must have shape \(n \+ 1, 2\) .*, got \(3, 3\)",
        lambda: forcing.sample(*WITH, TWO, np.zeros((3, 3))),
    ),
    (r"levels must end at 0, got \[0.  0.5\]", lambda: forcing.sample(*WITH, TWO, [[1.0, 1.0], [0.0, 0.5]])),
    ("levels must fall or stay", lambda: forcing.sample(*WITH, TWO, [[0.5, 0.5], [1.0, 0.5], [0.0, 0.0]])),
    ("window must be longer than context = 4, got 3", lambda: forcing.roll_out(*WITH, TS, window=3, context=4)),
    ("chunk must divide the 3 frames", lambda: forcing.roll_out(*WITH, TS, chunk=2, **ROLL)),
    ("x_init must hold values", lambda: forcing.sample(*WITH, jnp.ones((1, 0, 1)), jnp.zeros((2, 0)))),
    ("look back at no earlier", lambda: forcing.roll_out(*WITH[:2], solvers.DPMSolverPP2M(), TS, **ROLL)),
]


test_errors_say_what_is_allowed = raising(ERRORS)
