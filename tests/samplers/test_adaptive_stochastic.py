"""The adaptive SDE solver: exact noise whatever is rejected, exact laws on Gaussians, honest counts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from jax.tree_util import Partial
from problems import level, samples_agree, shapes
from tables import SCHEDULES

from scorekit import denoisers, densities, process, schedules
from scorekit.samplers.adaptive_stochastic import _increment, _Node, adaptive_sde
from scorekit.typing import Prediction

KEY = jax.random.key(6)
N = 4000
jitted = jax.jit(adaptive_sde, static_argnames=("max_steps", "denoise"))
DATA = densities.gaussian(jnp.array([0.5, -1.0]), covariance=jnp.array([[0.8, 0.3], [0.3, 0.4]]))
CASES = {
    "vp": schedules.linear_vp(),
    "ve": schedules.geometric_ve(0.02, 20.0),
    "sub_vp": schedules.sub_vp(),
    "flow": schedules.rectified_flow(),
}


def gauss(std):
    """Shaped like ``DATA``, so that one compiled function serves both."""
    return densities.gaussian(jnp.zeros(2), covariance=std**2 * jnp.eye(2))


def solve(denoiser, schedule, x, tolerance, t_start=1.0, t_end=1e-3, atol=None, **options):
    atol = tolerance if atol is None else atol
    return jitted(KEY, denoiser, schedule, x, t_start=t_start, t_end=t_end, rtol=tolerance, atol=atol, **options)


@functools.partial(jax.jit, static_argnames="n")
def start_of(data, schedule, t=1.0, n=N):
    return data.marginal(schedule.alpha(t), schedule.sigma(t)).sample(jax.random.key(3), (n,))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_mean_and_covariance_of_a_gaussian(name):
    schedule = CASES[name]
    denoiser = denoisers.exact_denoiser(DATA, schedule)
    solved = solve(denoiser, schedule, start_of(DATA, schedule), 0.02, denoise=False)
    noisy = DATA.marginal(*level(schedule, 1e-3))
    assert np.all(solved.success)
    samples_agree(solved.x, noisy.mean, noisy.covariance(), sigmas=4.5)


@pytest.mark.parametrize("name", ["vp", "ve"])
def test_the_error_shrinks_with_the_tolerance(name):
    """Narrow data, for which neither the posterior step nor its correction is exact."""
    schedule, data = CASES[name], gauss(0.2)
    denoiser, start = denoisers.exact_denoiser(data, schedule), start_of(data, schedule)
    solved = [solve(denoiser, schedule, start, tolerance, denoise=False) for tolerance in (0.9, 0.3, 0.03)]
    alpha, sigma = level(schedule, 1e-3)
    errors = [abs(np.var(s.x) / (0.2**2 * alpha**2 + sigma**2) - 1) for s in solved]
    assert errors[0] > 1.0
    assert 0.2 < errors[1] < 0.5 * errors[0]
    assert errors[2] < 4.5 * np.sqrt(2 / N)
    nfe = [np.mean(s.nfe) for s in solved]
    assert nfe[0] < nfe[1] < nfe[2]


@pytest.mark.parametrize("name", CASES)
def test_long_steps_are_exact_in_law_for_standard_normal_data(name):
    """With the halves' mean instead of the weight, six steps lose a third of the variance."""
    schedule, data = CASES[name], gauss(1.0)
    denoiser, x = denoisers.exact_denoiser(data, schedule), start_of(data, schedule)
    solved = solve(denoiser, schedule, x, 0.9, atol=1e3, t_end=0.1, denoise=False)
    assert np.max(solved.accepted) <= 6
    alpha, sigma = level(schedule, 0.1)
    samples_agree(solved.x, np.zeros(2), (alpha**2 + sigma**2) * np.eye(2), sigmas=4.5)


# ---- the Brownian path ---------------------------------------------------------------------------------------------


def _noise_and_judge(x, t):
    return Prediction({"noise": jnp.zeros_like(x["noise"]), "judge": 20.0 * x["noise"]}, x)


@pytest.mark.slow
def test_rejections_that_depend_on_the_noise_leave_its_law_alone():
    """``noise`` has the estimate 0, so it ends as the sum of its accepted increments; ``judge`` decides by them.

    Drawing anew after a rejection gives a variance of 1.24 and a fourth moment of 4.4.
    """
    schedule, n = CASES["vp"], 10_000
    x = {"noise": np.zeros((n, 1), np.float32), "judge": np.zeros((n, 1), np.float32)}
    solved = solve(Partial(_noise_and_judge), schedule, x, 0.05, 0.8, 0.1, 0.6, denoise=False)
    assert np.mean(solved.rejected) > 5
    variance = float(schedule.sigma(0.1) ** 2 * process.snr_drop(schedule, 0.8, 0.1))
    z = np.asarray(solved.x["noise"])[:, 0] / np.sqrt(variance)
    moments = np.array([z.mean(), np.mean(z**2), np.mean(z**3), np.mean(z**4)])
    np.testing.assert_array_less(np.abs(moments - [0, 1, 0, 3]), 4.5 * np.sqrt(np.array([1, 2, 15, 96]) / n))


def test_the_pieces_of_a_step_are_independent_and_add_up():
    n, length = 20_000, 3.0
    keys, like = jax.random.split(KEY, n), jnp.zeros((n, 1))

    @jax.jit
    def piece(depth, index):
        full = lambda value: jnp.full(n, value)
        node = _Node(full(0.7), full(length), full(depth), full(index), full(0))
        return _increment(keys, node, like)[:, 0]

    pieces = {d: np.stack([piece(d, i) for i in range(2**d)]) for d in (0, 1, 3)}
    for depth, z in pieces.items():
        np.testing.assert_allclose(z @ z.T / n, np.eye(2**depth), atol=4.5 * np.sqrt(2 / n))
        std = np.sqrt(np.diff(np.exp(0.7 + np.linspace(0, length, 2**depth + 1))))  # Brownian in exp(u)
        whole = pieces[0][0] * np.sqrt(np.exp(0.7 + length) - np.exp(0.7))
        np.testing.assert_allclose(std @ z, whole, atol=1e-3)


# ---- counts and failure --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("denoise", "max_steps"), [(True, 1000), (False, 7)])
def test_nfe_is_the_number_of_calls(denoise, max_steps):
    schedule, calls = CASES["flow"], []
    exact = denoisers.exact_denoiser(DATA, schedule)

    def counted(x, t):
        jax.debug.callback(lambda _: calls.append(1), t)
        return exact(x, t)

    run = jax.jit(lambda key, x: adaptive_sde(key, counted, schedule, x, max_steps=max_steps, denoise=denoise))
    rejected = 0
    for seed, size in [(0, 1), (1, 1), (2, 1), (3, 1), (4, 5)] if max_steps == 1000 else [(3, 5), (4, 5)]:
        calls.clear()
        solved = jax.block_until_ready(run(jax.random.key(seed), start_of(DATA, schedule, n=size)))
        jax.effects_barrier()
        assert np.max(solved.nfe) == len(calls)
        assert np.all(solved.success) == (max_steps == 1000)
        if max_steps == 1000:
            np.testing.assert_array_equal(solved.nfe, 2 * solved.accepted + solved.rejected + denoise)
        else:
            np.testing.assert_array_equal(solved.accepted + solved.rejected, 7)
        rejected += np.sum(solved.rejected)
    assert rejected > 0


@pytest.mark.slow
def test_too_few_steps_spoil_only_the_examples_that_need_more():
    schedule = CASES["vp"]
    denoiser, x = denoisers.exact_denoiser(DATA, schedule), start_of(DATA, schedule)
    enough = jax.tree.map(np.asarray, solve(denoiser, schedule, x, 0.1, denoise=False))
    tries = enough.accepted + enough.rejected
    limit = int(np.median(tries))
    short = jax.tree.map(np.asarray, solve(denoiser, schedule, x, 0.1, denoise=False, max_steps=limit))
    np.testing.assert_array_equal(short.success, tries <= limit)
    np.testing.assert_array_equal(np.isnan(short.x).all(-1), tries > limit)
    np.testing.assert_array_equal(short.x[short.success], enough.x[short.success])


def _not_finite(x, t):
    return Prediction(jnp.where(x > 0, jnp.nan, 0.0), x)


@pytest.mark.slow
def test_an_eager_failure_says_what_to_try():
    """An estimate that is not finite fails its own example only."""
    schedule, x = CASES["vp"], np.float32([[2.0], [-2.0]])
    solved = jax.tree.map(np.asarray, solve(Partial(_not_finite), schedule, x, 0.3, t_end=0.9, max_steps=30))
    np.testing.assert_array_equal(solved.success, [False, True])
    np.testing.assert_array_equal(solved.rejected, [30, 0])
    np.testing.assert_array_equal(solved.nfe, [1 + 30 + 1, 2 * solved.accepted[1] + 1])
    np.testing.assert_array_equal(np.isnan(solved.x[:, 0]), [True, False])
    with pytest.raises(RuntimeError, match="1 of 2 examples did not reach t_end in max_steps = 30 steps; raise rtol"):
        adaptive_sde(KEY, _not_finite, schedule, x, t_end=0.9, max_steps=30)


# ---- contracts -----------------------------------------------------------------------------------------------------


KINDS = ("linear_vp", "edm", "edm_from_zero", "rectified_flow", "laplace", "zero_terminal_table", "learned")
KINDS += ("functions",)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_schedule_from_its_end_to_near_zero(name):
    @jax.jit
    def run(schedule):
        x = start_of(DATA, schedule, n=200)
        return adaptive_sde(KEY, denoisers.exact_denoiser(DATA, schedule), schedule, x, rtol=0.1, atol=0.05)

    solved = run(SCHEDULES[name].make())
    x = np.asarray(solved.x)
    assert np.all(solved.success)
    np.testing.assert_allclose(x.mean(0), DATA.mean, atol=5 * np.sqrt(0.8 / 200))
    np.testing.assert_allclose(x.std(0), np.sqrt([0.8, 0.4]), rtol=5 / np.sqrt(2 * 200) + 0.05)


@pytest.mark.slow
def test_examples_are_independent_and_new_numbers_do_not_retrace():
    traces = []

    @jax.jit
    def run(key, x, schedule, rtol, t_end):
        exact = denoisers.exact_denoiser(DATA, schedule)

        def denoiser(x, t):
            traces.append(t)
            return exact(x, t)

        return adaptive_sde(key, denoiser, schedule, x, rtol=rtol, t_end=t_end)

    x = np.float32([[0.5, 1.0], [0.3, -0.2], [2.0, 0.1]])
    one = jax.tree.map(np.asarray, run(KEY, x, CASES["vp"], 0.1, 0.01))
    x[1] = 9.0
    other = jax.tree.map(np.asarray, run(KEY, x, CASES["vp"], 0.1, 0.01))
    run(KEY, x, schedules.linear_vp(0.2, 15.0), 0.2, 0.02)
    assert len(traces) == 1
    for a, b in [(one.x, other.x), (one.nfe, other.nfe)]:
        np.testing.assert_array_equal(a[[0, 2]], b[[0, 2]])
    assert len(set(np.asarray(one.nfe).tolist())) > 1


@pytest.mark.slow
def test_vmap_trees_dtypes_and_forward_gradients():
    schedule = CASES["flow"]
    double = lambda tree: jax.tree.map(lambda leaf: 0.5 * leaf, tree)
    denoiser = lambda x, t: Prediction(double(x), double(x))
    x = {"a": jnp.ones((2, 3), jnp.bfloat16), "b": jnp.ones(2)}
    scaled = lambda scale: jax.tree.map(lambda leaf: (scale * leaf).astype(leaf.dtype), x)
    solve = lambda scale: adaptive_sde(KEY, denoiser, schedule, scaled(scale), rtol=0.2, t_end=0.05)

    @jax.jit
    def run(scales):
        return jax.vmap(solve)(scales), jax.lax.map(solve, scales), jax.jvp(lambda s: solve(s).x["b"], (1.0,), (1.0,))

    many, each, (_, slope) = run(np.float32([1.0, 0.5]))
    assert shapes(each.x) == {"a": ((2, 2, 3), "bfloat16"), "b": ((2, 2), "float32")}
    np.testing.assert_allclose(many.x["b"], each.x["b"], rtol=1e-4)
    np.testing.assert_array_equal(many.nfe, each.nfe)
    assert np.all(np.isfinite(slope))
    assert np.all(slope != 0)


ERRORS = {
    "t_end must be < t_start = 0.2, got 0.3": {"t_start": 0.2, "t_end": 0.3},
    r"log_snr\(t_end\) must be finite: raise t_end = 0.0": {"t_end": 0.0},
    "rtol must be in": {"rtol": 1e-9},
}
test_errors = raising(
    ERRORS,
    lambda options: adaptive_sde(KEY, _not_finite, schedules.rectified_flow(), jnp.ones((2, 1)), **options),
)
