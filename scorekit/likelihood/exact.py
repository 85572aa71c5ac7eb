"""The exact log-density of a model, by the instantaneous change of variables along the probability-flow ODE.

In the "flow" coordinate ``y = x / (alpha + sigma)`` with ``dy/dclock = eps - x0 = u(clock, y)``, finite at both ends of
every schedule, ``d log p(y) / dclock = -div u``. From the data at ``t_min`` to the prior at ``t_max``,

    ``log p(x0) = log N(x1; 0, sigma(t_max)^2) + int div u dclock + D log(scale(t_max) / scale(t_min))``.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.likelihood.divergence import DIVERGENCES, DivergenceName, draw_probes, with_divergence
from scorekit.samplers.adaptive import check_tolerances, probability_flow, raise_if_failed
from scorekit.samplers.dormand_prince import dormand_prince
from scorekit.samplers.embedded_pair import Slope
from scorekit.solvers.coordinates import frame
from scorekit.trees import batch_size, check, combine, event_size, sum_per_example
from scorekit.typing import Array, ArrayLike, Denoiser, Key, PyTree, Schedule


class LogLikelihood(NamedTuple):
    """What :func:`log_likelihood` found, ``log_p = prior + log_det``.

    Attributes:
      log_p: ``log p(x0)`` in nats, ``(B,)``; NaN where ``success`` is False.
      standard_error: of ``log_p``, ``(B,)``: from the spread of the probes; 0 if exact, NaN for a single probe.
      prior: the log-density of the latent under the prior, ``(B,)``.
      log_det: the log-determinant of the map from data to latent, ``(B,)``.
      x_1: the latent, shaped and typed like ``x0``.
      nfe: evaluations of the network. On a fixed grid each also pushes D tangents (exact) or one per probe through it;
        of the 9 in an adaptive step 3 do so, and the others push one.
      success: whether the ODE was solved to the end.
    """

    log_p: Array
    standard_error: Array
    prior: Array
    log_det: Array
    x_1: PyTree
    nfe: Array
    success: Array

    def raise_if_failed(self) -> "LogLikelihood":
        """Itself, for use after ``jit``; a ``RuntimeError`` that says what to try where the solve has failed."""
        raise_if_failed(self.success, self.nfe)
        return self


def log_likelihood(
    key: Key | None,
    denoiser: Denoiser,
    schedule: Schedule,
    x0: PyTree,
    *,
    divergence: DivergenceName = "exact",
    probes: int = 8,
    chunk: int = 8,
    t_min: ArrayLike = 0.0,
    t_max: ArrayLike = 1.0,
    rtol: ArrayLike = 1e-5,
    atol: ArrayLike = 1e-5,
    max_steps: int = 1000,
    ts: ArrayLike | None = None,
) -> LogLikelihood:
    """The log-density ``log p(x0)`` that the probability-flow ODE of a denoiser gives to each example, in nats.

    ``log p(x0) = log N(x1; 0, sigma(t_max)^2) + log |det dx1/dx0|``, the latter an integral of the divergence along the
    path. ``x0`` is taken as the state at ``t_min``: with a schedule that starts at some noise this is the density of
    the data with that much noise.

    Reverse mode reaches the parameters in ``denoiser`` and ``schedule`` and ``x0``. With ``jax.lax.map`` over blocks of
    about a hundred examples, working sets stay in the cache and each block has its own steps: several times faster on
    a CPU. (XLA is slow at the gradients of convolutions inside loops on CPUs.)

    Args:
      key: PRNG key of the probes; None if the divergence is exact.
      denoiser: ``(x_t, t) -> Prediction``; ``t`` is a scalar; traced twice. No example may depend on another.
      schedule: its noise schedule.
      x0: data, a tree of ``(B, ...)`` arrays; discrete data need to be dequantised first.
      divergence: "exact", which costs D tangents an evaluation, or Hutchinson's unbiased estimate with "rademacher"
        (less variance) or "gaussian" probes, drawn once and held along the path.
      probes: number of probes of each example; at least 2 for a standard error.
      chunk: directions that are pushed through the network at once.
      t_min: the data end.
      t_max: the noise end.
      rtol: error allowed in a step, of the state and a one-probe estimate of the log-determinant together; see
        :func:`scorekit.samplers.adaptive.adaptive_ode`.
      atol: the same where they are small.
      max_steps: steps to try before giving up.
      ts: decreasing times ``(n + 1,)``: a fixed grid for the classical Runge-Kutta method, four evaluations a step,
        instead of tolerances, ``t_min`` and ``t_max``.

    Returns:
      A :class:`LogLikelihood`.

    Raises:
      ValueError: for an unknown divergence, a missing key, ``probes`` or ``chunk`` below 1, times or tolerances out of
        range, or ``ts`` that does not decrease.
      RuntimeError: if called eagerly and the ODE was not solved; it says what to try.

    >>> from scorekit import densities, denoisers, schedules
    >>> data, schedule = densities.gaussian(jnp.ones(2), std=0.5), schedules.cosine()
    >>> x0 = data.sample(jax.random.key(0), (3,))
    >>> found = log_likelihood(None, denoisers.exact_denoiser(data, schedule), schedule, x0)
    >>> float(jnp.abs(found.log_p - data.log_density(x0)).max()) < 1e-3
    True

    Source: Song et al. 2021, app. D.2 (https://arxiv.org/abs/2011.13456); Chen et al. 2018, eq. 8.
    """
    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(x0))
    _check(key, divergence, probes, chunk, ts)
    if ts is None:
        check_tolerances(dtype, rtol, atol, max_steps)
        check(lambda t: (t >= 0) & (t <= 1), "in [0, 1]", t_min=t_min, t_max=t_max)
        check(lambda t: t > t_min, f"> t_min = {t_min}", t_max=t_max)
        ends = jnp.asarray(t_min, dtype), jnp.asarray(t_max, dtype)
    else:
        times = jnp.asarray(ts, dtype)[::-1]
        ends = times[0], times[-1]
    first, last = (frame("flow", schedule.alpha(t), schedule.sigma(t)) for t in ends)
    y = combine((1.0 / first.scale, jax.tree.map(lambda x: jnp.asarray(x, dtype), x0)))
    vectors = None if key is None or divergence == "exact" else draw_probes(key, divergence, y, probes)
    flow = probability_flow(denoiser, schedule, *ends, x0)
    along = lambda clock, y, vectors: with_divergence(lambda y: flow(clock, y), y, vectors, chunk)
    zeros = lambda count: jnp.zeros((batch_size(y), count), dtype)
    if ts is None:
        # One direction, always the same, is part of the state and sets the steps; the rest is a matter of quadrature.
        signs = draw_probes(jax.random.key(0), "rademacher", y, 1)
        solved = dormand_prince(
            lambda clock, state: along(clock, state[0], signs),
            (y, zeros(1)),
            first.clock,
            last.clock,
            rtol=rtol,
            atol=atol,
            max_steps=max_steps,
            integrand=lambda clock, state: along(clock, state[0], vectors)[1],
        )
        y, integral, nfe, success = solved.y[0], solved.quadrature, solved.nfe, solved.success
    else:
        clocks = frame("flow", schedule.alpha(times), schedule.sigma(times)).clock
        slope = lambda clock, state: along(clock, state[0], vectors)
        y, integral = _runge_kutta(slope, (y, zeros(1 if vectors is None else probes)), clocks)
        nfe, success = jnp.array(4 * (times.shape[0] - 1)), jnp.array(True)
    d, n = event_size(x0), integral.shape[1]
    log_det = jnp.mean(integral, axis=1) + d * (jnp.log(last.scale) - jnp.log(first.scale))
    sigma = schedule.sigma(ends[1])
    latent = combine((last.scale, y))
    squares = sum_per_example(jnp.square, combine((1.0 / sigma, latent)))
    prior = -0.5 * squares - d * (jnp.log(sigma) + 0.5 * math.log(2 * math.pi))
    if vectors is None:
        error = jnp.zeros_like(prior)
    else:
        error = jnp.std(integral, axis=1, ddof=1) / math.sqrt(n) if n > 1 else jnp.full_like(prior, jnp.nan)
    return LogLikelihood(
        log_p=prior + log_det,
        standard_error=error,
        prior=prior,
        log_det=log_det,
        x_1=jax.tree.map(lambda y, x: y.astype(jnp.result_type(x)), latent, x0),
        nfe=nfe,
        success=success,
    ).raise_if_failed()


def _runge_kutta(slope: Slope, y: PyTree, clocks: Array) -> PyTree:
    """The classical fourth-order method over a grid; what a step has computed is found again in reverse mode."""
    shares, weights = jnp.asarray([0.0, 0.5, 0.5, 1.0], clocks.dtype), jnp.asarray([1, 2, 2, 1], clocks.dtype) / 6.0

    @jax.checkpoint
    def step(y, ends):
        clock, h = ends[0], ends[1] - ends[0]

        def stage(carry, inputs):
            (share, weight), (k, total) = inputs, carry
            k = slope(clock + share * h, combine((1.0, y), (share * h, k)))
            return (k, combine((1.0, total), (weight * h, k))), None

        return jax.lax.scan(stage, (jax.tree.map(jnp.zeros_like, y), y), (shares, weights))[0][1], None

    return jax.lax.scan(step, y, (clocks[:-1], clocks[1:]))[0]


def _check(key, divergence, probes, chunk, ts) -> None:
    if divergence not in DIVERGENCES:
        raise ValueError(f"divergence must be one of {DIVERGENCES}, got {divergence!r}")
    if divergence != "exact" and key is None:
        raise ValueError(f"key must be a PRNG key for {divergence} probes, got None")
    for name, value in (("probes", probes), ("chunk", chunk)):
        if value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}")
    if ts is None:
        return
    if np.ndim(ts) != 1 or np.shape(ts)[0] < 2:
        raise ValueError(f"ts must have shape (n + 1,) with n >= 1 steps, got shape {np.shape(ts)}")
    check(lambda t: (np.diff(t) < 0).all() & (t >= 0) & (t <= 1), "strictly decreasing within [0, 1]", ts=ts)
