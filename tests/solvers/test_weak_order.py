"""The exact law of a stochastic solver on Gaussian data: its steps are affine in x, the state and the noise, so that
mean and covariance follow from one Jacobian a step, without sampling."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from problems import doubling_steps
from tables import SCHEDULES, in_float64

from scorekit import densities, schedules
from scorekit import solvers as S
from scorekit.denoisers import exact_denoiser
from scorekit.samplers import recommended
from scorekit.solvers import _base, corrected

ROOT = Path(__file__).parents[2]
MEAN, STD, OFFSET = 0.7, 0.4, 1.5
START, END = -3.0, 3.0
STEPS = (100, 200)
# The order of the error in the mean, which for linear problems does not depend on the noise; and the noise of the
# process, 0 for the ODE and 1 for the reverse SDE, along which the expectation of x0 is constant, so that an
# exponential solver has no error in the mean at all (None).
SOLVERS = {
    "ancestral": (S.Ancestral(), None, 1.0),
    "ddim_half": (S.Ancestral(eta=0.5**0.5), 1, 0.5),
    "reverse_diffusion": (S.ReverseDiffusion(), 1, 1.0),
    "euler_maruyama": (S.EulerMaruyama(), 1, 1.0),
    "euler_maruyama_log_snr": (S.EulerMaruyama(clock="log_snr"), 1, 1.0),
    "2m_sde": (S.DPMSolverPP2MSDE(), None, 1.0),
    "2m_sde_half": (S.DPMSolverPP2MSDE(eta=0.5), 2, 0.5),
    "3m_sde_half": (S.DPMSolverPP3MSDE(eta=0.5), 2, 0.5),
    "sa_2_half": (S.SASolver(steps=2, eta=0.5), 2, 0.5),
    "sa_3": (S.SASolver(steps=3), None, 1.0),
    "sa_3_half": (S.SASolver(steps=3, eta=0.5), 3, 0.5),
    "sa_4_half": (S.SASolver(steps=4, eta=0.5), 4, 0.5),
    "churn": (S.StochasticHeun(gamma=0.0), 1, 0.5),  # gamma is set below, in proportion to the step
}


def exact_moments(schedule, start, end, eta):
    """Mean and variance at the end of the process with noise ``eta`` that starts at one point, ``OFFSET`` off the mean.

    A deviation decays by ``r = sqrt(K' / K) ((alpha / alpha') sqrt(K' / K))^eta``, K the variance of ``x_t``; for
    eta = 1 that is the regression of ``x_s`` on ``x_t``, for eta = 0 the flow of the ODE.
    """
    alpha, alpha_end = (float(schedule.alpha(t)) for t in (start, end))
    variance, variance_end = (float((schedule.alpha(t) * STD) ** 2 + schedule.sigma(t) ** 2) for t in (start, end))
    flow = np.sqrt(variance_end / variance)
    r = flow * (alpha / alpha_end * flow) ** eta
    return alpha_end * MEAN + r * OFFSET, variance_end - r**2 * variance


def grid(schedule, n):
    return jnp.asarray(schedule.time_at(doubling_steps(n, START, END)))


def propagate(solver, schedule, ts, std=STD, start=None):
    """Mean and variance at the end, by the recursion of the affine steps.

    From ``start``, a mean and a variance; from one point, ``OFFSET`` off the mean of the data, by default.
    """
    data = densities.gaussian(jnp.array([MEAN]), std=std)
    denoiser = exact_denoiser(data, schedule)
    x = jnp.zeros((1, 1))
    flat, unflatten = ravel_pytree((x, solver.init(x)))
    quiet = jnp.zeros(3)  # the normals of a predictor and of a corrector's steps

    def body(moments, row):
        mean, covariance = moments

        def step(flat, normals):
            x, carry = unflatten(flat)
            drawn = iter(normals)
            with pytest.MonkeyPatch.context() as patch:
                for module in (_base, corrected):
                    patch.setattr(module, "normal_like", lambda key, x: jnp.full_like(x, next(drawn)))
                return ravel_pytree(solver.step(carry, x, row, denoiser, key=jax.random.key(0)))[0]

        jacobian, push = jax.jacfwd(step, (0, 1))(mean, quiet)
        return (step(mean, quiet), jacobian @ covariance @ jacobian.T + push @ push.T), None

    first, variance = (schedule.alpha(ts[0]) * MEAN + OFFSET, 0.0) if start is None else start
    moments = flat.at[0].set(first), jnp.zeros((flat.size, flat.size)).at[0, 0].set(variance)
    (mean, covariance), _ = jax.lax.scan(body, moments, solver.plan(schedule, ts))
    return mean[0], covariance[0, 0]


@jax.jit
def errors(solvers, schedule, grids, exact):
    """Errors of mean and variance of each solver on its grid."""
    moments = [propagate(solver, schedule, ts) for solver, ts in zip(solvers, grids, strict=True)]
    return [[jnp.abs(a - b) for a, b in zip(each, exact, strict=True)] for each in moments]


# Each solver with one of the schedules, in turn.
LABELS = ("linear_vp", "geometric_ve", "rectified_flow", "edm")
EVERY = [(name, LABELS[k % 4]) for k, name in enumerate(SOLVERS)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "label"), EVERY)
@in_float64
def test_measured_weak_order_is_the_declared_order(name, label):
    """Variance: the declared order, with the small error that a good solver has. Mean: as declared above."""
    solver, order_of_mean, eta = SOLVERS[name]
    schedule = SCHEDULES[label].make()
    grids = [grid(schedule, n) for n in STEPS]
    chosen = [solver, solver]
    if name == "churn":  # equal steps h of log-SNR, each of which adds the noise of eta h
        grids = [schedule.time_at(jnp.linspace(START, END, n + 1)) for n in STEPS]
        chosen = [S.StochasticHeun(gamma=jnp.sqrt(1 + eta * (END - START) / n) - 1) for n in STEPS]
    exact = exact_moments(schedule, grids[0][0], grids[0][-1], eta)
    coarse, fine = np.asarray(errors(chosen, schedule, grids, exact))
    slope = np.log2(coarse[1] / fine[1])
    assert solver.order - 0.2 < slope < solver.order + 0.4, (name, label, coarse, fine)
    assert fine[1] < 0.15 * STD**2, (name, label, fine)
    if order_of_mean is None:
        assert fine[0] < 1e-12, (name, label, fine)
    elif fine[0] > 1e-12:  # reverse diffusion has an exact mean where alpha stays 1
        assert abs(np.log2(coarse[0] / fine[0]) - order_of_mean) < 0.15, (name, label, coarse, fine)


@jax.jit
def error_of_law(solver, schedule, ts, std):
    """Of the variance of samples of Gaussian data, relative."""
    variance = lambda t: (schedule.alpha(t) * std) ** 2 + schedule.sigma(t) ** 2
    _, found = propagate(solver, schedule, ts, std, (schedule.alpha(ts[0]) * MEAN, variance(ts[0])))
    return found / variance(ts[-1]) - 1.0


def table(page, header):
    """The cells of the table below a header, as numbers where they are."""
    lines = (ROOT / "docs" / page).read_text().partition(header)[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip().replace("−", "-") for cell in line.strip(" |").split("|")] for line in lines]
    return [(first, [float(x) for cell in rest if cell != "–" for x in cell.split(",")]) for first, *rest in cells]


@pytest.mark.slow
@in_float64
def test_the_pages_state_the_exact_law_by_the_width_of_the_data():
    schedule = schedules.Cosine()
    rows = table("measurements/solvers.md", "| standard deviation of the data | 16 steps | 32 | 64 |")
    assert {"0.5", "1"} < {std for std, _ in rows}
    for std, shown in rows:
        pairs = [recommended(schedule, n, stochastic=True) for n in (16, 32, 64)]
        found = [100 * (np.sqrt(1 + error_of_law(solver, schedule, ts, float(std))) - 1) for solver, ts in pairs]
        np.testing.assert_allclose(found, shown, atol=0.051, err_msg=std)
    rows = table("measurements/solvers.md", "| standard deviation of the data | n = 50: alone, corrected | 200 | 800 |")
    assert {"0.5", "1"} < {std for std, _ in rows}
    for std, shown in rows:
        found = []
        for n in (50, 200, 800):
            both = S.Ancestral(), S.PredictorCorrector(predictor=S.Ancestral(), snr=0.16 * np.sqrt(50 / n))
            found += [100 * error_of_law(solver, schedule, S.grids.uniform(n), float(std)) for solver in both]
        np.testing.assert_allclose(found, shown, atol=0.051, err_msg=std)


@pytest.mark.slow
@in_float64
def test_the_page_of_particles_states_the_error_of_the_evidence():
    """By the law of the sampler, which is Gaussian: of y = 2 measured with a standard deviation of 0.5."""
    rows = table("tilting.md", "| error of `log_normalizer` | 32 steps | 64 | 96 | 128 | 256 |")
    evidence = lambda variance: -0.5 * (4.0 / (variance + 0.25) + np.log(variance + 0.25))
    laws = [row for row in rows if "particles" not in row[0]]
    assert len(laws) == 3
    for name, shown in laws:
        solver, std = eval(re.findall(r"`(\w+\(\))`", name)[0], vars(S)), float(name.split()[-1])
        law = [error_of_law(solver, schedules.Cosine(), S.grids.uniform(n), std) for n in (32, 64, 96, 128, 256)]
        found = [evidence(std**2 * (1 + error)) - evidence(std**2) for error in law]
        np.testing.assert_allclose(found, shown, atol=0.00051, err_msg=name)


def error_of_variance(schedule, n, **corrector):
    """Of ReverseDiffusion, or with a corrector, at the end of n steps from the exact law; relative."""
    solver = S.PredictorCorrector(**corrector) if corrector else S.ReverseDiffusion()
    return abs(float(error_of_law(solver, schedule, schedule.time_at(jnp.linspace(START, END, n + 1)), STD)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear_vp", "geometric_ve"])
@in_float64
def test_predictor_corrector_is_first_order_where_its_snr_falls_with_the_step(name):
    """Variance: slope 1 for ``snr^2`` in proportion to the step; for a fixed snr a bias of the size of ``snr^2``."""
    schedule = SCHEDULES[name].make()
    coarse, fine = (error_of_variance(schedule, n, snr=n**-0.5) for n in (100, 200))
    assert abs(np.log2(coarse / fine) - 1.0) < 0.15, (coarse, fine)
    assert fine < 0.1
    biased, less = (error_of_variance(schedule, 200, snr=snr) for snr in (0.32, 0.16))
    assert biased > 0.7 * error_of_variance(schedule, 100, snr=0.32)
    assert 0.2 < less / biased < 0.4, (less, biased)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sub_vp", "rectified_flow"])
@in_float64
def test_corrector_helps_for_any_number_of_steps(name):
    """The size of its step depends on the preceding step alone: it helps after 1 step as after 10."""
    schedule = SCHEDULES[name].make()
    for n in (1, 10):
        alone, both = error_of_variance(schedule, n), error_of_variance(schedule, n, snr=0.16)
        assert both < alone, (n, both, alone)
    alone, twice = error_of_variance(schedule, 20), error_of_variance(schedule, 20, num_corrections=2)
    assert twice < 0.75 * alone, (twice, alone)
