"""Stochastic solvers that evaluate more than once a step: EDM's churn, Langevin correctors, annealed Langevin.

>>> solvers = StochasticHeun(gamma=0.1), PredictorCorrector(num_corrections=2), AnnealedLangevin(steps=10)
>>> [solver.evals_per_step for solver in solvers], edm_stochastic(100).gamma
([2, 3, 10], Array(0.4, dtype=float32))
"""

import math
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from scorekit.arguments import Between, NonNegative, Positive, PositiveInt, checked
from scorekit.numerics import sqrt, sqrt_one_minus_square
from scorekit.numerics.coordinates import FiniteAtZeroNoise
from scorekit.solvers._base import SolverBase, WrappedSolver, noise_levels
from scorekit.solvers._weights import decay_of
from scorekit.solvers.ode import Heun
from scorekit.solvers.sde import ReverseDiffusion
from scorekit.trees import combine, normal_like, pytree_dataclass, static, sum_per_example, where
from scorekit.typing import Array, Number, PyTree, Solver


@pytree_dataclass
class StochasticHeun(SolverBase):
    """EDM's stochastic sampler: add a little noise, then one step of Heun; build it with :func:`edm_stochastic`.

    With ``w = sigma / alpha``: where ``noise_min <= w_t <= noise_max``, noise of standard deviation ``noise`` takes
    ``x_t`` up to ``w' = (1 + gamma) w_t``, at most to the noise level of t = 1; Heun then steps from there to s. With
    ``gamma = 0`` it is :class:`~scorekit.solvers.Heun` in the same coordinate.

    Attributes:
      gamma: relative rise of the noise in each step.
      noise_min: lowest ``sigma / alpha`` at which noise is added.
      noise_max: highest ``sigma / alpha`` at which noise is added.
      noise: standard deviation of the added noise; 1 keeps the marginals.
      coordinate: clock of Heun's step; "sigma" as published.

    Source: Karras et al. 2022, alg. 2 (https://arxiv.org/abs/2206.00364).
    """

    gamma: NonNegative[Number]
    noise_min: NonNegative[Number] = 0.0
    noise_max: Annotated[Number, Between(0, infinite=True)] = math.inf
    noise: Positive[Number] = 1.0
    coordinate: FiniteAtZeroNoise = static(default="sigma")
    evals_per_step = 2
    stochastic = True

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times)
        s, t = levels.at(0), levels.at(1)
        some = (t.alpha > 0) & (t.sigma > 0)
        level = t.sigma / jnp.where(some, t.alpha, 1.0)
        churned = some & (level >= self.noise_min) & (level <= self.noise_max) & (jnp.asarray(self.gamma) > 0)
        raised = (1.0 + self.gamma) * jnp.where(churned, level, 1.0)
        time = jnp.where(churned, jnp.clip(schedule.time_at(-2.0 * jnp.log(raised)), t.t, 1.0), t.t)
        up = noise_levels(schedule, time)
        scale = up.alpha / jnp.where(some, t.alpha, 1.0)
        std = self.noise * up.sigma * sqrt_one_minus_square(decay_of(up, t))
        rows = Heun(coordinate=self.coordinate).row(schedule, jnp.stack([s.t, time], axis=-1), 0)
        return jnp.where(churned, scale, 1.0), jnp.where(churned, std, 0.0), rows

    def step(self, state, x_t, row, denoiser, *, key=None):
        scale, std, rows = row
        raised = combine((scale, x_t), (std, normal_like(key, x_t)))
        return Heun(coordinate=self.coordinate).step(state, raised, rows, denoiser)


@checked
def edm_stochastic(
    num_steps: PositiveInt,
    churn: NonNegative[Number] = 40.0,
    noise_min: NonNegative[Number] = 0.05,
    noise_max: Annotated[Number, Between(0, infinite=True)] = 50.0,
    noise: Positive[Number] = 1.003,
) -> StochasticHeun:
    """The stochastic sampler of EDM with the parameters of the paper: ``gamma = min(churn / num_steps, sqrt(2) - 1)``.

    Args:
      num_steps: steps of the grid.
      churn: S_churn, the noise added over all steps.
      noise_min: S_min (S_tmin), lowest ``sigma / alpha`` with churn.
      noise_max: S_max (S_tmax), highest ``sigma / alpha`` with churn.
      noise: S_noise, standard deviation of the noise, slightly above 1 to compensate for lost detail.

    Source: Karras et al. 2022, alg. 2 and table 5 (https://arxiv.org/abs/2206.00364).
    """
    gamma = jnp.minimum(jnp.asarray(churn, float) / num_steps, math.sqrt(2.0) - 1.0)
    return StochasticHeun(gamma=gamma, noise_min=noise_min, noise_max=noise_max, noise=noise)


@pytree_dataclass
class PredictorCorrector(WrappedSolver):
    """A predictor step, followed by steps of Langevin dynamics at the new noise level.

    ``x <- x + d score + sqrt(2 d) z`` with ``d = 2 a snr^2 |z|^2 / |score|^2`` and ``a = (alpha_t / alpha_s)^2`` (1 for
    variance-exploding schedules, 1 - beta for DDPM). Both norms have the values that the paper aims at in high
    dimensions, ``|z|^2 = D`` and ``|score|^2 = D / sigma^2``, so that ``d = 2 a (snr sigma)^2`` depends on the noise
    level alone. A step that depended on the state would tend to another law: with steps divided by each example's own
    ``|score|^2`` the chain tends to ``p(x) |score|^2``. A step is at most ``sigma^2``; nothing is corrected at
    ``sigma = 0``. The order is the order of the variance on Gaussian data for ``snr^2`` in proportion to the step. A
    fixed snr leaves the bias of its Langevin steps, up to a fraction ``snr^2`` of the variance.

    Attributes:
      predictor: any solver of this package.
      num_corrections: evaluations of the corrector in each step.
      snr: target ratio of signal to noise of a Langevin step.
      norms: "expected", as above, or "batch_mean", the published code: means of ``|z|`` and ``|score|`` over the batch.
        The latter couples the examples of a batch: a result depends on its batch mates, and for few examples the law
        is biased as described.

    Source: Song et al. 2021 (https://arxiv.org/abs/2011.13456).
    """

    predictor: Solver = ReverseDiffusion()
    num_corrections: PositiveInt = static(default=1)
    snr: Positive[Number] = 0.16
    norms: Literal["expected", "batch_mean"] = static(default="expected")
    order = 1
    stochastic = True

    @property
    def base(self) -> Solver:
        """The predictor."""
        return self.predictor

    @property
    def evals_per_step(self) -> int:
        return self.predictor.evals_per_step + self.num_corrections

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times)
        s, t = levels.at(0), levels.at(1)
        at = jnp.where(s.sigma > 0, s.t, t.t)  # at sigma = 0 nothing is corrected, and eps may not exist
        strength = 2.0 * jnp.square(t.alpha / s.alpha * self.snr)
        return self.predictor.row(schedule, times, num_past), (at, s.sigma, strength)

    def step(self, state, x_t, row, denoiser, *, key=None):
        predictor_row, (at, sigma, strength) = row
        for_predictor, *keys = jax.random.split(key, 1 + self.num_corrections)  # type: ignore[arg-type]
        x, state = self.predictor.step(state, x_t, predictor_row, denoiser, key=for_predictor)
        for k in keys:
            z, eps = normal_like(k, x), denoiser(x, at).eps
            ratio = 1.0 if self.norms == "expected" else jnp.square(_mean_norm(z) / _mean_norm(eps))
            d = jnp.minimum(strength * ratio, 1.0)  # the step size over sigma^2
            x = where(sigma > 0, combine((1.0, x), (-d * sigma, eps), (sigma * jnp.sqrt(2.0 * d), z)), x)
        return x, state


def _mean_norm(tree: PyTree) -> Array:
    """The mean over the batch of the norm of each example."""
    return jnp.maximum(jnp.mean(jnp.sqrt(sum_per_example(jnp.square, tree))), jnp.finfo(jnp.float32).tiny)


@pytree_dataclass
class AnnealedLangevin(SolverBase):
    """Langevin dynamics at each noise level in turn (NCSN): ``x <- x - step sigma eps + sigma sqrt(2 step) z``.

    The state moves to the next noise level unchanged; a step to ``sigma = 0`` ends with the clean estimate of the last
    evaluation. It does not discretise the reverse process and has no order: it converges as the steps at each noise
    level grow in number and shrink in size.

    Attributes:
      steps: evaluations at each noise level.
      step_size: step in units of ``sigma^2`` (NCSN: ``step_size * sigma_last^2 = epsilon / 2``).

    Source: Song & Ermon 2019 (https://arxiv.org/abs/1907.05600); the last denoising: Song & Ermon 2020.
    """

    steps: PositiveInt = static(default=5)
    step_size: Positive[Number] = 0.1
    order = 0
    stochastic = True

    @property
    def evals_per_step(self) -> int:
        return self.steps

    def row(self, schedule, times, num_past):
        levels = noise_levels(schedule, times)
        s, t = levels.at(0), levels.at(1)
        return t.t, t.sigma, s.alpha, s.sigma > 0, sqrt(2.0 * jnp.asarray(self.step_size))

    def step(self, state, x_t, row, denoiser, *, key=None):
        t, sigma, alpha, noisy, noise = row
        x, prediction = x_t, denoiser(x_t, t)
        for i, k in enumerate(jax.random.split(key, self.steps)):
            prediction = denoiser(x, t) if i else prediction
            x = combine((1.0, x), (-self.step_size * sigma, prediction.eps), (noise * sigma, normal_like(k, x)))
        return where(noisy, x, combine((0.0, x), (alpha, prediction.x0))), state
