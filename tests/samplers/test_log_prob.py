"""Log-probabilities of steps: closed forms, and the identities behind policy gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import agrees
from scipy import stats
from tables import in_float64

from scorekit import denoisers, samplers, schedules, solvers
from scorekit.samplers.log_prob import sample_with_log_probs, trajectory_log_probs

SOLVERS = {
    "ancestral": solvers.Ancestral(),
    "euler_maruyama": solvers.EulerMaruyama(clock="log_snr"),
    "reverse_diffusion": solvers.ReverseDiffusion(),
    "2m_sde": solvers.DPMSolverPP2MSDE(),
    "3m_sde": solvers.DPMSolverPP3MSDE(eta=0.7),
    "sa": solvers.SASolver(steps=3),
}
KEY, SCHEDULE = jax.random.key(0), schedules.LinearVP()
TS = np.array([0.9, 0.7, 0.4, 0.3, 0.1])
X = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)


def network(gain):
    return denoisers.denoiser_from_network(lambda x, t: gain * jnp.tanh(x[..., ::-1]) + 0.1 * t, SCHEDULE, "x0")


@jax.jit
def everything(key, x, ts):
    """Per solver: sampled with log-probabilities, sampled without, and evaluated again."""
    out = {}
    for name, solver in SOLVERS.items():
        logged = sample_with_log_probs(key, network(0.8), SCHEDULE, solver, x, ts)
        plain = samplers.sample(network(0.8), SCHEDULE, solver, x, ts, key=key)
        out[name] = logged, plain, trajectory_log_probs(network(0.8), SCHEDULE, solver, logged.trajectory, ts)
    return out


@pytest.fixture(scope="module")
def results():
    return everything(KEY, X, jnp.asarray(TS))


@pytest.mark.parametrize("name", SOLVERS)
def test_sample_with_log_probs_draws_the_samples_of_sample_and_is_reproduced(name, results):
    logged, plain, again = results[name]
    np.testing.assert_allclose(logged.x, plain, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(logged.trajectory[0], X)
    np.testing.assert_array_equal(logged.trajectory[-1], logged.x)
    np.testing.assert_allclose(again, logged.log_probs, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_steps_without_noise_count_zero_and_have_gradients():
    ts = np.float32([1.0, 0.5, 0.0])

    @jax.jit
    def run(solver, gain):
        out = sample_with_log_probs(KEY, network(gain), SCHEDULE, solver, X, ts)
        total = lambda g: trajectory_log_probs(network(g), SCHEDULE, solver, out.trajectory, ts).sum()
        return out.log_probs, jax.grad(total)(gain)

    for solver in (solvers.Ancestral(), solvers.SASolver()):
        log_probs, gradient = run(solver, 0.8)
        np.testing.assert_array_equal(log_probs[-1], 0.0)
        assert np.all(np.asarray(log_probs[0]) != 0)
        assert np.isfinite(gradient)
    still, _ = run(solvers.Ancestral(eta=0.0), 0.8)
    np.testing.assert_array_equal(still, 0.0)


@pytest.mark.parametrize("name", SOLVERS)
@in_float64
def test_trajectory_log_probs_are_those_of_the_steps(name):
    """Of normals whose mean and deviation are found from two draws of every step, which others compare with papers."""
    solver, path = SOLVERS[name], np.random.default_rng(0).normal(size=(5, 3, 2))

    @jax.jit
    def run(path):
        rows, state, found = solver.plan(SCHEDULE, TS), solver.init(path[0]), []
        keys = jax.random.split(KEY)
        z = [jax.random.normal(key, path[0].shape) for key in keys]
        for k in range(4):
            row = jax.tree.map(lambda leaf, k=k: leaf[k], rows)
            (one, after), (other, _) = [solver.step(state, path[k], row, network(0.8), key=key) for key in keys]
            std = (one - other) / (z[0] - z[1])
            found.append((one - std * z[0], std))
            state = after
        return trajectory_log_probs(network(0.8), SCHEDULE, solver, path, TS), found

    got, steps = run(path)
    for k, (mean, std) in enumerate(steps):
        np.testing.assert_allclose(got[k], stats.norm.logpdf(path[k + 1], mean, std).sum(-1), rtol=1e-9)


def linear(gain):
    """A policy in one dimension: x0 as a multiple of the state."""
    return denoisers.denoiser_from_network(lambda x, t: gain * x + 0.2, SCHEDULE, "x0")


@jax.jit
def episodes(solver, key, x):
    """Of many episodes: the final states, their derivatives by the gain through the noise, the log-ratio to another
    gain, and the derivatives of the log-probabilities."""
    ts, gain = jnp.array([0.9, 0.7, 0.5, 0.35]), jnp.float32(0.5)
    sampled = lambda g: sample_with_log_probs(key, linear(g), SCHEDULE, solver, x, ts)
    (last, path, old), tangents = jax.jvp(sampled, (gain,), (jnp.ones_like(gain),))
    evaluated = lambda g: trajectory_log_probs(linear(g), SCHEDULE, solver, path, ts)
    new = evaluated(gain + 0.08)
    _, scores = jax.jvp(evaluated, (gain,), (jnp.ones_like(gain),))
    return last[:, 0], tangents[0][:, 0], jnp.sum(new - old, 0), scores


@pytest.mark.parametrize("name", ["ancestral", "sa"])
def test_identities_of_importance_sampling_and_of_policy_gradients(name):
    x = np.random.default_rng(2).normal(size=(100_000, 1)).astype(np.float32)
    last, pathwise, log_ratio, scores = map(np.asarray, episodes(SOLVERS[name], jax.random.key(3), x))

    ratio = np.exp(log_ratio)
    assert ratio.std() > 0.05
    assert agrees(ratio, 1.0, errors=4)
    for score in scores:
        assert score.std() > 0.01
        assert agrees(score, errors=4)
    episode = scores.sum(0)
    assert pathwise.mean() > 10 * pathwise.std() / np.sqrt(len(pathwise))
    both_ways = (last - last.mean()) * episode - pathwise  # the gradient of the expected reward
    assert agrees(both_ways, errors=4)


@pytest.mark.slow
def test_log_probs_of_a_pytree_sum_over_its_leaves():
    path = np.random.default_rng(5).normal(size=(5, 3, 4)).astype(np.float32)
    split = {"a": path[..., :1], "b": path[..., 1:].reshape(5, 3, 3, 1)}
    pull = lambda x, t: jax.tree.map(lambda leaf: 0.5 * leaf, x)
    denoiser = denoisers.denoiser_from_network(pull, SCHEDULE, "x0")

    @jax.jit
    def run(path, split):
        one, both = (trajectory_log_probs(denoiser, SCHEDULE, SOLVERS["2m_sde"], p, TS) for p in (path, split))
        start = jax.tree.map(lambda leaf: leaf[0], split)
        return one, both, sample_with_log_probs(KEY, denoiser, SCHEDULE, SOLVERS["2m_sde"], start, TS)

    one, both, out = run(path, split)
    np.testing.assert_allclose(one, both, rtol=1e-5)
    assert jax.tree.map(jnp.shape, out.trajectory) == jax.tree.map(jnp.shape, split)
    assert out.log_probs.shape == (4, 3)


def test_one_step_solvers_take_a_part_of_a_trajectory(results):
    logged, _, again = results["ancestral"]
    piece = trajectory_log_probs(network(0.8), SCHEDULE, SOLVERS["ancestral"], logged.trajectory[1:4], TS[1:4])
    np.testing.assert_allclose(piece, again[1:3], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_bfloat16_states_have_float32_log_probabilities():
    @jax.jit
    def run(x):
        out = sample_with_log_probs(KEY, network(0.8), SCHEDULE, solvers.SASolver(), x, TS)
        return out, trajectory_log_probs(network(0.8), SCHEDULE, solvers.SASolver(), out.trajectory, TS)

    out, again = run(X.astype(jnp.bfloat16))
    assert (out.x.dtype, out.trajectory.dtype, out.log_probs.dtype) == (jnp.bfloat16, jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(again, out.log_probs, rtol=1e-3, atol=1e-2)
