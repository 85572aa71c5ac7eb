r"""Few steps without training for it: noise levels and weights of a multistep solver, chosen once for all data.

Noise levels are the angle ``a = atan(sigma / (alpha sigma_data))``, and states are ``u = x / r`` with
``r = hypot(alpha sigma_data, sigma)``: data of standard deviation ``sigma_data`` around 0 do not move in u, whatever
the schedule. The probability-flow ODE is ``du/da = v = cos(a) eps - sin(a) x0 / sigma_data``, and step k is

    ``u_k+1 = (1 + d_k) u_k + (a_k+1 - a_k) sum_j w_kj v_k-j``,  j = 0 to 4.

The table holds the levels, as log-SNR for ``sigma_data = 1``, the weights w and d. They were optimised together, on
random mixtures of Gaussians (``tests/golden/tune_few_steps.py``), so that the grid and the weights belong to
each other. Other tables are for guidance scales of 2, 4 and 8, where slopes change faster. The first slope is taken at
a lower noise level than the start, because a network can only return the mean at the start.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Fraction, Positive, checked
from scorekit.checks import nan_unless
from scorekit.numerics import wide
from scorekit.samplers._tabulated import HISTORY, GuidanceScale, encloses, table
from scorekit.solvers import LinearSolver, Row, SolverBase
from scorekit.trees import combine, is_traced, pytree_dataclass
from scorekit.typing import Array, ArrayLike, Schedule

_TOLERANCE = 1e-3  # in the angle, of the grid that the weights belong to


class _Step(NamedTuple):
    """A step: the state is scaled by ``rescale`` for the evaluation at ``row.t``."""

    row: Row
    rescale: Array


class _Angle(LinearSolver):
    """The arithmetic of a step whose slopes are measured in the angle."""

    coordinate = "angle"


@pytree_dataclass
class FewSteps(SolverBase):
    """A linear multistep solver with tabulated weights, on the grid that they belong to; built by :func:`few_steps`.

    Attributes:
      sigma_data: the standard deviation of the data that the levels of the grid are multiples of.
      guidance_scale: the scale of guided sampling, to which the tables are interpolated; None without guidance.

    >>> FewSteps(sigma_data=0.5).order
    1

    Source: Shaul et al. 2024, non-stationary solvers, which are optimised there for one model
    (https://arxiv.org/abs/2403.01329); the table is made here.
    """

    sigma_data: ArrayLike = 1.0
    guidance_scale: ArrayLike | None = None

    def row(self, schedule, times, num_past):
        raise ValueError("solver must have coefficients for single steps, got FewSteps, whose weights need its grid")

    def plan(self, schedule, ts):
        ts = wide(ts)
        levels, keep, weights = table(jnp.shape(ts)[0] - 1, self.guidance_scale)
        radius, angle = _polar(schedule, ts, self.sigma_data)
        belongs = jnp.all(jnp.abs(angle[1:-1] - _angles(levels)[1:]) < _TOLERANCE)
        if not is_traced(belongs) and not belongs:
            own = "the grid of few_steps for this schedule, sigma_data and guidance_scale"
            raise ValueError(f"ts must be {own}, got {ts}")
        first = schedule.time_at(levels[0] - 2.0 * jnp.log(self.sigma_data))
        times = nan_unless(belongs, ts[:-1].at[0].set(first))
        seen_radius, seen_angle = _polar(schedule, times, self.sigma_data)
        signal, noise = -jnp.sin(seen_angle) / self.sigma_data, jnp.cos(seen_angle)
        change = radius[1:, None] * jnp.diff(angle)[:, None] * weights
        row = Row(
            times,
            x=radius[1:] / radius[:-1] * (1.0 + keep),
            x0=change[:, 0] * signal,
            eps=change[:, 0] * noise,
            history=tuple(change[:, 1:].T),
            signal=signal,
            noise=noise,
        )
        return _Step(row, seen_radius / radius[:-1])

    def init(self, x):
        return (jax.tree.map(jnp.zeros_like, x),) * HISTORY

    def step(self, state, x_t, row, denoiser, *, key=None):
        row, rescale = row
        prediction = denoiser(combine((rescale, x_t)), row.t)
        x_s = _Angle().combine(x_t, row, prediction, state)
        return x_s, (_Angle().slope(prediction, row, x_t), *state[:-1])


@checked
def few_steps(
    schedule: Schedule,
    steps: int,
    t_max: Fraction[float] = 1.0,
    t_min: Fraction[float] = 0.0,
    *,
    sigma_data: Positive[float] = 1.0,
    guidance_scale: GuidanceScale | None = None,
) -> tuple[FewSteps, Array]:
    """A solver and its grid for 4 to 24 evaluations, with tabulated noise levels and weights.

    ``log_snr(ts[k]) = table[k] - 2 log(sigma_data)`` between the ends: the same noise levels, relative to the data, on
    every schedule. The network is evaluated at the inner times and, in the first step, at a level below ``ts[0]``.

    Args:
      schedule: the schedule of the network.
      steps: evaluations of the network: 4 to 8, 10, 12, 14, 15, 16, 18, 20 or 24; with a guidance scale 5, 6, 8, 10,
        12, 16 or 20.
      t_max: the first time, with more noise than the first evaluation.
      t_min: the last time, with less noise than the last evaluation.
      sigma_data: standard deviation of the data around 0, over all values; 0.5 for many images.
      guidance_scale: gamma of classifier-free guidance, from 1 to 8. Tables are for 1 (unguided), 2, 4 and 8, and are
        interpolated linearly in log gamma. The numbers of steps without guidance need None, not 1.

    Returns:
      ``(solver, ts)``, as :func:`scorekit.samplers.sample` takes them; they belong to each other and to the schedule.

    Raises:
      ValueError: for times that do not enclose the evaluations.

    >>> from scorekit.schedules import RectifiedFlow
    >>> solver, ts = few_steps(RectifiedFlow(), 5)
    >>> ts.shape, float(ts[0]), float(ts[-1])
    ((6,), 1.0, 0.0)

    Source: Shaul et al. 2024, non-stationary solvers, which are optimised there for one model
    (https://arxiv.org/abs/2403.01329); the table is made here.
    """
    levels = table(steps, guidance_scale)[0]
    fits = encloses(schedule, steps, t_max, t_min, sigma_data, guidance_scale)
    if not is_traced(fits) and not fits:
        first, last = np.exp(-0.5 * np.asarray(levels)[[0, -1]])
        allowed = f"times that enclose sigma / alpha = {first:.3g} to {last:.3g} times sigma_data"
        raise ValueError(f"t_max and t_min must be {allowed}, got {t_max} and {t_min} with sigma_data = {sigma_data}")
    inner = schedule.time_at(levels[1:] - 2.0 * jnp.log(sigma_data))
    first, last = (jnp.asarray(t, inner.dtype)[None] for t in (t_max, t_min))
    solver = FewSteps(sigma_data=sigma_data, guidance_scale=guidance_scale)
    return solver, nan_unless(fits, jnp.concatenate([first, inner, last]))


def _angles(log_snr: Array) -> Array:
    return jnp.arctan(jnp.exp(-0.5 * log_snr))


def _polar(schedule: Schedule, ts: Array, sigma_data: ArrayLike) -> tuple[Array, Array]:
    """``hypot(alpha sigma_data, sigma)`` and the angle."""
    signal, noise = schedule.alpha(ts) * sigma_data, schedule.sigma(ts)
    return jnp.hypot(signal, noise), jnp.arctan2(noise, signal)
