"""Formulas of solvers in numpy; tests/docs/test_coming_from.py has the numbers of other packages."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate
from tables import SCHEDULES, in_float64

from scorekit import solvers as S
from scorekit.denoisers import denoiser_from_network
from scorekit.samplers import sample

TS = np.array([0.9, 0.8, 0.55, 0.5, 0.2, 0.05])
START = np.array([[0.3, -1.2, 2.0], [1.0, 0.0, -0.5]])
KEY = jax.random.key(11)


def x0_of(x, t):
    """A denoiser that is not a gradient: only the arithmetic of the solver matters."""
    return np.tanh(x[..., ::-1]) + 0.3 * np.sin(5.0 * t)


def network(x, t):
    return jnp.tanh(x[..., ::-1]) + 0.3 * jnp.sin(5.0 * t)


class Values:
    """alpha, sigma and half the log-SNR of a schedule, as numpy functions of t; and eps in place of x0."""

    def __init__(self, name):
        self.schedule = SCHEDULES[name].make()

    def alpha(self, t):
        return np.asarray(self.schedule.alpha(t))

    def sigma(self, t):
        return np.asarray(self.schedule.sigma(t))

    def half(self, t):
        return np.log(self.alpha(t) / self.sigma(t))

    def time(self, half):
        return np.asarray(self.schedule.time_at(2.0 * half))

    def eps(self, x, t):
        return (x - self.alpha(t) * x0_of(x, t)) / self.sigma(t)


def got(solver, values, key=None):
    denoiser = denoiser_from_network(network, values.schedule, "x0")
    return np.asarray(sample(denoiser, values.schedule, solver, jnp.asarray(START), TS, key=key))


def normals(n=1):
    """The normals of the loop: one key a step, split further where a step draws more than once."""
    keys = jax.random.split(KEY, len(TS) - 1)
    return list(np.asarray(jax.vmap(lambda k: jax.random.normal(k, START.shape))(keys))) if n == 1 else keys


def lagrange(values, at, z):
    """The polynomial through ``(at, values)`` at z."""
    total = 0.0
    for j, v in enumerate(values):
        total = total + v * math.prod((z - at[i]) / (at[j] - at[i]) for i in range(len(at)) if i != j)
    return total


def quad(function, a, b):
    return integrate.quad_vec(function, a, b, epsabs=1e-13, epsrel=1e-13)[0]


TWO = pytest.mark.parametrize("name", ["linear_vp", "edm"])


# The solver, its scale, its clock u, its slope, and its kernel in u.
HALF = lambda a, b: np.log(a / b)
X0_SLOPE, EPS_SLOPE = lambda a, b, x0, eps: x0, lambda a, b, x0, eps: eps
SIGNAL, NOISE = (lambda a, b: b, HALF, X0_SLOPE, np.exp), (lambda a, b: a, HALF, EPS_SLOPE, lambda u: -np.exp(-u))
INTERPOLANTS = {
    **{
        f"exp_{prediction}_{variable}": (S.ExponentialAdamsBashforth(prediction=prediction, variable=variable), *law)
        for prediction, law in (("x0", SIGNAL), ("eps", NOISE))
        for variable in ("log_snr", "t")
    },
    "sa": (S.SASolver(steps=3, eta=0.6), *SIGNAL),
    "ab_flow": (
        S.AdamsBashforth(order=4),
        lambda a, b: a + b,
        lambda a, b: b / (a + b),
        lambda a, b, x0, eps: eps - x0,
        np.ones_like,
    ),
    "ab_angle": (
        S.AdamsBashforth(order=4, coordinate="angle"),
        np.hypot,
        lambda a, b: np.arctan2(b, a),
        lambda a, b, x0, eps: (a * eps - b * x0) / np.hypot(a, b),
        np.ones_like,
    ),
    "ab_sigma": (S.linear_multistep(4), lambda a, b: a, lambda a, b: b / a, EPS_SLOPE, np.ones_like),
}


@TWO
@pytest.mark.parametrize("name_of_solver", INTERPOLANTS)
@in_float64
def test_multistep_solvers_integrate_the_interpolant(name, name_of_solver):
    """By adaptive quadrature of Lagrange polynomials through the slopes, in u or in t.

    ``x_s = scale_s (e^(-eta h) x_t / scale_t + (1 + eta) int kernel(u) e^(-eta (u_s - u)) p(u) du)`` plus noise.
    """
    solver, scale, clock, slope, kernel = INTERPOLANTS[name_of_solver]
    lv, x, old, eta = Values(name), START, [], getattr(solver, "eta", 0.0)
    position = lv.time if getattr(solver, "variable", None) == "t" else lambda u: u
    for (t, s), z in zip(itertools.pairwise(TS), normals(), strict=True):
        here, after = ((lv.alpha(u), lv.sigma(u)) for u in (t, s))
        start, end = clock(*here), clock(*after)
        old = [(position(start), slope(*here, x0_of(x, t), lv.eps(x, t))), *old][: solver.max_past + 1]
        at, values = zip(*old, strict=True)
        slopes = lambda u, at=at, values=values: lagrange(values, at, position(u))
        gained = quad(lambda u, p=slopes, end=end: kernel(u) * np.exp(-eta * (end - u)) * p(u), start, end)
        x = scale(*after) * (np.exp(-eta * (end - start)) * x / scale(*here) + (1 + eta) * gained)
        x = x + lv.sigma(s) * np.sqrt(-np.expm1(-2 * eta * (end - start))) * z
    np.testing.assert_allclose(got(solver, lv, KEY), x, rtol=1e-8)


@TWO
@in_float64
def test_unipc_predicts_and_corrects_with_moment_equations(name):
    """UniPC with varying coefficients: weights that integrate all polynomials of half the log-SNR exactly."""
    lv = Values(name)

    def weights(points, a, b):
        moments = [quad(lambda u, k=k: np.exp(u) * u**k, a, b) for k in range(len(points))]
        return np.linalg.solve(np.vander(points, increasing=True).T, moments)

    x, old = START, []  # x is the corrected state of the previous time
    predicted = START
    for i, (t, s) in enumerate(itertools.pairwise(TS)):
        here, d = lv.half(t), x0_of(predicted, t)
        if i:
            before = lv.half(TS[i - 1])
            points, values = [here, *(u for u, _ in old)], [d, *(v for _, v in old)]
            w = weights(points[:3], before, here)  # two old slopes and the new one
            x = lv.sigma(t) * (x / lv.sigma(TS[i - 1]) + sum(a * v for a, v in zip(w, values, strict=False)))
        old = [(here, d), *old][:2]
        w = weights([u for u, _ in old], here, lv.half(s))
        predicted = lv.sigma(s) * (x / lv.sigma(t) + sum(a * v for a, (_, v) in zip(w, old, strict=True)))
    np.testing.assert_allclose(got(S.UniPC(predictor=2), lv), predicted, rtol=1e-8)


@TWO
@in_float64
def test_single_step_dpm_solvers_are_those_of_the_authors(name):
    """DPM-Solver++(2S) and (3S) as in the authors' repository, and DPM-Solver-2 of the first paper."""
    lv = Values(name)

    def two_s(x, t, s):
        h = lv.half(s) - lv.half(t)
        m = lv.time(lv.half(t) + 0.5 * h)
        d = x0_of(x, t)
        u = lv.sigma(m) / lv.sigma(t) * x - lv.alpha(m) * np.expm1(-0.5 * h) * d
        gain = -lv.alpha(s) * np.expm1(-h)
        return lv.sigma(s) / lv.sigma(t) * x + gain * d + gain * (x0_of(u, m) - d)

    def three_s(x, t, s):
        h = lv.half(s) - lv.half(t)
        r1, r2 = 1 / 3, 2 / 3
        s1, s2 = lv.time(lv.half(t) + r1 * h), lv.time(lv.half(t) + r2 * h)
        phi_11, phi_12, phi_1 = np.expm1(-r1 * h), np.expm1(-r2 * h), np.expm1(-h)
        phi_22, phi_2 = np.expm1(-r2 * h) / (r2 * h) + 1.0, phi_1 / h + 1.0
        d = x0_of(x, t)
        x1 = lv.sigma(s1) / lv.sigma(t) * x - lv.alpha(s1) * phi_11 * d
        x2 = lv.sigma(s2) / lv.sigma(t) * x - lv.alpha(s2) * phi_12 * d
        x2 = x2 + r2 / r1 * (lv.alpha(s2) * phi_22) * (x0_of(x1, s1) - d)
        return lv.sigma(s) / lv.sigma(t) * x - lv.alpha(s) * phi_1 * d + lv.alpha(s) * phi_2 / r2 * (x0_of(x2, s2) - d)

    def solver_2(x, t, s):
        h = lv.half(s) - lv.half(t)
        m = lv.time(lv.half(t) + 0.5 * h)
        u = lv.alpha(m) / lv.alpha(t) * x - lv.sigma(m) * np.expm1(0.5 * h) * lv.eps(x, t)
        return lv.alpha(s) / lv.alpha(t) * x - lv.sigma(s) * np.expm1(h) * lv.eps(u, m)

    for reference, solver in (
        (two_s, S.DPMSolver(order=2)),
        (three_s, S.DPMSolver(order=3)),
        (solver_2, S.DPMSolver(order=2, prediction="eps")),
    ):
        x = START
        for t, s in itertools.pairwise(TS):
            x = reference(x, t, s)
        np.testing.assert_allclose(got(solver, lv), x, rtol=1e-9)


@TWO
@in_float64
def test_stochastic_dpm_solvers_are_those_of_k_diffusion(name):
    """``sample_dpmpp_2m_sde`` (midpoint) and ``sample_dpmpp_3m_sde``, on ``x / alpha`` against sigma / alpha."""
    lv, eta = Values(name), 0.7
    for order in (2, 3):
        y, old, steps = START / lv.alpha(TS[0]), [], []
        for (t, s), z in zip(itertools.pairwise(TS), normals(), strict=True):
            w_t, w_s = np.exp(-lv.half(t)), np.exp(-lv.half(s))
            h = lv.half(s) - lv.half(t)
            h_eta = h * (eta + 1)
            d = x0_of(y * lv.alpha(t), t)
            y_s = np.exp(-h_eta) * y - np.expm1(-h_eta) * d
            if order == 2 and old:
                y_s = y_s + 0.5 * -np.expm1(-h_eta) * (h / steps[0]) * (d - old[0])
            if order == 3 and old:
                r0 = steps[0] / h
                d1 = (d - old[0]) / r0
                # phi_2 of k-diffusion is in units of h_eta: exact for any eta only in units of h
                phi_2 = np.expm1(-h_eta) / h_eta + 1
                if len(old) > 1:
                    r1 = steps[1] / h
                    d1_1 = (old[0] - old[1]) / r1
                    d1, d2 = d1 + (d1 - d1_1) * r0 / (r0 + r1), (d1 - d1_1) / (r0 + r1)
                    y_s = y_s - (phi_2 / h_eta - 0.5) * d2
                y_s = y_s + phi_2 * d1
            y = y_s + z * w_s * np.sqrt(-np.expm1(-2 * h * eta))
            old, steps = [d, *old][:2], [h, *steps][:2]
            assert w_s < w_t
        solver = S.DPMSolverPP2MSDE(eta=eta) if order == 2 else S.DPMSolverPP3MSDE(eta=eta)
        np.testing.assert_allclose(got(solver, lv, KEY), y * lv.alpha(TS[-1]), rtol=1e-9)


@pytest.mark.parametrize("name", ["sub_vp", "geometric_ve"])
@pytest.mark.parametrize("norms", ["expected", "batch_mean"])
@in_float64
def test_langevin_corrector_is_that_of_the_paper(name, norms):
    """Song et al. 2021, algorithms 4 and 5, with the means of their code over the batch or with expected norms."""
    lv, x, snr = Values(name), START, 0.2
    length = lambda a: np.mean(np.linalg.norm(a, axis=1))
    for (t, s), key in zip(itertools.pairwise(TS), normals(2), strict=True):
        _, *for_corrector = jax.random.split(key, 3)
        x = lv.alpha(s) * x0_of(x, t) + lv.sigma(s) * lv.eps(x, t)
        for k in for_corrector:
            z, score = np.asarray(jax.random.normal(k, START.shape)), -lv.eps(x, s) / lv.sigma(s)
            of_noise, of_score = (length(z), length(score)) if norms == "batch_mean" else (1.0, 1.0 / lv.sigma(s))
            step = 2 * (lv.alpha(t) / lv.alpha(s)) ** 2 * (snr * of_noise / of_score) ** 2
            step = np.minimum(step, lv.sigma(s) ** 2)
            x = x + step * score + np.sqrt(2 * step) * z
    solver = S.PredictorCorrector(predictor=S.Euler(), num_corrections=2, snr=snr, norms=norms)
    np.testing.assert_allclose(got(solver, lv, KEY), x, rtol=1e-9)


@in_float64
def test_annealed_langevin_is_ncsn():
    """Song & Ermon 2019, algorithm 1: ``x + a / 2 score + sqrt(a) z`` with ``a = 2 step sigma^2``."""
    lv, x, step = Values("geometric_ve"), START, 0.05
    for t, key in zip(TS[:-1], normals(2), strict=True):
        for k in jax.random.split(key, 3):
            a = 2 * step * lv.sigma(t) ** 2
            score = -lv.eps(x, t) / lv.sigma(t)
            x = x + 0.5 * a * score + np.sqrt(a) * np.asarray(jax.random.normal(k, START.shape))
    np.testing.assert_allclose(got(S.AnnealedLangevin(steps=3, step_size=step), lv, KEY), x, rtol=1e-9)


@in_float64
def test_equivalent_solvers_coincide():
    """First-order members with DDIM, and stochastic solvers without noise with the ODE solvers they come from."""
    lv = Values("linear_vp")
    euler = got(S.Euler(), lv)
    for solver in (
        S.AdamsBashforth(order=1),
        S.linear_multistep(1),
        S.ExponentialAdamsBashforth(order=1, prediction="x0"),
        S.deis(1),
        S.DPMSolver(order=1),
        S.DPMSolver(order=1, prediction="eps"),
        S.IPNDM(order=1),
    ):
        np.testing.assert_allclose(got(solver, lv), euler, rtol=1e-10)
    third = S.ExponentialAdamsBashforth(order=3, prediction="x0")
    for stochastic, without in (
        (S.Ancestral(eta=0.0), S.Euler()),
        (S.SASolver(eta=0.0, steps=1), S.Euler()),
        (S.SASolver(eta=0.0, steps=3), third),
        (S.DPMSolverPP2MSDE(eta=0.0), S.DPMSolverPP2M()),
        (S.DPMSolverPP3MSDE(eta=0.0), S.DPMSolverPP3M()),
        (S.StochasticHeun(gamma=0.0), S.Heun(coordinate="sigma")),
        (S.StochasticHeun(gamma=0.0, coordinate="flow"), S.Heun()),
    ):
        np.testing.assert_allclose(got(stochastic, lv, KEY), got(without, lv), rtol=1e-11)
    np.testing.assert_allclose(got(S.SASolver(eta=1.0, steps=1), lv, KEY), got(S.Ancestral(), lv, KEY), rtol=1e-10)
