"""Stochastic solvers that evaluate more than once a step: EDM's churn, Langevin correctors, annealed Langevin."""

import math

import jax
import jax.numpy as jnp

from scorekit.schedules.numerics import sqrt
from scorekit.solvers.base import Planned, levels_at
from scorekit.solvers.coordinates import FINITE_AT_ZERO_NOISE, CoordinateName, check_coordinate
from scorekit.solvers.ode import Heun
from scorekit.solvers.sde import ReverseDiffusion
from scorekit.solvers.weights import decay_of, noise_share
from scorekit.trees import (
    check,
    check_positive,
    combine,
    event_size,
    normal_like,
    pytree_dataclass,
    static,
    sum_per_example,
    where,
)
from scorekit.typing import Number


@pytree_dataclass
class StochasticHeun(Planned):
    """EDM's stochastic sampler: raise the noise a little, then one step of Heun; build it with :func:`edm_stochastic`.

    With ``w = sigma / alpha``: where ``noise_min <= w_t <= noise_max``, noise of standard deviation ``noise`` takes
    ``x_t`` up to ``w' = (1 + gamma) w_t``, at most to the level of t = 1; then Heun goes from there to s. With
    ``gamma = 0`` it is :class:`~scorekit.solvers.Heun` in the same coordinate.

    Attributes:
      gamma: relative rise of the noise in each step, >= 0.
      noise_min: lowest ``sigma / alpha`` at which noise is added.
      noise_max: highest ``sigma / alpha`` at which noise is added.
      noise: standard deviation of the added noise, 1 for the right law.
      coordinate: of Heun: "sigma" (as published), "flow" or "angle".

    >>> StochasticHeun(gamma=0.1).evals_per_step
    2

    Source: Karras et al. 2022, alg. 2 (https://arxiv.org/abs/2206.00364).
    """

    gamma: Number
    noise_min: Number = 0.0
    noise_max: Number = math.inf
    noise: Number = 1.0
    coordinate: CoordinateName = static(default="sigma")
    order = 1
    evals_per_step = 2
    stochastic = True

    def __post_init__(self):
        check_coordinate(self.coordinate, FINITE_AT_ZERO_NOISE)

    def row(self, schedule, levels, known):
        s, t = levels.at(0), levels.at(1)
        some = (t.alpha > 0) & (t.sigma > 0)
        level = t.sigma / jnp.where(some, t.alpha, 1.0)
        churned = some & (level >= self.noise_min) & (level <= self.noise_max) & (jnp.asarray(self.gamma) > 0)
        raised = (1.0 + self.gamma) * jnp.where(churned, level, 1.0)
        time = jnp.where(churned, jnp.clip(schedule.time_at(-2.0 * jnp.log(raised)), t.t, 1.0), t.t)
        up = levels_at(schedule, time)
        scale = up.alpha / jnp.where(some, t.alpha, 1.0)
        std = self.noise * up.sigma * noise_share(decay_of(up, t))
        window = jax.tree.map(lambda *values: jnp.stack(values, axis=-1), s, up)
        rows = Heun(coordinate=self.coordinate).row(schedule, window, 0)
        return jnp.where(churned, scale, 1.0), jnp.where(churned, std, 0.0), rows

    def advance(self, key, carry, x_t, row, denoiser):
        scale, std, rows = row
        raised = combine((scale, x_t), (std, normal_like(key, x_t)))
        return Heun(coordinate=self.coordinate).advance(None, carry, raised, rows, denoiser)


def edm_stochastic(
    num_steps: int, churn: Number = 40.0, noise_min: Number = 0.05, noise_max: Number = 50.0, noise: Number = 1.003
) -> StochasticHeun:
    """The stochastic sampler of EDM with its own parameters: ``gamma = min(churn / num_steps, sqrt(2) - 1)``.

    Args:
      num_steps: steps of the grid.
      churn: S_churn, the noise added over the whole of sampling, >= 0.
      noise_min: S_min (S_tmin), lowest ``sigma / alpha`` with churn.
      noise_max: S_max (S_tmax), highest ``sigma / alpha`` with churn.
      noise: S_noise, standard deviation of the noise, slightly above 1 against detail lost to the network.

    Raises:
      ValueError: if ``num_steps < 1``, ``churn < 0`` or ``noise <= 0``.

    >>> edm_stochastic(100).gamma
    Array(0.4, dtype=float32)

    Source: Karras et al. 2022, alg. 2 and table 5 (https://arxiv.org/abs/2206.00364).
    """
    check(lambda n: n >= 1, "at least 1", num_steps=num_steps)
    check(lambda x: x >= 0, ">= 0", churn=churn)
    check_positive(noise=noise)
    gamma = jnp.minimum(jnp.asarray(churn, float) / num_steps, math.sqrt(2.0) - 1.0)
    return StochasticHeun(gamma=gamma, noise_min=noise_min, noise_max=noise_max, noise=noise)


@pytree_dataclass
class PredictorCorrector(Planned):
    """A predictor, and then steps of Langevin dynamics at the new noise level.

    ``x <- x + d score + sqrt(2 d) z`` with ``d = 2 a (snr |z| / |score|)^2``, the norm of the score over each example,
    that of the noise its expectation, and ``a = (alpha_t / alpha_s)^2`` (1 for variance-exploding schedules, 1 - beta
    for DDPM). A step is at most ``sigma^2``, where the dynamics would overshoot: in few dimensions a score may vanish.
    Nothing is corrected at ``sigma = 0``. The order is that of the variance on Gaussian data for ``snr^2`` in
    proportion to the step; a fixed snr leaves the bias of its Langevin steps, of the size of ``snr^2``.

    Attributes:
      predictor: any solver of this package.
      corrector_steps: evaluations of the corrector in each step, at least 1.
      snr: target ratio of signal to noise of a Langevin step, > 0.

    Raises:
      ValueError: if ``corrector_steps < 1``.

    >>> PredictorCorrector(corrector_steps=2).evals_per_step
    3

    Source: Song et al. 2021, alg. 2-5 (https://arxiv.org/abs/2011.13456).
    """

    predictor: Planned = ReverseDiffusion()
    corrector_steps: int = static(default=1)
    snr: Number = 0.16
    order = 1
    stochastic = True

    def __post_init__(self):
        check(lambda n: n >= 1, "at least 1", corrector_steps=self.corrector_steps)

    @property
    def memory(self) -> int:
        return self.predictor.memory

    @property
    def evals_per_step(self) -> int:
        return self.predictor.evals_per_step + self.corrector_steps  # type: ignore[attr-defined]

    def start(self, x):
        return self.predictor.start(x)

    def row(self, schedule, levels, known):
        s, t = levels.at(0), levels.at(1)
        at = jnp.where(s.sigma > 0, s.t, t.t)  # where nothing is left to correct, eps need not exist
        strength = 2.0 * jnp.square(t.alpha / s.alpha * self.snr)
        return self.predictor.row(schedule, levels, known), (at, s.sigma, strength)

    def advance(self, key, carry, x_t, row, denoiser):
        predictor_row, (at, sigma, strength) = row
        for_predictor, *keys = jax.random.split(key, 1 + self.corrector_steps)
        x, carry = self.predictor.advance(for_predictor, carry, x_t, predictor_row, denoiser)
        for k in keys:
            z, eps = normal_like(k, x), denoiser(x, at).eps
            squares = jnp.maximum(sum_per_example(jnp.square, eps), jnp.finfo(jnp.float32).tiny)
            d = jnp.minimum(strength * event_size(x) / squares, 1.0)  # the step size over sigma^2
            x = where(sigma > 0, combine((1.0, x), (-d * sigma, eps), (sigma * jnp.sqrt(2.0 * d), z)), x)
        return x, carry


@pytree_dataclass
class AnnealedLangevin(Planned):
    """Langevin dynamics at each noise level in turn (NCSN): ``x <- x - step sigma eps + sigma sqrt(2 step) z``.

    The state moves to the next level unchanged; a step to ``sigma = 0`` ends with the clean estimate of the last
    evaluation. It is no discretisation of the reverse process and has no order: it is right as the steps at each level
    grow in number and shrink in size.

    Attributes:
      steps: evaluations at each level, at least 1.
      step_size: in units of ``sigma^2``, > 0 (NCSN: ``step_size * sigma_last^2 = epsilon / 2``).

    Raises:
      ValueError: if ``steps < 1``.

    >>> AnnealedLangevin(steps=10).evals_per_step
    10

    Source: Song & Ermon 2019, alg. 1 (https://arxiv.org/abs/1907.05600); the last denoising: Song & Ermon 2020.
    """

    steps: int = static(default=5)
    step_size: Number = 0.1
    order = 0
    stochastic = True

    def __post_init__(self):
        check(lambda n: n >= 1, "at least 1", steps=self.steps)

    @property
    def evals_per_step(self) -> int:
        return self.steps

    def row(self, schedule, levels, known):
        s, t = levels.at(0), levels.at(1)
        return t.t, t.sigma, s.alpha, s.sigma > 0, sqrt(2.0 * jnp.asarray(self.step_size))

    def advance(self, key, carry, x_t, row, denoiser):
        t, sigma, alpha, noisy, spread = row
        x, prediction = x_t, denoiser(x_t, t)
        for i, k in enumerate(jax.random.split(key, self.steps)):
            prediction = denoiser(x, t) if i else prediction
            x = combine((1.0, x), (-self.step_size * sigma, prediction.eps), (spread * sigma, normal_like(k, x)))
        return where(noisy, x, combine((0.0, x), (alpha, prediction.x0))), carry
