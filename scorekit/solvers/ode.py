"""Deterministic one-step solvers of the probability-flow ODE: Runge-Kutta and its exponential forms.

>>> solvers = Euler(), Heun(), Midpoint(), RK4(), DPMSolver(order=3)
>>> [(solver.order, solver.evals_per_step) for solver in solvers]
[(1, 1), (2, 2), (2, 2), (4, 4), (3, 3)]
"""

from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from scorekit.numerics import wide
from scorekit.numerics.coordinates import CoordinateName, FiniteAtZeroNoise, frame, log_snr_at
from scorekit.solvers._base import (
    LinearSolver,
    NoiseLevels,
    Order3,
    Row,
    SolverBase,
    linear_combination,
    noise_levels,
    slope,
)
from scorekit.solvers._weights import exponential, first_order, gain, half_log_snr, with_slopes
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array


@pytree_dataclass
class Euler(LinearSolver):
    """First order: ``x_s = alpha_s x0 + sigma_s eps``; DDIM with eta = 0.

    Source: Song et al. 2020, eq. 12 (https://arxiv.org/abs/2010.02502).
    """

    def row(self, schedule, times, num_past):
        times = wide(times)
        s = noise_levels(schedule, times[..., 0])
        return Row(times[..., 1], x0=s.alpha, eps=s.sigma)


class _MultiStage(SolverBase):
    """One-step solvers with several evaluations: every stage is a row on the state and the slopes so far."""

    coordinate: CoordinateName = "flow"

    def step(self, state, x_t, row, denoiser, *, key=None):
        first, slopes, x = denoiser(x_t, row[0].t), [], x_t
        for i, stage in enumerate(row):
            prediction = denoiser(x, stage.t) if i else first
            if i:
                slopes.append(slope(self.coordinate, prediction, stage, x_t))
            x = linear_combination(x_t, stage, first, tuple(slopes))
        return x, state


_TABLEAUS = {  # nodes, and the weights of each stage and of the step
    "midpoint": ((0.0, 0.5), ((0.5,), (0.0, 1.0))),
    "rk4": ((0.0, 0.5, 0.5, 1.0), ((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6))),
}


def _is_smooth(coordinate: CoordinateName, t: NoiseLevels, s: NoiseLevels, slope_at_end: bool = True) -> Array:
    """Whether the coordinate and the slopes of a step exist at both ends; otherwise the step is an Euler step."""
    smooth = (s.alpha > 0) & ((s.sigma > 0) | (not slope_at_end))
    return smooth & (t.alpha > 0) if coordinate == "sigma" else smooth


class _RungeKutta(_MultiStage):
    """An explicit Runge-Kutta step in a coordinate; a step with a stage at ``sigma = 0`` is an Euler step."""

    tableau: ClassVar[str]

    @property
    def evals_per_step(self) -> int:
        return len(_TABLEAUS[self.tableau][0])

    def row(self, schedule, times, num_past):
        nodes, weights = _TABLEAUS[self.tableau]
        levels = noise_levels(schedule, times)
        s, t = levels.at(0), levels.at(1)
        smooth = _is_smooth(self.coordinate, t, s, slope_at_end=1.0 in nodes)
        safe = lambda level: frame(self.coordinate, *(jnp.where(smooth, v, 1.0) for v in (level.alpha, level.sigma)))
        begin, end = safe(t), safe(s)
        targets = {1.0: (s, end)}  # where each stage ends, and the coordinate there
        if 0.5 in nodes:
            middle = schedule.time_at(log_snr_at(self.coordinate, 0.5 * (begin.clock + end.clock)))
            middle = jnp.clip(middle, jnp.minimum(s.t, t.t), jnp.maximum(s.t, t.t))
            level = noise_levels(schedule, jnp.where(smooth, middle, s.t))
            targets[0.5] = level, safe(level)
        first = {node: first_order(self.coordinate, t, level) for node, (level, _) in targets.items()}
        rows, here, time, width = [], begin, t.t, end.clock - begin.clock
        for i, w in enumerate(weights):
            node = nodes[i + 1] if i + 1 < len(nodes) else 1.0
            goal, there = targets[node]
            weight, step = there.scale * width, there.scale * (there.clock - begin.clock)
            # the first-order row already holds the full step along the first slope
            row = with_slopes(first[node], self.coordinate, weight * w[0] - step, tuple(weight * a for a in w[1:]))
            rows.append(row._replace(t=time, signal=here.signal, noise=here.noise))
            time, here = jnp.where(smooth, goal.t, t.t), there
        return tuple(rows)


@pytree_dataclass
class Heun(_MultiStage):
    """Second order, two evaluations: the trapezoidal rule in a straightened coordinate.

    ``y_s = y_t + (tau_s - tau_t) (u_t + u_s) / 2`` with ``u = dy/dtau``. A step that ends at ``sigma = 0`` stays first
    order, as does, in the "sigma" coordinate, one that starts at ``alpha = 0``.

    Attributes:
      coordinate: clock of the step; "flow" is finite at both ends and better at few steps, "sigma" is EDM's.

    Source: Karras et al. 2022, alg. 1 (https://arxiv.org/abs/2206.00364), in the coordinate of choice.
    """

    coordinate: FiniteAtZeroNoise = static(default="flow")
    order = 2
    evals_per_step = 2

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times)
        s, t = levels.at(0), levels.at(1)
        smooth = _is_smooth(self.coordinate, t, s)
        start, end = (frame(self.coordinate, *(jnp.where(smooth, v, 1.0) for v in level[1:])) for level in (t, s))
        half = 0.5 * end.scale * (end.clock - start.clock)  # scale_s (tau_s - tau_t) / 2, 0 unless smooth
        euler = first_order(self.coordinate, t, s)  # x_s = scale_s (y_t + (tau_s - tau_t) u_t)
        heun = with_slopes(euler, self.coordinate, -half, (half,))  # half of the step along u_s in place of u_t
        return (
            euler._replace(signal=start.signal, noise=start.noise),
            heun._replace(t=jnp.where(smooth, s.t, t.t), signal=end.signal, noise=end.noise),
        )


@pytree_dataclass
class Midpoint(_RungeKutta):
    """Second order, two evaluations: the slope half-way, in a straightened coordinate; no evaluation at the end.

    ``y_s = y_t + (tau_s - tau_t) u(y_m, tau_m)`` with ``tau_m = (tau_t + tau_s) / 2``, ``y_m = y_t + (tau_m - tau_t)
    u_t``.

    Attributes:
      coordinate: clock of the step.

    Source: Hairer, Norsett & Wanner 1993.
    """

    coordinate: FiniteAtZeroNoise = static(default="flow")
    order = 2
    tableau = "midpoint"


@pytree_dataclass
class RK4(_RungeKutta):
    """The classical fourth-order Runge-Kutta step, four evaluations, in a straightened coordinate.

    ``y_s = y_t + (tau_s - tau_t) (u_1 + 2 u_2 + 2 u_3 + u_4) / 6``, two slopes half-way and one at the end.

    Attributes:
      coordinate: clock of the step.

    Source: Hairer, Norsett & Wanner 1993.
    """

    coordinate: FiniteAtZeroNoise = static(default="flow")
    order = 4
    tableau = "rk4"


@pytree_dataclass
class DPMSolver(_MultiStage):
    """Single-step DPM-Solver (eps) and DPM-Solver++ (x0): exponential Runge-Kutta in log-SNR, ``order`` evaluations.

    Order 2 is the exponential midpoint rule; order 3 has stages at 1/3 and 2/3 of the step. A step from
    ``alpha = 0`` or to ``sigma = 0`` is first order.

    Attributes:
      order: order, and evaluations, of a step.
      prediction: "x0" for DPM-Solver++(1S, 2S, 3S), "eps" for DPM-Solver-1, -2, -3.

    Source: Lu et al. 2022, alg. 1-2 (https://arxiv.org/abs/2206.00927); for x0, Lu et al. 2022
    (https://arxiv.org/abs/2211.01095).
    """

    order: Order3 = static(default=2)
    prediction: Literal["x0", "eps"] = static(default="x0")

    @property
    def coordinate(self) -> CoordinateName:
        return "signal" if self.prediction == "x0" else "sigma"

    @property
    def evals_per_step(self) -> int:
        return self.order

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times)
        nodes = np.array(((), (0.5,), (1 / 3, 2 / 3))[self.order - 1])
        s, t = levels.at(0), levels.at(1)
        half, finite = half_log_snr(levels)
        smooth, start = finite[..., 0] & finite[..., 1], half[..., 1]
        h = jnp.where(smooth, half[..., 0] - start, 0.0)
        middle = start[..., None] + h[..., None] * nodes.astype(h.dtype)
        middle = noise_levels(schedule, jnp.where(smooth[..., None], schedule.time_at(2.0 * middle), t.t[..., None]))
        stages = [middle.at(i) for i in range(self.order - 1)]
        weights = self._weights(stages, t, s, start, h)
        rows = [first_order(self.coordinate, t, goal) for goal in (*stages, s)]
        for i, weight in enumerate(weights, start=1):
            weight = jnp.where(smooth, weight, 0.0)
            rows[i] = with_slopes(rows[i], self.coordinate, -weight, (jnp.zeros_like(weight),) * (i - 1) + (weight,))
        return tuple(row._replace(t=at.t) for row, at in zip(rows, (t, *stages), strict=True))

    def _weights(self, stages: list[NoiseLevels], t: NoiseLevels, s: NoiseLevels, start, h):
        """The weight that each later stage and the end move from the first slope to the slope of the stage before."""
        if self.order < 3:  # the published midpoint rule takes the full step along its slope
            return [gain(self.coordinate, t, s)][: self.order - 1]
        # a slope linear in log-SNR through the slopes at t and at the stage before
        goals, x0 = (stages[1], s), self.prediction == "x0"
        amplitude = jnp.stack([goal.alpha if x0 else -goal.sigma for goal in goals], axis=-1)
        width = h[..., None] * np.array([2 / 3, 1.0], h.dtype)
        nodes, kernel = exponential(start[..., None], width, amplitude, 1.0 if x0 else -1.0)
        linear = jnp.sum(kernel * (nodes - start[..., None, None]), axis=-1)
        apart = jnp.where(h != 0, h, 1.0)[..., None] * np.array([1 / 3, 2 / 3], h.dtype)
        return jnp.unstack(linear / apart, axis=-1)
