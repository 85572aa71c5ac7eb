"""The base class of the solvers with several evaluations a step."""

from scorekit._coordinates import CoordinateName
from scorekit.solvers._base import SolverBase, linear_combination, slope


class MultiStage(SolverBase):
    """One-step solvers with several evaluations: every stage is a row on the state and the slopes so far."""

    stochastic = False
    coordinate: CoordinateName = "flow"

    def step(self, key, state, x_t, row, denoiser):
        first, slopes, x = denoiser(x_t, row[0].t), [], x_t
        for i, stage in enumerate(row):
            prediction = denoiser(x, stage.t) if i else first
            if i:
                slopes.append(slope(self.coordinate, prediction, stage, x_t))
            x = linear_combination(x_t, stage, first, tuple(slopes))
        return x, state
