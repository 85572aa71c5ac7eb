"""The exact log-density of a model: the instantaneous change of variables along the probability-flow ODE.

In the "flow" coordinate ``y = x / (alpha + sigma)`` with ``dy/dclock = eps - x0 = u(clock, y)``, finite at both ends of
every schedule, ``d log p(y) / dclock = -div u``. From the data at ``t_min`` to the prior at ``t_max``,

    ``log p(x0) = log N(x1; 0, sigma(t_max)^2) + int div u dclock + D log(scale(t_max) / scale(t_min))``.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from scorekit.arguments import Fraction, Positive, PositiveInt, checked
from scorekit.checks import check, check_finite, check_floating
from scorekit.numerics import log_normal
from scorekit.numerics.blocks import accepts, block_length, in_blocks
from scorekit.numerics.coordinates import frame
from scorekit.numerics.divergence import DivergenceName, draw_probes, with_divergence, with_hutch_plus_plus
from scorekit.numerics.dormand_prince import dormand_prince
from scorekit.numerics.embedded_pair import Slope
from scorekit.numerics.grids import check_grid
from scorekit.numerics.meshes import scan
from scorekit.numerics.probability_flow import check_relative_tolerance, probability_flow, raise_if_failed
from scorekit.trees import batch_size, combine, event_size
from scorekit.typing import Array, ArrayLike, Denoiser, Key, Number, PyTree, Schedule

_FEW_TANGENTS = 3
"""Up to so many tangents per evaluation are integrated with the state, in six evaluations a step; a quadrature of more
is cheaper: three evaluations with all of them, and six with one."""


class LogLikelihood(NamedTuple):
    """The result of :func:`log_likelihood`, ``log_p = prior + log_det``.

    Attributes:
      log_p: ``log p(x0)`` in nats, ``(B,)``; NaN in blocks that failed.
      standard_error: standard error of ``log_p`` over probes, ``(B,)``; 0 if exact, NaN for a single probe.
      prior: the log-density of the latent under the prior, ``(B,)``.
      log_det: the log-determinant of the map from data to latent, ``(B,)``.
      x_1: the latent, shaped and typed like ``x0``.
      nfe: evaluations of the network, in the block of examples that needed most; of a flow map, the number of jumps.
        On a fixed grid each has D tangents (exact) or one per probe. So it is for adaptive steps with at most 3
        tangents, which take 6 evaluations; with more tangents a step takes 3 with all of them and 6 with one.
      success: whether the ODE was solved to the end in all blocks.

    >>> one = jnp.ones(1)
    >>> LogLikelihood(one, one, one, one, one, nfe=jnp.array(62), success=jnp.array(True)).raise_if_failed().log_p
    Array([1.], dtype=float32)

    Source: Song et al. 2021 (https://arxiv.org/abs/2011.13456).
    """

    log_p: Array
    standard_error: Array
    prior: Array
    log_det: Array
    x_1: PyTree
    nfe: Array
    success: Array

    def raise_if_failed(self) -> "LogLikelihood":
        """Itself; a ``RuntimeError`` that says what to try if the ODE was not solved. For use after ``jit``."""
        raise_if_failed(self.success, self.nfe)
        return self


@checked
def log_likelihood(
    denoiser: Denoiser,
    schedule: Schedule,
    x0: PyTree,
    *,
    key: Key | None = None,
    divergence: DivergenceName = "exact",
    num_probes: PositiveInt = 8,
    chunk: PositiveInt = 8,
    t_min: Fraction[float] = 0.0,
    t_max: Fraction[float] = 1.0,
    rtol: ArrayLike = 1e-5,
    atol: Positive[Number] = 1e-5,
    max_steps: PositiveInt = 1000,
    ts: ArrayLike | None = None,
    block_size: PositiveInt | None = None,
) -> LogLikelihood:
    """The log-density ``log p(x0)`` of each example under the probability-flow ODE of a denoiser, in nats.

    ``log p(x0) = log N(x1; 0, sigma(t_max)^2) + log |det dx1/dx0|``, the latter an integral of the divergence along the
    path. ``x0`` is the state at ``t_min``: with ``sigma(t_min) > 0`` this is the density of the data with that noise.

    On a grid ``ts`` it is differentiable in reverse mode in the parameters of ``denoiser`` and ``schedule`` and in
    ``x0``; adaptive steps have no gradient, which is an error. The examples of a block share their adaptive steps: the
    result depends on ``block_size`` within the tolerance. Under ``vmap`` over single examples each example has its own
    steps.

    Args:
      key: PRNG key of the probes; None if the divergence is exact.
      denoiser: ``(x_t, t) -> Prediction``; ``t`` is a scalar; traced at most twice, and twice more to choose blocks.
        Examples must not depend on each other.
      schedule: the noise schedule.
      x0: data, a tree of ``(B, ...)`` arrays; discrete data must be dequantised first. A traced value that is not
        finite gives NaN.
      divergence: "exact", with D tangents per evaluation, or Hutchinson's unbiased estimate with "rademacher" (less
        variance) or "gaussian" probes, drawn once and fixed along the path. "hutch++" spends two thirds of the probes
        on the largest directions of the Jacobian, which a Gaussian or a network on data near a subspace has few of;
        its basis is a constant to derivatives, whose estimates stay unbiased.
      num_probes: number of tangents for an estimate, per example; at least 2 for a standard error, 6 for "hutch++",
        which uses a multiple of 3 of them and no more than 3 D.
      chunk: number of tangents evaluated together.
      t_min: smallest time.
      t_max: largest time, above ``t_min``.
      rtol: relative tolerance of a step, for the state and the log-determinant (for more than 3 tangents its estimate
        with a single probe); see :func:`scorekit.samplers.adaptive.adaptive_ode`.
      atol: absolute tolerance of a step.
      max_steps: maximum number of attempted steps.
      ts: decreasing times ``(n + 1,)``: a fixed grid for the classical Runge-Kutta method, four evaluations a step,
        instead of tolerances, ``t_min`` and ``t_max``.
      block_size: the largest number of examples to integrate together. By default all of them; on a single CPU device,
        where small operations are faster, 80 if an example has at most 256 values. A ``denoiser`` that takes only full
        batches, such as one that holds class labels, always gets all examples by default.

    Returns:
      A :class:`LogLikelihood`.

    Raises:
      RuntimeError: if called eagerly and the ODE was not solved.

    >>> from scorekit import densities, denoisers, schedules
    >>> data, schedule = densities.gaussian(jnp.ones(2), std=0.5), schedules.Cosine()
    >>> x0 = data.sample(jax.random.key(0), (3,))
    >>> result = jax.jit(log_likelihood)(denoisers.exact_denoiser(data, schedule), schedule, x0)
    >>> float(jnp.abs(result.log_p - data.log_density(x0)).max()) < 1e-3
    True

    Source: Song et al. 2021 (https://arxiv.org/abs/2011.13456); Chen et al. 2018
    (https://arxiv.org/abs/1806.07366).
    """
    check_floating(x0=x0)
    check_finite(x0=x0)
    if not batch_size(x0):
        raise ValueError("x0 must hold at least one example, got a batch of 0")
    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(x0))
    _check(key, divergence, num_probes)
    if ts is None:
        check(lambda t: t > t_min, f"> t_min = {t_min}", t_max=t_max)
        check_relative_tolerance(dtype, rtol)
        ends, clocks = (jnp.asarray(t_min, dtype), jnp.asarray(t_max, dtype)), None
    else:
        times = check_grid(ts).astype(dtype)[::-1]
        ends, clocks = (times[0], times[-1]), frame("flow", schedule.alpha(times), schedule.sigma(times)).clock
    first, last = (frame("flow", schedule.alpha(t), schedule.sigma(t)) for t in ends)
    y = combine((1.0 / first.scale, jax.tree.map(lambda x: jnp.asarray(x, dtype), x0)))
    d, improved = event_size(x0), divergence == "hutch++"
    count = 1 if divergence == "exact" else min(num_probes // 3, d) if improved else num_probes
    vectors = (
        None
        if key is None or divergence == "exact"
        else draw_probes(key, divergence, y, 2 * count if improved else count)
    )
    flow = probability_flow(denoiser, schedule, *ends, x0)
    few = (d if vectors is None else num_probes) <= _FEW_TANGENTS
    single = vectors is None and not few and accepts(denoiser, x0, ends[0], 1)
    along = lambda clock, y, vectors: with_divergence(lambda y: flow(clock, y), y, vectors, chunk, single)

    def solve(block):
        y, vectors = block[0], jax.tree.map(lambda v: jnp.swapaxes(v, 0, 1), block[1])
        state = lambda count: (y, jnp.zeros((batch_size(y), count), dtype))
        slope = lambda clock, state: along(clock, state[0], vectors)
        if improved:
            slope = lambda clock, state: with_hutch_plus_plus(lambda y: flow(clock, y), state[0], vectors, chunk)
        if clocks is not None:
            return _runge_kutta(slope, state(count), clocks), (jnp.array(4 * (len(clocks) - 1)), jnp.array(True))
        options = {"rtol": rtol, "atol": atol, "max_steps": max_steps}
        if few:
            solved = dormand_prince(slope, state(count), first.clock, last.clock, **options)
            return solved.y, (solved.nfe, solved.success)
        # The estimate of one fixed probe is part of the state, for step-size control; all others are quadratures.
        signs = draw_probes(jax.random.key(0), "rademacher", y, 1)
        solved = dormand_prince(
            lambda clock, state: along(clock, state[0], signs),
            state(1),
            first.clock,
            last.clock,
            integrand=lambda clock, state: slope(clock, state)[1],
            **options,
        )
        return (solved.y[0], solved.quadrature), (solved.nfe, solved.success)

    length = block_length(denoiser, x0, ends[0], block_size)
    by_example = jax.tree.map(lambda v: jnp.swapaxes(v, 0, 1), vectors)
    (y, integral), (nfe, success) = in_blocks(solve, (y, by_example), length)
    nfe, success = jnp.max(nfe), jnp.all(success)
    change = jnp.mean(integral, axis=1) + d * (jnp.log(last.scale) - jnp.log(first.scale))
    latent = combine((last.scale, y))
    prior = log_normal(latent, schedule.sigma(ends[1]))
    if vectors is None:
        error = jnp.zeros_like(prior)
    else:
        spread = jnp.std(integral, axis=1, ddof=1) if count > 1 else jnp.full_like(prior, jnp.nan)
        error = spread / math.sqrt(count)
    return LogLikelihood(
        log_p=prior + change,
        standard_error=error,
        prior=prior,
        log_det=change,
        x_1=jax.tree.map(lambda y, x: y.astype(jnp.result_type(x)), latent, x0),
        nfe=nfe,
        success=success,
    ).raise_if_failed()


def _runge_kutta(slope: Slope, y: PyTree, clocks: Array) -> PyTree:
    """The classical fourth-order method over a grid; the steps are rematerialised in reverse mode."""
    shares, weights = jnp.asarray([0.0, 0.5, 0.5, 1.0], clocks.dtype), jnp.asarray([1, 2, 2, 1], clocks.dtype) / 6.0

    @jax.checkpoint
    def step(y, ends):
        clock, h = ends[0], ends[1] - ends[0]

        def stage(carry, inputs):
            (share, weight), (k, total) = inputs, carry
            k = slope(clock + share * h, combine((1.0, y), (share * h, k)))
            return (k, combine((1.0, total), (weight * h, k))), None

        return scan(stage, (jax.tree.map(jnp.zeros_like, y), y), (shares, weights))[0][1], None

    return scan(step, y, (clocks[:-1], clocks[1:]))[0]


def _check(key, divergence, num_probes) -> None:
    if divergence != "exact" and key is None:
        raise ValueError(f"key must be a PRNG key for {divergence} probes, got None")
    if divergence == "hutch++" and num_probes < 3:
        raise ValueError(f"num_probes must be at least 3 for hutch++, got {num_probes}")
