"""UniPC: a multistep predictor and a corrector that costs no evaluation."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit._coordinates import frame
from scorekit.solvers._base import Order3, Row, SolverBase, noise_levels, slope
from scorekit.solvers._weights import available, gain, slope_weights
from scorekit.trees import combine, pytree_dataclass, static, where
from scorekit.typing import Array

__all__ = ["UniPC"]


class _PolynomialStep(NamedTuple):
    """A polynomial step on a state and its slopes: ``ratio x + sum_j weights_j slope_j``."""

    ratio: Array
    weights: tuple[Array, ...]

    def __call__(self, x, slopes):
        return combine((self.ratio, x), *zip(self.weights, slopes, strict=True))


@pytree_dataclass
class UniPC(SolverBase):
    """Predictor and corrector through the same slopes, one evaluation a step: order ``predictor + 1``.

    A step evaluates the network at the predicted ``x_t``, repeats the previous step with a polynomial that also passes
    through the new slope (the corrector), and predicts ``x_s`` from the corrected ``x_t``. The integrals are exact, as
    in the variant with varying coefficients. In "signal" (x0, exponential in log-SNR) this is UniPC; in "flow" it is
    Adams-Bashforth-Moulton on the velocity.

    Attributes:
      predictor: number of slopes in the predictor; the "order" of other packages.
      coordinate: clock of the step.

    >>> UniPC(predictor=2).order
    3

    Source: Zhao et al. 2023 (https://arxiv.org/abs/2302.04867).
    """

    predictor: Order3 = static(default=2)
    coordinate: Literal["signal", "flow"] = static(default="signal")
    evals_per_step = 1
    stochastic = False

    @property
    def order(self) -> int:
        return self.predictor + 1

    @property
    def max_past(self) -> int:
        return self.predictor

    def init(self, x):
        zeros = jax.tree.map(jnp.zeros_like, x)
        return zeros, (zeros,) * self.max_past

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times, self.max_past)
        starts, ends = levels.at(slice(1, 3)), levels.at(slice(2))  # of the prediction, and of the correction
        old, new = (frame(self.coordinate, level.alpha, level.sigma).scale for level in (starts, ends))
        counts = self.predictor, self.predictor + 1  # of slopes
        usable = available(num_past, self.max_past + 1)[..., None, :] & (
            np.arange(self.max_past + 1) < np.array(counts)[:, None]
        )
        variable = "log_snr" if self.coordinate == "signal" else "clock"
        weights = slope_weights(self.coordinate, variable, schedule, levels, usable, num_steps=2)
        own = np.eye(2, self.max_past + 1, dtype=bool)  # the slope at the start makes up the first-order step
        others = jnp.where(own, 0.0, weights)
        rest = gain(self.coordinate, starts, ends) - jnp.sum(others, axis=-1)
        weights = jnp.where(own, rest[..., None], others)
        predict, correct = (
            _PolynomialStep((new / old)[..., i], jnp.unstack(weights[..., i, :count], axis=-1))
            for i, count in enumerate(counts)
        )
        return Row(levels.t[..., 1]), predict, correct, jnp.asarray(num_past) > 0

    def step(self, key, state, x_t, row, denoiser):
        del key
        evaluation, predict, correct, has_past = row
        previous, slopes = state
        slopes = (slope(self.coordinate, denoiser(x_t, evaluation.t), evaluation, x_t), *slopes)
        x = where(has_past, correct(previous, slopes), x_t)
        return predict(x, slopes[: self.predictor]), (x, slopes[: self.max_past])
