"""UniPC: a multistep predictor and a corrector that costs no evaluation."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.numerics.coordinates import frame
from scorekit.solvers._base import Order3, Row, SolverBase, noise_levels, slope
from scorekit.solvers._weights import available, gain, slope_weights
from scorekit.trees import combine, pytree_dataclass, static, where
from scorekit.typing import Array


class _PolynomialStep(NamedTuple):
    """``x_end = ratio x_start + sum_j weights_j u_j``: a polynomial step along several slopes."""

    ratio: Array
    weights: tuple[Array, ...]

    def __call__(self, x, slopes):
        return combine((self.ratio, x), *zip(self.weights, slopes, strict=True))


@pytree_dataclass
class UniPC(SolverBase):
    """Predictor and corrector through the same slopes, one evaluation a step: order ``predictor + 1``.

    A step evaluates the slope ``u_t = d(x / scale) / dtau`` at the predicted ``x_t``, with ``tau`` the clock of the
    coordinate; the corrector repeats the previous step, from r to t, and the predictor starts from the corrected state:

        ``x_t = (scale_t / scale_r) x_r + scale_t int_r^t q dtau``, q through ``u_t, u_r`` and ``predictor - 1`` more,
        ``x_s = (scale_s / scale_t) x_t + scale_s int_t^s p dtau``, p through ``u_t`` and ``predictor - 1`` more.

    The integrals are exact, as in the variant with varying coefficients. In "signal" (x0, exponential in log-SNR) this
    is UniPC; in "flow" it is Adams-Bashforth-Moulton on the velocity.

    Attributes:
      predictor: number of slopes in the predictor; the "order" of other packages.
      coordinate: clock of the step.

    >>> UniPC(predictor=2).order
    3

    Source: Zhao et al. 2023 (https://arxiv.org/abs/2302.04867).
    """

    predictor: Order3 = static(default=2)
    coordinate: Literal["signal", "flow"] = static(default="signal")

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
        starts, ends = levels.at(slice(1, 3)), levels.at(slice(2))  # from t to s, and from r to t
        old, new = (frame(self.coordinate, level.alpha, level.sigma).scale for level in (starts, ends))
        slopes = np.arange(self.max_past + 1)  # at t, r and before
        usable = available(num_past, len(slopes))[..., None, :] & np.stack([slopes < self.predictor, slopes >= 0])
        variable = "log_snr" if self.coordinate == "signal" else "clock"
        integrals = slope_weights(self.coordinate, variable, schedule, levels, usable, num_steps=2)
        own = slopes == np.array([[0], [1]])  # the slope at the start of a step makes up its first-order step
        others = jnp.where(own, 0.0, integrals)
        rest = gain(self.coordinate, starts, ends) - jnp.sum(others, axis=-1)
        weights, ratio = jnp.where(own, rest[..., None], others), new / old
        predict = _PolynomialStep(ratio[..., 0], tuple(jnp.unstack(weights[..., 0, : self.predictor], axis=-1)))
        correct = _PolynomialStep(ratio[..., 1], tuple(jnp.unstack(weights[..., 1, :], axis=-1)))
        return Row(levels.t[..., 1]), predict, correct, jnp.asarray(num_past) > 0

    def step(self, state, x_t, row, denoiser, *, key=None):
        del key
        evaluation, predict, correct, has_past = row
        x_r, slopes = state
        slopes = (slope(self.coordinate, denoiser(x_t, evaluation.t), evaluation, x_t), *slopes)
        x_t = where(has_past, correct(x_r, slopes), x_t)
        return predict(x_t, slopes[: self.predictor]), (x_t, slopes[: self.max_past])
