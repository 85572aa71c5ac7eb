"""Deterministic one-step solvers of the probability-flow ODE: Runge-Kutta and its exponential forms."""

from typing import ClassVar, Literal

import jax.numpy as jnp

from scorekit.solvers.coordinates import FINITE_AT_ZERO_NOISE, CoordinateName, check_coordinate, frame, log_snr_at
from scorekit.solvers.planned import Linear, Planned, Row, check_order, slope, weighted
from scorekit.solvers.weights import corrected, exponential_nodes, first_order, gain, half_log_snr, newton_integrals
from scorekit.trees import pytree_dataclass, static


@pytree_dataclass
class Euler(Linear):
    """First order: ``x_s = alpha_s x0 + sigma_s eps``; DDIM with eta = 0.

    >>> Euler().order
    1

    Source: Song et al. 2020, eq. 12 (https://arxiv.org/abs/2010.02502).
    """

    order = 1
    evals_per_step = 1
    stochastic = False

    def row(self, schedule, t, s, earlier, known):
        del earlier, known
        return Row(t, x0=schedule.alpha(s), eps=schedule.sigma(s))


class Stages(Planned):
    """One-step solvers of several evaluations: every stage is a row on the state and the slopes so far."""

    stochastic = False
    coordinate: CoordinateName = "flow"

    @property
    def evals_per_step(self) -> int:
        raise NotImplementedError

    def advance(self, key, carry, x_t, row, denoiser):
        first, slopes, x = denoiser(x_t, row[0].t), [], x_t
        for i, stage in enumerate(row):
            prediction = denoiser(x, stage.t) if i else first
            if i:
                slopes.append(slope(self.coordinate, prediction, stage, x_t))
            x = weighted(x_t, stage, first, tuple(slopes))
        return x, carry


_TABLEAUS = {  # nodes, and the weights of each stage and of the step
    "midpoint": ((0.0, 0.5), ((0.5,), (0.0, 1.0))),
    "heun": ((0.0, 1.0), ((1.0,), (0.5, 0.5))),
    "rk4": ((0.0, 0.5, 0.5, 1.0), ((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6))),
}


class RungeKutta(Stages):
    """An explicit Runge-Kutta step in a coordinate; a stage that would land on ``sigma = 0`` makes the step Euler's."""

    tableau: ClassVar[str]

    def __post_init__(self):
        check_coordinate(self.coordinate, FINITE_AT_ZERO_NOISE)

    @property
    def evals_per_step(self) -> int:
        return len(_TABLEAUS[self.tableau][0])

    def row(self, schedule, t, s, earlier, known):
        nodes, weights = _TABLEAUS[self.tableau]
        start, alpha, sigma = (schedule.alpha(t), schedule.sigma(t)), schedule.alpha(s), schedule.sigma(s)
        smooth = (alpha > 0) & ((sigma > 0) | (1.0 not in nodes))  # else there is no slope at s
        if self.coordinate == "sigma":
            smooth &= start[0] > 0
        safe = lambda *level: frame(self.coordinate, *(jnp.where(smooth, v, 1.0) for v in level))
        begin, end = safe(*start), safe(alpha, sigma)
        width = end.clock - begin.clock
        rows, here, time = [], begin, t
        for i, w in enumerate(weights):
            goal = (
                s
                if i + 1 == len(nodes) or nodes[i + 1] == 1.0
                else self._time(schedule, t, s, begin, end, nodes[i + 1])
            )
            goal = jnp.where(smooth, goal, s)
            row = first_order(self.coordinate, schedule, t, goal)
            there = safe(schedule.alpha(goal), schedule.sigma(goal))
            pull, step = there.scale * width, there.scale * (there.clock - begin.clock)
            # the first-order row already holds the full step along the first slope
            row = corrected(row, self.coordinate, [pull * w[0] - step, *(pull * a for a in w[1:])])
            rows.append(row._replace(t=time, signal=here.signal, noise=here.noise))
            time, here = jnp.where(smooth, goal, t), there
        return tuple(rows)

    def _time(self, schedule, t, s, begin, end, node):
        clock = begin.clock + node * (end.clock - begin.clock)
        return jnp.clip(schedule.time_at(log_snr_at(self.coordinate, clock)), jnp.minimum(s, t), jnp.maximum(s, t))


@pytree_dataclass
class Heun(RungeKutta):
    """Second order, two evaluations: the trapezoidal rule in a straightened coordinate.

    ``y_s = y_t + (tau_s - tau_t) (u_t + u_s) / 2`` with ``u = dy/dtau``. A step that ends at ``sigma = 0`` stays first
    order, as does, in the "sigma" coordinate, one that starts at ``alpha = 0``.

    Attributes:
      coordinate: "flow" (finite at both ends, better at few steps), "angle" or "sigma" (EDM algorithm 1).

    >>> Heun().evals_per_step
    2

    Source: Karras et al. 2022, alg. 1 (https://arxiv.org/abs/2206.00364), in the coordinate of choice.
    """

    coordinate: CoordinateName = static(default="flow")
    order = 2
    tableau = "heun"


@pytree_dataclass
class Midpoint(RungeKutta):
    """Second order, two evaluations: the slope half-way, in a straightened coordinate; never evaluated at the end.

    Attributes:
      coordinate: "flow", "angle" or "sigma".

    >>> Midpoint().order
    2
    """

    coordinate: CoordinateName = static(default="flow")
    order = 2
    tableau = "midpoint"


@pytree_dataclass
class RK4(RungeKutta):
    """The classical fourth-order Runge-Kutta step, four evaluations, in a straightened coordinate.

    Attributes:
      coordinate: "flow", "angle" or "sigma".

    >>> RK4().evals_per_step
    4
    """

    coordinate: CoordinateName = static(default="flow")
    order = 4
    tableau = "rk4"


@pytree_dataclass
class DPMSolver(Stages):
    """Single-step DPM-Solver (eps) and DPM-Solver++ (x0): exponential Runge-Kutta in log-SNR, one evaluation an order.

    Order 2 is the exponential midpoint rule; order 3 has stages at 1/3 and 2/3 of the step. A step from
    ``alpha = 0`` or to ``sigma = 0`` is first order.

    Attributes:
      order: 1, 2 or 3.
      prediction: "x0" for DPM-Solver++(1S, 2S, 3S), "eps" for DPM-Solver-1, -2, -3.

    Raises:
      ValueError: for another order or prediction.

    >>> DPMSolver(order=3).evals_per_step
    3

    Source: Lu et al. 2022, alg. 1 (https://arxiv.org/abs/2211.01095) and alg. 1-2 (https://arxiv.org/abs/2206.00927).
    """

    order: int = static(default=2)
    prediction: Literal["x0", "eps"] = static(default="x0")

    def __post_init__(self):
        check_order(self.order, (1, 2, 3))
        if self.prediction not in ("x0", "eps"):
            raise ValueError(f"prediction must be 'x0' or 'eps', got {self.prediction!r}")

    @property
    def coordinate(self) -> CoordinateName:
        return "signal" if self.prediction == "x0" else "sigma"

    @property
    def evals_per_step(self) -> int:
        return self.order

    def row(self, schedule, t, s, earlier, known):
        nodes = ((), (0.5,), (1 / 3, 2 / 3))[self.order - 1]
        start, finite = half_log_snr(schedule.alpha(t), schedule.sigma(t))
        last, ends = half_log_snr(schedule.alpha(s), schedule.sigma(s))
        smooth = finite & ends
        h = jnp.where(smooth, last - start, 0.0)
        middle = [jnp.where(smooth, schedule.time_at(2.0 * (start + r * h)), t) for r in nodes]
        rows = []
        for i, (time, goal) in enumerate(zip([t, *middle], [*middle, s], strict=True)):
            row = first_order(self.coordinate, schedule, t, goal)
            if i:
                full = self.order == 2  # the published midpoint takes the whole gain along its slope
                weight = (
                    gain(self.coordinate, schedule, t, goal)
                    if full
                    else self._linear(schedule, goal, start, h, nodes, i)
                )
                weight = jnp.where(smooth, weight, 0.0)
                row = corrected(row, self.coordinate, [-weight, *[jnp.zeros_like(weight)] * (i - 1), weight])
            rows.append(row._replace(t=time))
        return tuple(rows)

    def _linear(self, schedule, goal, start, h, nodes, i):
        """The weight of ``slope_i - slope_0`` on the way to ``goal`` with a slope linear in log-SNR."""
        x0 = self.prediction == "x0"
        amplitude = schedule.alpha(goal) if x0 else -schedule.sigma(goal)
        width = h * (nodes[i] if i < len(nodes) else 1.0)
        points, kernel = exponential_nodes(start, width, amplitude, 1.0 if x0 else -1.0)
        apart = jnp.where(h != 0, nodes[i - 1] * h, 1.0)
        return newton_integrals(kernel, points, (start, start))[0] / apart
