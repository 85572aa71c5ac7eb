"""Solvers against the formulas of the papers and of other packages, written out in numpy."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate
from solver_table import step_once
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


@TWO
@in_float64
def test_dpmpp_3m_is_that_of_diffusers(name):
    """diffusers, ``multistep_dpm_solver_third_order_update``; the second step in exponential form."""
    lv, x, old = Values(name), START, []
    for t, s in itertools.pairwise(TS):
        alpha, ratio, h = lv.alpha(s), lv.sigma(s) / lv.sigma(t), lv.half(s) - lv.half(t)
        m0 = x0_of(x, t)
        x_s = ratio * x - alpha * (np.exp(-h) - 1) * m0
        if old:
            r0 = (lv.half(t) - lv.half(old[0][0])) / h
            d1 = (m0 - old[0][1]) / r0
            if len(old) > 1:
                r1 = (lv.half(old[0][0]) - lv.half(old[1][0])) / h
                d1_1 = (old[0][1] - old[1][1]) / r1
                d1, d2 = d1 + r0 / (r0 + r1) * (d1 - d1_1), (d1 - d1_1) / (r0 + r1)
                x_s = x_s - alpha * ((np.exp(-h) - 1 + h) / h**2 - 0.5) * d2
            x_s = x_s + alpha * ((np.exp(-h) - 1) / h + 1) * d1
        x, old = x_s, [(t, m0), *old][:2]
    np.testing.assert_allclose(got(S.DPMSolverPP3M(), lv), x, rtol=1e-10)


@TWO
@pytest.mark.parametrize("prediction", ["x0", "eps"])
@pytest.mark.parametrize("variable", ["log_snr", "t"])
@in_float64
def test_exponential_multistep_is_the_integral_of_the_interpolant(name, prediction, variable):
    """By adaptive quadrature of Lagrange polynomials: DEIS (tAB) for eps in t, multistep DPM-Solver for log-SNR."""
    lv, x, old = Values(name), START, []
    for t, s in itertools.pairwise(TS):
        value = x0_of(x, t) if prediction == "x0" else lv.eps(x, t)
        old = [(t, value), *old][:3]
        position = lv.time if variable == "t" else lambda half: half
        at, values = [position(lv.half(u)) for u, _ in old], [v for _, v in old]
        slopes = lambda half, at=at, values=values, position=position: lagrange(values, at, position(half))
        if prediction == "x0":
            gained = quad(lambda half, slopes=slopes: np.exp(half) * slopes(half), lv.half(t), lv.half(s))
            x = lv.sigma(s) / lv.sigma(t) * x + lv.sigma(s) * gained
        else:
            gained = quad(lambda half, slopes=slopes: -np.exp(-half) * slopes(half), lv.half(t), lv.half(s))
            x = lv.alpha(s) / lv.alpha(t) * x + lv.alpha(s) * gained
    solver = S.ExponentialAdamsBashforth(order=3, prediction=prediction, variable=variable)
    np.testing.assert_allclose(got(solver, lv), x, rtol=1e-8)


@TWO
@pytest.mark.parametrize(
    ("coordinate", "scale", "clock", "slope"),
    [
        ("flow", lambda a, b: a + b, lambda a, b: b / (a + b), lambda a, b, x0, eps: eps - x0),
        ("angle", np.hypot, lambda a, b: np.arctan2(b, a), lambda a, b, x0, eps: (a * eps - b * x0) / np.hypot(a, b)),
        ("sigma", lambda a, b: a, lambda a, b: b / a, lambda a, b, x0, eps: eps),
    ],
)
@in_float64
def test_adams_bashforth_is_the_integral_of_the_interpolant(name, coordinate, scale, clock, slope):
    lv, x, old = Values(name), START, []
    level = lambda u: (lv.alpha(u), lv.sigma(u))
    for t, s in itertools.pairwise(TS):
        old = [(clock(*level(t)), slope(*level(t), x0_of(x, t), lv.eps(x, t))), *old][:4]
        at, values = zip(*old, strict=True)
        gained = quad(lambda c, at=at, values=values: lagrange(values, at, c), clock(*level(t)), clock(*level(s)))
        x = scale(*level(s)) * (x / scale(*level(t)) + gained)
    np.testing.assert_allclose(got(S.AdamsBashforth(order=4, coordinate=coordinate), lv), x, rtol=1e-9)


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


@pytest.mark.slow
@TWO
@in_float64
def test_sa_solver_is_the_integral_of_the_interpolant(name):
    lv, x, old, eta = Values(name), START, [], 0.6
    for (t, s), z in zip(itertools.pairwise(TS), normals(), strict=True):
        end, h = lv.half(s), lv.half(s) - lv.half(t)
        old = [(lv.half(t), x0_of(x, t)), *old][:3]
        at, values = zip(*old, strict=True)
        inside = lambda u, at=at, values=values, end=end: np.exp(-eta * (end - u)) * np.exp(u) * lagrange(values, at, u)
        x = lv.sigma(s) / lv.sigma(t) * np.exp(-eta * h) * x + lv.sigma(s) * (1 + eta) * quad(inside, lv.half(t), end)
        x = x + lv.sigma(s) * np.sqrt(-np.expm1(-2 * eta * h)) * z
    np.testing.assert_allclose(got(S.SASolver(steps=3, eta=eta), lv, KEY), x, rtol=1e-8)


@in_float64
def test_churn_is_algorithm_2_of_edm():
    lv, x = Values("edm"), START
    churn, low, high, noise = 1.5, 0.02, 20.0, 1.003
    n = len(TS) - 1
    for (t, s), z in zip(itertools.pairwise(TS), normals(), strict=True):
        sigma, sigma_s = lv.sigma(t), lv.sigma(s)
        gamma = min(churn / n, math.sqrt(2) - 1) if low <= sigma <= high else 0.0
        up = sigma * (1 + gamma)
        hat = x + np.sqrt(up**2 - sigma**2) * noise * z
        t_hat = lv.time(-np.log(up)) if gamma else t
        d = (hat - x0_of(hat, t_hat)) / up
        euler = hat + (sigma_s - up) * d
        x = hat + (sigma_s - up) * 0.5 * (d + (euler - x0_of(euler, s)) / sigma_s)
    np.testing.assert_allclose(got(S.edm_stochastic(n, churn, low, high, noise), lv, KEY), x, rtol=1e-9)


@in_float64
def test_reverse_diffusion_is_the_predictor_of_ddpm_and_smld():
    """Song et al. 2021, algorithms 2 and 3 (predictors), in their own discretisations."""
    vp, ve = Values("linear_vp"), Values("geometric_ve")
    x, y = START, START
    for (t, s), z in zip(itertools.pairwise(TS), normals(), strict=True):
        beta = 1 - (vp.alpha(t) / vp.alpha(s)) ** 2
        x = (2 - np.sqrt(1 - beta)) * x - beta * vp.eps(x, t) / vp.sigma(t) + np.sqrt(beta) * z
        gap = ve.sigma(t) ** 2 - ve.sigma(s) ** 2
        y = y - gap * ve.eps(y, t) / ve.sigma(t) + np.sqrt(gap) * z
    np.testing.assert_allclose(got(S.ReverseDiffusion(), vp, KEY), x, rtol=1e-9)
    np.testing.assert_allclose(got(S.ReverseDiffusion(), ve, KEY), y, rtol=1e-9)


@pytest.mark.parametrize("name", ["linear_vp", "sub_vp", "geometric_ve"])
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


@TWO
@in_float64
def test_dpmpp_2m_is_algorithm_2_of_its_paper(name):
    lv, x, old = Values(name), START, []
    for t, s in itertools.pairwise(TS):
        h, here = lv.half(s) - lv.half(t), lv.half(t)
        old = [(here, x0_of(x, t)), *old][:2]
        r = (here - old[-1][0]) / h
        d = old[0][1] if len(old) < 2 else (1 + 1 / (2 * r)) * old[0][1] - 1 / (2 * r) * old[1][1]
        x = lv.sigma(s) / lv.sigma(t) * x - lv.alpha(s) * (np.exp(-h) - 1) * d
    np.testing.assert_allclose(got(S.DPMSolverPP2M(), lv), x, rtol=1e-12)


@in_float64
def test_heun_is_algorithm_1_of_edm_and_the_trapezoid_on_the_velocity_of_rectified_flow():
    edm, flow = Values("edm"), Values("rectified_flow")
    velocity = lambda x, t: (x - x0_of(x, t)) / t
    x = y = START
    for t, s in itertools.pairwise(TS):
        d, h = edm.eps(x, t), edm.sigma(s) - edm.sigma(t)
        x = x + h * 0.5 * (d + edm.eps(x + h * d, s))
        u = velocity(y, t)
        y = y + 0.5 * (s - t) * (u + velocity(y + (s - t) * u, s))
    np.testing.assert_allclose(got(S.Heun(coordinate="sigma"), edm), x, rtol=1e-12)
    np.testing.assert_allclose(got(S.Heun(), flow), y, rtol=1e-12)


@pytest.mark.parametrize("name", ["sub_vp", "geometric_ve"])
@in_float64
def test_first_order_steps_coincide(name):
    """Euler = DDIM without noise, by its formula = the predictor of Heun = the first step of DPM-Solver++."""
    lv, t, s, calls = Values(name), 0.8, 0.55, []
    denoiser = denoiser_from_network(network, lv.schedule, "x0")
    spy = lambda x, t: (calls.append((x, t)), denoiser(x, t))[1]
    first = lambda solver: step_once(solver, KEY, jnp.asarray(START), t, s, spy, lv.schedule)
    expected = lv.alpha(s) * x0_of(START, t) + lv.sigma(s) * lv.eps(START, t)
    euler = first(S.Euler())
    np.testing.assert_allclose(euler, expected, rtol=1e-12)
    np.testing.assert_allclose(first(S.DPMSolverPP2M()), euler, rtol=1e-12)
    np.testing.assert_allclose(first(S.Ancestral(eta=0.0)), euler, rtol=1e-13)
    for solver in (S.Heun(), S.Heun(coordinate="sigma")):
        calls.clear()
        first(solver)
        (_, t_0), (x_1, t_1) = calls
        assert (t_0, t_1) == (t, s)
        np.testing.assert_allclose(x_1, euler, rtol=1e-13)


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
