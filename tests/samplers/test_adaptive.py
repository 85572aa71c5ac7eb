"""The adaptive sampler against exact maps, in either direction, and its contracts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import level, moved, of_leaves, plane
from tables import SCHEDULES, in_float64

from scorekit import denoisers, densities, schedules
from scorekit.numerics.probability_flow import probability_flow
from scorekit.samplers.adaptive import adaptive_ode
from scorekit.typing import Prediction

SOME = ("sub_vp", "edm_from_zero", "ddpm_table")


def start_of(schedule, n=6):
    return schedule.sigma(1.0) * jax.random.normal(jax.random.key(0), (n, 2), schedule.sigma(1.0).dtype)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        *((name, None) for name in SOME),
        *(("cosine", "x0"), ("edm_from_zero", "x0"), ("rectified_flow", "eps"), ("cosine", "eps")),
    ],
)
def test_the_exact_map_of_a_gaussian_from_end_to_end_in_float32(name, target):
    """Also of networks: eps of an x0-network is 0/0 at sigma = 0; x0 of an eps-network is at alpha = 0."""
    schedule = SCHEDULES[name].make()
    x = start_of(schedule)
    exact = denoiser = denoisers.exact_denoiser(plane(), schedule)
    if target is not None:
        denoiser = denoisers.denoiser_from_network(lambda x, t: getattr(exact(x, t), target), schedule, target)
    out = jax.jit(lambda x: adaptive_ode(denoiser, schedule, x, rtol=1e-5))(x)
    assert out.success
    assert out.nfe == 2 + 6 * (out.accepted + out.rejected) < 60
    assert out.x.dtype == jnp.float32
    np.testing.assert_allclose(out.x, moved(plane(), schedule, x, 1.0, 0.0), atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "coordinate"),
    [("zero_terminal_linear_vp", "flow"), ("edm_from_zero", "angle"), ("rectified_flow", "sigma")],
)
@in_float64
def test_tolerances_and_inversion_in_float64(name, coordinate):
    schedule = SCHEDULES[name].make()
    t_max = 0.99 if coordinate == "sigma" else 1.0
    x = start_of(schedule)
    denoiser = denoisers.exact_denoiser(plane(), schedule)

    @jax.jit
    def there_and_back(x, tolerance):
        kwargs = {"rtol": tolerance, "atol": tolerance, "coordinate": coordinate}
        out = adaptive_ode(denoiser, schedule, x, t_max=t_max, **kwargs)
        return out, adaptive_ode(denoiser, schedule, out.x, t_max=t_max, invert=True, **kwargs)

    exact = moved(plane(), schedule, x, t_max, 0.0)
    loose, _ = there_and_back(x, 1e-4)
    tight, back = there_and_back(x, 1e-10)
    assert 1e-7 < np.abs(loose.x - exact).max() < 1e-2
    np.testing.assert_allclose(tight.x, exact, atol=2e-8)
    np.testing.assert_allclose(back.x, x, rtol=1e-6, atol=1e-7 * float(schedule.sigma(t_max)))
    assert tight.nfe > loose.nfe


@pytest.mark.slow
def test_saved_states_of_the_sampler():
    schedule = schedules.Cosine()
    times = np.array([1.0, 0.7, 0.31, 0.3, 0.0])
    x = {"a": start_of(schedule)}
    denoiser = of_leaves(a=denoisers.exact_denoiser(plane(), schedule))
    out = jax.jit(lambda x: adaptive_ode(denoiser, schedule, x, rtol=1e-5, save_at=times))(x)
    for t, state in zip(times, out.saved["a"], strict=True):
        np.testing.assert_allclose(state, moved(plane(), schedule, x["a"], 1.0, t), atol=2e-4)
    back = jax.jit(lambda x: adaptive_ode(denoiser, schedule, x, invert=True, rtol=1e-5, save_at=times[::-1]))(out.x)
    np.testing.assert_allclose(back.saved["a"], out.saved["a"][::-1], atol=5e-4)


@pytest.mark.slow
def test_vmap_gives_each_example_its_own_steps():
    schedule = schedules.RectifiedFlow()
    ring = densities.ring()
    denoiser = denoisers.exact_denoiser(ring, schedule)
    x = jax.random.normal(jax.random.key(3), (16, 2))
    one = lambda x: adaptive_ode(denoiser, schedule, x[None])
    out = jax.jit(jax.vmap(one))(x)
    assert out.success.all()
    assert len(np.unique(out.nfe)) > 1
    alone = jax.jit(one)(x[5])
    assert int(alone.nfe) == int(out.nfe[5])
    np.testing.assert_allclose(out.x[5], alone.x, atol=1e-5)


def test_half_precision_states_keep_their_dtype():
    schedule = schedules.Cosine()
    denoiser = denoisers.exact_denoiser(plane(), schedule)
    seen = []

    def watch(x, t):
        seen.append((x.dtype, t.dtype, t.shape))
        return denoiser(x, t)

    x = start_of(schedule)
    out = jax.jit(lambda x: adaptive_ode(watch, schedule, x, rtol=1e-2, atol=1e-2))(x.astype(jnp.bfloat16))
    assert out.x.dtype == jnp.bfloat16
    assert seen == [(jnp.bfloat16, jnp.float32, ())]  # and traced once
    np.testing.assert_allclose(out.x.astype(np.float32), moved(plane(), schedule, x, 1.0, 0.0), atol=0.05)


def test_changing_a_number_does_not_recompile():
    schedule, count = schedules.Cosine(), []

    @jax.jit
    def run(x, rtol, t_min):
        count.append(1)
        denoiser = denoisers.exact_denoiser(plane(), schedule)
        return adaptive_ode(denoiser, schedule, x, rtol=rtol, t_min=t_min)

    x = start_of(schedule)
    few, many = run(x, 1e-2, 0.1), run(x, 1e-6, 0.0)
    assert few.nfe < many.nfe
    assert len(count) == 1


@pytest.mark.slow
def test_a_failure_is_told_and_never_returned():
    schedule = schedules.RectifiedFlow()
    denoiser = denoisers.exact_denoiser(densities.ring(), schedule)
    x = start_of(schedule)
    solve = functools.partial(adaptive_ode, denoiser, schedule, rtol=1e-6, max_steps=5)
    advice = r"not solved to its end in 32 network evaluations: raise rtol or atol, raise max_steps, .* float64"
    with pytest.raises(RuntimeError, match=advice):
        solve(x)
    out = jax.jit(lambda x: solve(x, save_at=jnp.array([1.0, 0.5])))(x)
    assert not out.success
    assert np.isnan(out.x).all()
    assert np.isnan(out.saved).all()
    assert out.accepted + out.rejected == 5
    with pytest.raises(RuntimeError, match=advice):
        out.raise_if_failed()
    with pytest.raises(ValueError, match="adaptive steps have no gradient"):
        jax.grad(lambda x: adaptive_ode(denoiser, schedule, x).x.sum())(x)
    good = jax.jit(lambda x: adaptive_ode(denoiser, schedule, x))(x)
    assert good.raise_if_failed() is good


def test_the_slope_is_a_function_of_the_clock_for_any_solver():
    """In every coordinate Euler from the same point is DDIM."""
    schedule = schedules.LinearVP()
    denoiser = denoisers.exact_denoiser(plane(), schedule)
    t, s = 0.6, 0.5
    alpha, sigma = np.array([level(schedule, u) for u in (t, s)]).T
    x = start_of(schedule)
    x0, eps = denoiser(x, t)
    scales = {"flow": alpha + sigma, "sigma": alpha, "angle": np.hypot(alpha, sigma)}
    clocks = {"flow": sigma / (alpha + sigma), "sigma": sigma / alpha, "angle": np.arctan2(sigma, alpha)}
    for name in ("flow", "sigma"):
        scale, clock = scales[name], clocks[name]
        slope = probability_flow(denoiser, schedule, 1.0, 0.0, x, name)
        y = x / scale[0] + (clock[1] - clock[0]) * slope(jnp.asarray(clock[0]), x / scale[0])
        np.testing.assert_allclose(scale[1] * y, alpha[1] * x0 + sigma[1] * eps, rtol=1e-4, atol=1e-5)
    slope = probability_flow(denoiser, schedule, 1.0, 0.0, x, "angle")
    v = (alpha[0] * eps - sigma[0] * x0) / scales["angle"][0]
    np.testing.assert_allclose(slope(jnp.asarray(clocks["angle"][0]), x / scales["angle"][0]), v, rtol=1e-4, atol=1e-5)


def test_states_are_saved_at_ends_that_float32_does_not_have():
    schedule, same = schedules.Cosine(), lambda x, t: Prediction(x, 0 * x)
    for ends, at in (({"t_min": 0.1}, [0.5, 0.1]), ({"t_max": 0.9}, [0.9, 0.5])):
        out = adaptive_ode(same, schedule, jnp.ones((2, 1)), **ends, save_at=at)
        edge = out.x if "t_min" in ends else jnp.ones((2, 1))
        np.testing.assert_allclose(out.saved[1 - at.index(0.5)], edge, rtol=1e-6)
        assert out.saved.shape == (2, 2, 1)
