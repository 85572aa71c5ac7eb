"""scorekit's own schedule, loss, solvers, likelihood and posterior sampler pass all checks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorekit as sk
from scorekit.conformance import Likelihood, Loss, Posterior, Sampler, Schedule, check
from scorekit.solvers import grids


def schedule(made, kind):
    """A schedule of the library."""

    def value(function):
        return lambda t: np.asarray(function(jnp.asarray(t, float)))

    drift, square = (functools.partial(f, made) for f in (sk.process.drift, sk.process.diffusion_squared))
    functions = {"log_snr": value(made.log_snr), "drift": value(drift), "diffusion_squared": value(square)}
    return Schedule(alpha=value(made.alpha), sigma=value(made.sigma), kind=kind, **functions)


@functools.partial(jax.jit, static_argnums=0)
def integrate(denoiser, solver, edm, x, ts, noise):
    """``sample`` along ``ts``, with given normals for each step."""
    like = jax.ShapeDtypeStruct(x.shape, float)
    network = lambda x, t: jax.pure_callback(denoiser, like, x, edm.sigma(t))
    exact = sk.denoiser_from_network(network, edm, "x0")
    if noise is None:
        return sk.sample(exact, edm, solver, x, ts)

    def step(carry, inputs):
        mean, state = solver.mean(carry[1], carry[0], inputs[0], exact)
        return (mean + inputs[0].std * inputs[1], state), None

    return jax.lax.scan(step, (x, solver.init(x)), (solver.plan(edm, ts), noise))[0][0]


def sampler(solver):
    """A solver on the schedule of EDM; noise is that of steps that are one Gaussian."""

    def run(denoiser, x, sigmas, rng):
        noise = np.stack([rng.standard_normal(x.shape) for _ in sigmas[1:]]) if solver.stochastic else None
        edm = sk.schedules.EDM(sigma_min=0.0, sigma_max=80.0)
        return np.asarray(integrate(denoiser, solver, edm, x, grids.from_sigmas(edm, sigmas), noise))

    return Sampler(run=run, order=solver.order, stochastic=solver.stochastic)


def density(problem):
    """The problem as a mixture of the library."""
    parts = [sk.densities.gaussian(m, covariance=c) for m, c in zip(problem.means, problem.covariances, strict=True)]
    return sk.densities.mixture(problem.weights, parts)


def loss(denoiser, x0, seed):
    """The loss of v for a network of x0, cosine schedule."""
    made = sk.schedules.Cosine()

    def network(x, t):
        alpha, sigma = (np.asarray(each) for each in (made.alpha(t), made.sigma(t)))
        return jnp.asarray(denoiser(np.asarray(x) / alpha[:, None], sigma / alpha))

    return np.asarray(sk.denoising_loss(jax.random.key(seed), network, made, jnp.asarray(x0), target="x0")[0])


def log_prob(problem, x):
    """The exact log-likelihood of the probability-flow ODE."""
    made = sk.schedules.LinearVP()
    exact = sk.denoisers.exact_denoiser(density(problem), made)
    return np.asarray(jax.jit(sk.likelihood.log_likelihood)(exact, made, jnp.asarray(x)).log_p)


@jax.jit
def _posterior(key, data, operator, observation, std, noise):
    made = sk.schedules.Cosine()
    exact = sk.denoisers.exact_denoiser(data, made)
    guided = sk.guidance.mmps(exact, made, lambda x: x @ operator.T, observation, std, num_iterations=2)
    return sk.sample(guided, made, sk.solvers.DPMSolverPP2MSDE(), noise, grids.vp_quadratic(made, 64), key=key)


def posterior(problem, operator, observation, std, n, rng):
    """Moment matching in 64 steps: exact for a Gaussian, an approximation for a mixture."""
    key, noise = jax.random.key(int(rng.integers(2**31))), rng.standard_normal((n, problem.dim))
    observed = jnp.tile(jnp.asarray(observation), (n, 1))
    return np.asarray(_posterior(key, density(problem), jnp.asarray(operator), observed, std, noise))


SUBJECTS = {
    "linear_vp": lambda: schedule(sk.schedules.LinearVP(), "vp"),
    "geometric_ve": lambda: schedule(sk.schedules.GeometricVE(), "ve"),
    "rectified_flow": lambda: schedule(sk.schedules.RectifiedFlow(), "flow"),
    "denoising_loss": lambda: Loss(value=loss, weight=lambda sigma: 1 + sigma**-2),
    "Heun": lambda: sampler(sk.solvers.Heun()),
    "DPMSolverPP2M": lambda: sampler(sk.solvers.DPMSolverPP2M()),
    "DPMSolverPP2MSDE": lambda: sampler(sk.solvers.DPMSolverPP2MSDE()),
    "log_likelihood": lambda: Likelihood(log_prob=log_prob),
    "mmps, 64 steps": lambda: Posterior(sample=posterior, problems=20),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_ours(float64, name):
    report = check("scorekit", {name: SUBJECTS[name]()})
    assert report.failed == [], str(report)
