"""The base class of the multistep solvers."""

from scorekit.solvers._base import LinearSolver, noise_levels
from scorekit.solvers._weights import Variable, available, first_order, slope_weights, with_history


class Multistep(LinearSolver):
    """A polynomial of degree ``max_past`` through the slopes of t and earlier times."""

    evals_per_step = 1
    stochastic = False
    order: int
    variable: Variable = "clock"

    @property
    def max_past(self) -> int:
        return self.order - 1

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times, self.max_past)
        row = first_order(self.coordinate, levels.at(1), levels.at(0))
        if not self.max_past:
            return row
        usable = available(num_past, self.order)[..., None, :]
        weights = slope_weights(self.coordinate, self.variable, schedule, levels, usable)
        return with_history(row, self.coordinate, weights[..., 0, 1:])
