"""Time grids: their length, their ends and their spacing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tables
from errors import raising

from scorekit import schedules
from scorekit.solvers import grids

SCHEDULES = {"vp": schedules.LinearVP(), "flow": schedules.RectifiedFlow(), "ve": schedules.GeometricVE()}


@pytest.mark.parametrize("n", [1, 2, 7, 100])
@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_quadratic_has_equal_steps_in_the_root(n, power):
    expected = np.linspace(0.9 ** (1 / power), 0.1 ** (1 / power), n + 1) ** power
    ts = np.asarray(grids.quadratic(n, 0.9, 0.1, power=power))
    np.testing.assert_allclose(ts, expected, rtol=1e-5)
    assert (ts[0], ts[-1]) == (np.float32(0.9), np.float32(0.1))
    np.testing.assert_allclose(grids.uniform(n, 0.9, 0.1), np.linspace(0.9, 0.1, n + 1), rtol=1e-6)


@pytest.mark.parametrize("name", ["Cosine", "EDM", "RectifiedFlow", "GeometricVE"])
def test_matching_has_the_log_snr_of_the_other_schedule(name):
    schedule, other = getattr(schedules, name)(), schedules.LinearVP()
    ts = grids.quadratic(8, t_max=0.85, t_min=0.05)
    np.testing.assert_allclose(schedule.log_snr(grids.matching(schedule, other, ts)), other.log_snr(ts), atol=5e-3)


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize(
    "name", ["cosine", "sub_vp", "edm_from_zero", "shifted_flow", "geometric_ve", "stable_diffusion_table", "laplace"]
)
def test_from_sigmas_inverts_the_ratio_of_the_reference(name, x64):
    """Of the formula in extended precision, at both ends too: of sigma(0) = 0, of alpha(1) = 0, of neither."""
    case, ts = tables.SCHEDULES[name], np.linspace(1, 0, 10).astype(np.longdouble)
    with jax.enable_x64(x64), np.errstate(divide="ignore"):
        alpha, sigma = case.reference(ts)
        found = np.asarray(grids.from_sigmas(case.make(), (sigma / alpha).astype(float)))
        assert found.dtype == (np.float64 if x64 else np.float32)
        np.testing.assert_allclose(found, ts.astype(float), atol=1e-11 if x64 else 2e-6)
        assert (found[0], found[-1]) == pytest.approx((1.0, 0.0), abs=1e-12 if x64 else 1e-6)


def test_from_sigmas_of_a_traced_schedule():
    draw = jax.jit(lambda low, sigmas: grids.from_sigmas(schedules.GeometricVE(sigma_min=low, sigma_max=50.0), sigmas))
    np.testing.assert_allclose(draw(0.5, jnp.array([50.0, 5.0, 0.5])), [1.0, 0.5, 0.0], atol=1e-6)
    for low, sigmas in (0.5, [50.0, 5.0, 0.0]), (1.0, [50.0, 5.0, 0.5]), (0.5, [5.0, 50.0, 0.5]), (0.5, [60.0, 9.0, 1]):
        assert np.isnan(draw(low, jnp.array(sigmas))).all()


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("name", ["Cosine", "EDM", "RectifiedFlow", "GeometricVE", "LinearVP"])
def test_vp_quadratic_has_the_log_snr_of_quadratic_and_exact_ends(name, power):
    schedule, vp = getattr(schedules, name)(), schedules.LinearVP()
    ts = grids.vp_quadratic(schedule, 8, power=power)
    assert (ts[0], ts[-1]) == (1.0, 0.0)
    low = np.clip(schedule.log_snr(jnp.array([1.0, 0.0])), vp.log_snr(1.0), vp.log_snr(0.0))
    steps = np.asarray(vp.time_at(jnp.asarray(low))) ** (1 / power)
    inner = np.linspace(*steps, 9)[1:-1] ** power
    np.testing.assert_allclose(schedule.log_snr(ts[1:-1]), vp.log_snr(inner), atol=5e-3)


@pytest.mark.parametrize(
    "schedule",
    [schedules.EDM(sigma_min=1.0, sigma_max=2.0), schedules.EDM(sigma_min=0.0, sigma_max=500.0)],
    ids=["narrow", "wide"],
)
def test_vp_quadratic_has_decreasing_times_on_any_range_of_noise(schedule):
    ts = jax.jit(lambda schedule: grids.vp_quadratic(schedule, 12, 0.9, 0.1))(schedule)
    assert (ts[0], ts[-1]) == (np.float32(0.9), np.float32(0.1))
    assert bool(jnp.all(jnp.diff(ts) < 0))


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_uniform_log_snr_has_equal_steps_and_exact_ends(schedule):
    ts = np.asarray(grids.uniform_log_snr(schedule, 10, 0.95, 0.05))
    assert ts.shape == (11,)
    assert (ts[0], ts[-2], ts[-1]) == (np.float32(0.95), np.float32(0.05), 0.0)
    steps = np.diff(np.asarray(schedule.log_snr(ts[:-1])))
    np.testing.assert_allclose(steps, steps.mean(), rtol=2e-3)
    assert steps.mean() > 0
    without = np.asarray(grids.uniform_log_snr(schedule, 10, 0.95, 0.05, to_zero=False))
    assert without.shape == (11,)
    assert without[-1] == np.float32(0.05)


@pytest.mark.parametrize("rho", [1.0, 3.0, 7.0])
def test_karras_has_equal_steps_in_the_root_of_the_noise(rho):
    t = np.asarray(grids.karras(schedules.RectifiedFlow(), 8, 0.9, 0.1, rho=rho, to_zero=False), np.float64)
    np.testing.assert_allclose((t / (1 - t)) ** (1 / rho), np.linspace(9 ** (1 / rho), 9 ** (-1 / rho), 9), rtol=1e-5)
    ts = grids.karras(schedules.LinearVP(), 9, 0.95, 0.05, rho=rho, to_zero=False)
    noise = np.exp(-0.5 * np.asarray(schedules.LinearVP().log_snr(ts), np.float64)) ** (1 / rho)
    np.testing.assert_allclose(np.diff(noise), np.diff(noise).mean(), rtol=1e-2)


MORE = ("Cosine", "SubVP", "EDM", "Sigmoid", "Laplace")
EVERY = {**SCHEDULES, **{name: getattr(schedules, name)() for name in MORE}}


@pytest.mark.parametrize("grid", [grids.uniform_log_snr, grids.karras])
@pytest.mark.parametrize("n", [1, 2, 1000])
def test_every_schedule_has_decreasing_times_with_exact_ends(grid, n):
    """In float32 too, where neighbouring times come close."""
    for name, schedule in EVERY.items():
        ts = np.asarray(grid(schedule, n))
        assert ts.shape == (n + 1,), name
        assert np.all(np.diff(ts) < 0), name
        assert (ts[0], ts[-1]) == (np.float32(1 - 1e-3), 0.0), name
        if n > 1:
            assert ts[-2] == np.float32(1e-3), name


def test_uniform_times_of_edm_are_the_karras_grid_of_the_paper():
    sigma = np.asarray(schedules.EDM().sigma(grids.uniform(17)), np.float64)
    i = np.arange(18)
    paper = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(sigma, paper, rtol=1e-4)
    again = grids.karras(schedules.EDM(), 17, 1.0, 0.0, to_zero=False)
    np.testing.assert_allclose(again, grids.uniform(17), atol=1e-6)


test_errors = raising(
    {
        "ts must have noise levels": lambda: grids.matching(
            schedules.EDM(sigma_min=1.0, sigma_max=2.0), schedules.LinearVP(), [0.9, 0.1]
        ),
        "sigmas must have shape .n . 1,.": lambda: grids.from_sigmas(schedules.EDM(), [80.0]),
        "sigmas must have decreasing": lambda: grids.from_sigmas(schedules.Cosine(), [0.1, 1.0]),
        r"schedule, 80 to 0.002 .leave the last 0 out: denoiser.* got \[80\.  0\.\]": lambda: grids.from_sigmas(
            schedules.EDM(), [80.0, 0.0]
        ),
        r"in the range of schedule, 80 to 0, got \[81\.  0\.\]": lambda: grids.from_sigmas(
            schedules.EDM(sigma_min=0.0), [81.0, 0.0]
        ),
        "t_max must be a time with finite log-SNR": lambda: grids.uniform_log_snr(schedules.Cosine(), 5, t_max=1.0),
        "t_min must be": lambda: grids.karras(schedules.LinearVP(), 5, 1.0, 0.0),
        "t_min must be > 0 unless to_zero is False, got 0.0": lambda: grids.karras(schedules.EDM(), 5, 1.0, 0.0),
        "t_min must be < t_max": lambda: grids.uniform_log_snr(schedules.LinearVP(), 5, 0.1, 0.9),
        "t_min must be < t_max = 0.1": lambda: grids.vp_quadratic(schedules.Cosine(), 5, 0.1, 0.9),
    }
)


def test_grids_follow_a_traced_schedule():
    traced = jax.jit(lambda s: grids.uniform_log_snr(s, 5))(schedules.LinearVP())
    np.testing.assert_allclose(traced, grids.uniform_log_snr(schedules.LinearVP(), 5), rtol=1e-5)
    assert bool(jnp.all(jnp.diff(traced) < 0))
