"""Statistics of single examples under a diffusion model: pure functions of ``(denoiser, schedule, x)``.

==========================  ======================================  ====================================================
function                    gives                                   published as
==========================  ======================================  ====================================================
``score_norms``             ``|eps(alpha x, t)|`` at each time      multi-scale score norms, MSMA
``reconstruction_errors``   mean squared error at each time         DDPM-OOD (many steps), DDOS
``path_statistics``         six sums along the DDIM path to noise   DiffPath-6D; the fifth alone, DiffPath-1D
``score_curvature``         ``|score|^2 / -div score``              SCOPED
==========================  ======================================  ====================================================

A statistic alone does not classify an example: :mod:`scorekit.typicality._scores` and
:mod:`scorekit.typicality.calibration` compare it with its values on in-distribution data. Likelihoods come from
:mod:`scorekit.likelihood`.

>>> from scorekit import densities, denoisers, schedules
>>> data, schedule, half = densities.gaussian(jnp.zeros(64), std=1.0), schedules.Cosine(), jnp.array([0.5])
>>> denoiser, x = denoisers.exact_denoiser(data, schedule), data.sample(jax.random.key(0), (100,))  # eps = sigma x_t
>>> one, norms, curvature = jnp.ones((1, 64)), jax.jit(score_norms), jax.jit(score_curvature)
>>> round(float(norms(denoiser, schedule, one, half)[0, 0]), 3)  # 8 alpha sigma
4.0
>>> round(float(curvature(denoiser, schedule, one, half)[0, 0]), 3)  # alpha^2 |x|^2 / D
0.5
>>> errors = jax.jit(reconstruction_errors)(jax.random.key(1), denoiser, schedule, x, half)
>>> print(f"{errors.mean():.1f}")  # sigma^2
0.5
>>> jax.jit(path_statistics)(denoiser, schedule, x, jnp.linspace(1, 0, 11)).shape
(100, 6)
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import PositiveFraction, PositiveInt, checked
from scorekit.checks import check_floating, check_prediction
from scorekit.numerics import wide
from scorekit.numerics.divergence import draw_probes, with_divergence
from scorekit.numerics.grids import check_grid
from scorekit.numerics.meshes import scan
from scorekit.process import perturb
from scorekit.solvers.steps import integrate
from scorekit.trees import batch_size, combine, event_size, normal_like, sum_per_example
from scorekit.typing import Array, ArrayLike, Denoiser, Key, PyTree, Schedule, Solver


def _check_data(x: PyTree) -> None:
    check_floating(x=x)
    if not batch_size(x):
        raise ValueError("x must hold at least one example, got a batch of 0")


def _check_times(ts: ArrayLike) -> Array:
    if np.ndim(ts) != 1 or np.shape(ts)[0] < 1:
        raise ValueError(f"ts must have shape (n,) with n >= 1 times, got shape {np.shape(ts)}")
    return wide(ts)


def _noisy(schedule: Schedule, x: PyTree, t: Array, key: Key | None) -> PyTree:
    """``alpha x``, with the noise of time ``t`` if there is a key."""
    return combine((schedule.alpha(t), x)) if key is None else perturb(schedule, x, normal_like(key, x), t)


@checked
def score_norms(
    denoiser: Denoiser, schedule: Schedule, x: PyTree, ts: PositiveFraction[ArrayLike], *, key: Key | None = None
) -> Array:
    """The norm of the score at several noise levels, ``sigma |score(alpha x, t)| = |eps(alpha x, t)|``, ``(B, n)``.

    Args:
      denoiser, schedule: ``(x_t, t) -> Prediction`` with a scalar t, and its noise schedule.
      x: data, a tree of ``(B, ...)`` arrays.
      ts: times ``(n,)``, n >= 1.
      key: PRNG key of the noise of each level; None evaluates the network at the clean ``alpha x``, as published.

    Source: Mahmood et al. 2021 (https://arxiv.org/abs/2010.13132).
    """
    ts = _check_times(ts)
    _check_data(x)
    keys = None if key is None else jax.random.split(key, ts.shape[0])

    def one(inputs):
        t, key = inputs
        return jnp.sqrt(sum_per_example(jnp.square, check_prediction(denoiser(_noisy(schedule, x, t, key), t)).eps))

    return jax.lax.map(one, (ts, keys)).T


@checked
def reconstruction_errors(
    key: Key,
    denoiser: Denoiser,
    schedule: Schedule,
    x: PyTree,
    ts: PositiveFraction[ArrayLike],
    *,
    solver: Solver | None = None,
    steps: PositiveInt = 10,
) -> Array:
    """The mean squared error of reconstructing data from several noise levels, ``(B, n)`` in squared units of data.

    ``|x_hat(alpha x + sigma eps) - x|^2 / D``, with one draw of noise per noise level. Without a solver ``x_hat`` is
    the estimate of the denoiser (one step); with a solver it is a sample, with ``steps`` equal steps of t down to 0.

    Args:
      key: PRNG key.
      denoiser, schedule: ``(x_t, t) -> Prediction`` with a scalar t, and its noise schedule.
      x: data, a tree of ``(B, ...)`` arrays.
      ts: times ``(n,)``, n >= 1.
      solver: solver of :mod:`scorekit.solvers`, or None.
      steps: number of steps of the solver from each noise level.

    Source: Graham et al. 2023 (https://arxiv.org/abs/2211.07740), with PLMS and 100 steps in total; Raya et al. 2022.
    """
    ts = _check_times(ts)
    _check_data(x)
    d = event_size(x)

    def one(inputs):
        t, key = inputs
        for_noise, for_steps = jax.random.split(key)
        x_t = _noisy(schedule, x, t, for_noise)
        if solver is None:
            x_hat = check_prediction(denoiser(x_t, t)).x0
        else:
            x_hat = integrate(denoiser, schedule, solver, x_t, t * jnp.linspace(1.0, 0.0, steps + 1), key=for_steps)[0]
        return sum_per_example(jnp.square, combine((1.0, x_hat), (-1.0, x))) / d

    return jax.lax.map(one, (ts, jax.random.split(key, ts.shape[0]))).T


@checked
def path_statistics(denoiser: Denoiser, schedule: Schedule, x: PyTree, ts: ArrayLike) -> Array:
    """Six sums along the DDIM path from the data to the noise.

    With ``x_s = alpha_s x0 + sigma_s eps`` from each time to the next, ``eps_i`` the prediction at the i-th and
    ``d_i = (eps_{i+1} - eps_i) / (t_{i+1} - t_i)``, summed over the times and all values of an example:

    ``sum eps``, ``sum eps^2``, ``sum eps^3``, ``sum d``, ``sqrt(sum d^2)``, ``sum d^3``.

    Args:
      denoiser, schedule: ``(x_t, t) -> Prediction`` with a scalar t, and its noise schedule.
      x: data, a tree of ``(B, ...)`` arrays; the path starts at ``alpha x`` at the last time.
      ts: decreasing times ``(n,)``, n >= 2, one evaluation each; the path runs from the last time to the first.

    Returns:
      ``(B, 6)``; column 4 alone is DiffPath-1D.

    Source: Heng et al. 2024 (https://arxiv.org/abs/2405.11881), whose DiffPath-6D has the square of column 4.
    """
    check_grid(ts)
    _check_data(x)
    ts = wide(ts)[::-1]

    def step(carry, times):
        x_t, before, sums = carry
        t, since, after = times
        x0, eps = denoiser(x_t, t)
        slope = combine((1.0 / (t - since), eps), (-1.0 / (t - since), before))
        powers = [sum_per_example(lambda v, p=p: v**p, tree) for tree in (eps, slope) for p in (1, 2, 3)]
        x_s = combine((schedule.alpha(after), x0), (schedule.sigma(after), eps))
        return (x_s, eps, sums + jnp.stack(powers, axis=1)), None

    start = combine((schedule.alpha(ts[0]), x))
    first = check_prediction(denoiser(start, ts[0])).eps
    # The first slope is between two equal predictions, 0 for any time difference.
    times = ts, jnp.concatenate([ts[:1] - 1.0, ts[:-1]]), jnp.concatenate([ts[1:], ts[-1:]])
    (_, _, sums), _ = scan(step, (start, first, jnp.zeros((batch_size(x), 6))), times)
    return sums.at[:, 4].set(jnp.sqrt(sums[:, 4]))


@checked
def score_curvature(
    denoiser: Denoiser,
    schedule: Schedule,
    x: PyTree,
    ts: PositiveFraction[ArrayLike],
    *,
    num_probes: PositiveInt = 1,
    key: Key | None = None,
) -> Array:
    """The squared norm of the score over its negative divergence, at several noise levels, ``(B, n)``.

    ``|s|^2 / -div s = |eps|^2 / (sigma div eps)`` at ``alpha x``. Both have the same mean under the density at time t
    (integrate by parts), so that the ratio is close to 1 on the typical set of high-dimensional noisy data.

    Args:
      denoiser, schedule: ``(x_t, t) -> Prediction`` with a scalar t, and its noise schedule.
      x: data, a tree of ``(B, ...)`` arrays.
      ts: times ``(n,)``, n >= 1.
      key: key of the Rademacher probes of Hutchinson's estimator; None computes the divergence exactly, with D
        tangents.
      num_probes: number of probes per example.

    Source: Barkley et al. 2025 (https://arxiv.org/abs/2510.01456).
    """
    ts = _check_times(ts)
    _check_data(x)
    vectors = None if key is None else draw_probes(key, "rademacher", x, num_probes)

    def one(t):
        eps, traces = with_divergence(
            lambda x_t: check_prediction(denoiser(x_t, t)).eps, _noisy(schedule, x, t, None), vectors, 8
        )
        return sum_per_example(jnp.square, eps) / (schedule.sigma(t) * jnp.mean(traces, axis=1))

    return jax.lax.map(one, ts).T
