"""Every deterministic solver has its declared order as a measured slope, on a mixture, for four kinds of schedule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import doubling_steps, level
from tables import SCHEDULES, in_float64

from scorekit import conformance, densities
from scorekit import solvers as S
from scorekit.samplers import sample
from scorekit.solvers import Row, grids
from scorekit.typing import Prediction

SOLVERS = {
    "euler": S.Euler(),
    "ab_1_flow": S.AdamsBashforth(order=1),
    "dpmpp_2m": S.DPMSolverPP2M(),
    "dpmpp_3m_published": S.DPMSolverPP3M(),
    "deis_3": S.deis(3),
    "lms_4": S.linear_multistep(4),
    **{f"{c.__name__}_{n}": c(coordinate=n) for c in (S.Heun, S.Midpoint, S.RK4) for n in ("flow", "angle", "sigma")},
    **{f"dpm_{k}_{p}": S.DPMSolver(order=k, prediction=p) for k in (1, 2, 3) for p in ("x0", "eps")},
    **{
        f"ab_{k}_{c}": S.AdamsBashforth(order=k, coordinate=c) for k in (1, 2, 3, 4) for c in ("flow", "angle", "sigma")
    },
    **{
        f"exp_{k}_{p}_{v}": S.ExponentialAdamsBashforth(order=k, prediction=p, variable=v)
        for k in (2, 3, 4)
        for p in ("x0", "eps")
        for v in ("log_snr", "t")
        if (k, p, v) != (3, "eps", "t")
    },
    **{f"unipc_{k}_{c}": S.UniPC(predictor=k, coordinate=c) for k in (1, 2, 3) for c in ("signal", "flow")},
}
NEEDED = ["linear_vp", "geometric_ve", "edm", "rectified_flow"]
START, END = -3.0, 3.0
STEPS = (80, 160)
LONGEST = 180  # one program for both grids, with their first small steps
DATA = functools.partial(densities.ring, 6, std=0.3)


@jax.jit
def integrate(data, solver, rows, levels, x, n):
    """The first n steps of a plan whose times have been replaced by noise levels: all schedules share one program."""
    rows, denoiser = with_levels(rows, levels), lambda x, level: Prediction(*data.predict(x, *level))
    step = lambda k, carry: solver.step(carry[1], carry[0], jax.tree.map(lambda leaf: leaf[k], rows), denoiser)
    return jax.lax.fori_loop(0, n, step, (x, solver.init(x)))[0]


def with_levels(rows, levels):
    """Rows whose times are the pairs ``(alpha, sigma)``."""
    is_row = lambda node: isinstance(node, Row)
    leaves, tree = jax.tree.flatten(rows, is_leaf=is_row)
    pairs = iter(levels)
    return jax.tree.unflatten(tree, [leaf._replace(t=next(pairs)) if is_row(leaf) else leaf for leaf in leaves])


def times_of(rows):
    return [r.t for r in jax.tree.leaves(rows, is_leaf=lambda n: isinstance(n, Row)) if isinstance(r, Row)]


@functools.cache
def grid(label, n):
    """Times in decreasing order; rows beyond the n-th are not used."""
    times = np.asarray(SCHEDULES[label].make().time_at(doubling_steps(n, START, END)))
    return np.pad(times, (0, LONGEST + 1 - len(times)), mode="edge"), len(times) - 1


def ends(label):
    """The noise levels of start and end."""
    schedule, (times, steps) = SCHEDULES[label].make(), grid(label, STEPS[0])
    return [tuple(map(np.asarray, level(schedule, times[k]))) for k in (0, steps)]


@functools.cache
def exact(label):
    """Start and end of the exact flow."""
    (alpha, sigma), (alpha_end, sigma_end) = ends(label)
    x = DATA().marginal(alpha, sigma).sample(jax.random.key(0), (32,))
    flow = conformance.ring(6, std=0.3).flow(np.asarray(x) / alpha, sigma / alpha, sigma_end / alpha_end, steps=800)
    return x, alpha_end * flow


@jax.jit
def plan(solver, schedule, times):
    """The rows of the steps, and the noise levels at their times."""
    rows = solver.plan(schedule, times)
    return rows, [(schedule.alpha(t), schedule.sigma(t)) for t in times_of(rows)]


def error(solver, label, n):
    """The RMS error at the end of the path of the mixture."""
    times, steps = grid(label, n)
    start, end = exact(label)
    rows = plan(solver, SCHEDULES[label].make(), times)
    found = integrate(DATA(), solver, *rows, start, steps)
    return np.sqrt(np.mean(np.square(found - end)))


# Of every family each order, each coordinate and each kind of prediction.
QUICK = ["euler", "dpmpp_2m", "dpmpp_3m_published", "deis_3", "lms_4", "Heun_flow", "Midpoint_angle", "RK4_sigma"]
QUICK += ["dpm_1_eps", "dpm_2_x0", "dpm_3_x0", "dpm_3_eps", "ab_1_angle", "ab_2_flow", "ab_3_sigma", "ab_4_angle"]
QUICK += ["exp_2_eps_t", "exp_3_x0_t", "exp_4_eps_log_snr", "unipc_1_flow", "unipc_2_signal", "unipc_3_flow"]


# Each of these with one of the schedules; slow tests pair every solver with two of them, in turn.
MORE = {name: ["sub_vp", "laplace", "cosine"] for name in ("euler", "Heun_flow", "Heun_sigma", "dpmpp_2m")}
TWO = {name: [*NEEDED[(k // 2) % 2 :: 2], *MORE.get(name, ())] for k, name in enumerate(SOLVERS)}
PAIRS = {name: NEEDED[k % len(NEEDED)] for k, name in enumerate(QUICK)}


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        *(pytest.param(name, [label], id=f"{name}-{label}") for name, label in PAIRS.items()),
        *(
            pytest.param(name, [label for label in labels if label != PAIRS.get(name)], id=name, marks=pytest.mark.slow)
            for name, labels in TWO.items()
        ),
    ],
)
@in_float64
def test_measured_order_is_the_declared_order(name, labels):
    solver = SOLVERS[name]
    for label in labels:
        coarse, fine = (error(solver, label, n) for n in STEPS)
        slope = np.log2(coarse / fine)
        assert abs(slope - solver.order) < 0.15, (name, label, slope, fine)
        assert fine < {1: 1e-2, 2: 2e-4, 3: 1e-5, 4: 1e-6}[solver.order], (name, label, fine)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@in_float64
def test_ipndm_has_its_order_on_a_grid_uniform_in_sigma(order):
    """Started by exact values, since a uniform grid has no small first steps: the local error of one step."""
    solver, schedule = S.IPNDM(order=order), SCHEDULES["geometric_ve"].make()
    data = densities.gaussian(jnp.array([0.5]), std=0.7)

    @jax.jit
    def error(h):
        sigma = 2.0 - h * jnp.arange(order + 1)
        x = [data.flow(jnp.array([[1.3]]), (1.0, 2.0), (1.0, v)) for v in sigma]
        slopes = tuple(data.predict(x[j], 1.0, sigma[j]).eps for j in range(order - 2, -1, -1))
        row = solver.row(schedule, schedule.time_at(-2.0 * jnp.log(sigma))[::-1], order - 1)
        got, _ = solver.step(slopes, x[-2], row, lambda x, t: data.predict(x, 1.0, sigma[-2]))
        return jnp.abs(got - x[-1])[0, 0]

    coarse, fine = error(0.025), error(0.0125)
    assert abs(np.log2(coarse / fine) - (order + 1)) < 0.2


@in_float64
def test_ipndm_is_second_order_on_other_grids():
    for order in (3, 4):
        coarse, fine = (error(S.IPNDM(order=order), "geometric_ve", n) for n in STEPS)
        assert abs(np.log2(coarse / fine) - 2) < 0.15


ONE_OF_EACH = ["euler", "dpmpp_2m", "dpmpp_3m_published", "deis_3", "lms_4", "ab_4_flow", "exp_4_x0_log_snr"]
ONE_OF_EACH += ["exp_3_x0_t", "Heun_sigma", "Midpoint_flow", "RK4_flow", "RK4_sigma", "dpm_3_x0", "dpm_2_eps"]
ONE_OF_EACH += ["unipc_3_signal", "unipc_2_flow"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear_vp", "edm_from_zero"])
def test_every_solver_integrates_from_exactly_1_to_exactly_0(name):
    """Without NaN, in float32, and to the clean estimate of a denoiser with a constant x0."""
    schedule, answer = SCHEDULES[name].make(), jnp.array([[0.4, -0.9]])

    def constant(x, t):
        alpha, sigma = level(schedule, t)
        return Prediction(jnp.broadcast_to(answer, x.shape), (x - alpha * answer) / sigma)  # 0 / 0 at sigma = 0

    stochastic = {
        "ddpm": S.Ancestral(),
        "2m_sde": S.DPMSolverPP2MSDE(),
        "3m_sde": S.DPMSolverPP3MSDE(eta=0.5),
        "sa": S.SASolver(steps=3),
        "churn": S.edm_stochastic(6),
        "pc": S.PredictorCorrector(),
        "langevin": S.AnnealedLangevin(steps=2),
        "reverse": S.ReverseDiffusion(),
        **({"em": S.EulerMaruyama(clock="log_snr")} if name == "edm_from_zero" else {}),
    }
    everything = {**{k: SOLVERS[k] for k in ONE_OF_EACH}, "ipndm": S.IPNDM(), **stochastic}
    run = lambda x, ts: {k: sample(constant, schedule, v, x, ts, key=jax.random.key(0)) for k, v in everything.items()}
    start = schedule.sigma(1.0) * jnp.array([[0.7, 1.1]])
    for k, x in jax.jit(run)(start, grids.uniform(4)).items():
        np.testing.assert_allclose(x, schedule.alpha(0.0) * answer, atol=2e-5 * float(schedule.sigma(1.0)), err_msg=k)
