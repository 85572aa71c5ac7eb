"""Inverse problems: denoisers of ``p(x0 | y)`` for an observation ``y = A(x0) + noise_std z``.

All methods update the clean estimate by one formula, where ``P`` approximates the covariance of x0 given x_t:

    ``x0' = x0 + M A' (A P A' + noise_std^2)^-1 (y - A(x0))``,

and keep ``alpha x0' + sigma eps' = x_t``. The exact posterior score of Gaussian data has ``M = P = Cov[x0 | x_t] =
(sigma^2 / alpha) J`` with ``J = d x0 / d x_t``; the methods differ in their approximations of M and P:

==================  ====================  ====================  ======================================
method              M                     P                     exact for
==================  ====================  ====================  ======================================
``replacement``     ``r_t^2``             ``r_t^2``             data ``N(m, data_std^2)``
``pigdm``           ``(sigma^2/alpha) J`` ``r_t^2``             data ``N(m, data_std^2)``
``mmps``            ``(sigma^2/alpha) J`` ``(sigma^2/alpha) J`` Gaussian data
``dps``             ``(sigma^2/alpha) J`` 0                     a single data point
==================  ====================  ====================  ======================================

``r_t^2 = data_std^2 sigma^2 / (alpha^2 data_std^2 + sigma^2)`` is the variance of x0 for such data. An operator that
is not linear is linearised at the current estimate (a Gauss-Newton step); for ``dps`` that is no approximation.

Where ``alpha / sigma`` is below the square root of the machine epsilon, ``(sigma^2 / alpha) J`` is 0 / 0 in floating
point: methods with J evaluate the network at that noise level instead, which changes x0 by a relative error of that
size. At ``sigma = 0`` all formulas are finite.
"""

import jax
import jax.numpy as jnp

from scorekit.arguments import NonNegative, Positive, PositiveInt, checked
from scorekit.checks import check_floating, check_like, check_per_example
from scorekit.guidance._linear_systems import at_time, conjugate_gradients, evaluation_point
from scorekit.guidance.operators import Operator
from scorekit.numerics import wide
from scorekit.numerics.scales import check_prediction
from scorekit.predictions import with_x0
from scorekit.trees import as_pytree, combine, pytree_dataclass, static
from scorekit.typing import Denoiser, Number, Prediction, PyTree, Schedule


def _linearised(operator, x0, observation):
    """``A``, ``A'`` at x0 and the residual ``y - A(x0)``."""
    predicted, forward = jax.linearize(operator, x0)
    observation = jax.tree.map(lambda y, like: jnp.asarray(y, like.dtype), observation, predicted)
    check_like("operator(x0)", predicted, observation=observation)
    transposed = jax.linear_transpose(forward, x0)
    return forward, lambda u: transposed(u)[0], combine((1.0, observation), (-1.0, predicted))


def _shares(variance, noise_std):
    """``variance`` and ``noise_std^2`` over their sum; (1, 0) where both vanish."""
    noise = jnp.square(wide(noise_std))
    total = variance + noise
    safe = jnp.where(total > 0, total, 1.0)
    return jnp.where(total > 0, variance / safe, 1.0), noise / safe


def _isotropic(schedule, t, data_std):
    """``r_t^2 / sigma^2``, finite at both ends."""
    variance = jnp.square(wide(data_std))
    return variance / (jnp.square(schedule.alpha(t)) * variance + jnp.square(schedule.sigma(t)))


@pytree_dataclass
class _Replacement:
    denoiser: Denoiser
    schedule: Schedule
    operator: Operator
    observation: PyTree
    noise_std: Number
    data_std: Number
    num_iterations: int = static()

    def __call__(self, x_t, t):
        _check_call(x_t, t, noise_std=self.noise_std, data_std=self.data_std)
        prediction = self.denoiser(x_t, t)
        check_prediction(x_t, prediction)
        forward, back, residual = _linearised(self.operator, prediction.x0, self.observation)
        variance = jnp.square(self.schedule.sigma(t)) * _isotropic(self.schedule, t, self.data_std)
        share, rest = _shares(variance, self.noise_std)
        system = lambda u: combine((rest, u), (share, forward(back(u))))
        u = conjugate_gradients(system, residual, self.num_iterations)
        return with_x0(self.schedule, prediction, combine((1.0, prediction.x0), (share, back(u))), t)


@pytree_dataclass
class _Guided:
    """The methods with ``M = (sigma^2 / alpha) J``; ``covariance`` names P."""

    denoiser: Denoiser
    schedule: Schedule
    operator: Operator
    observation: PyTree
    noise_std: Number
    data_std: Number = 1.0
    num_iterations: int = static()
    covariance: str = static()

    def __call__(self, x_t, t):
        _check_call(x_t, t, noise_std=self.noise_std, data_std=self.data_std)
        schedule, at, x = self.schedule, *evaluation_point(self.schedule, t, x_t)
        x0, jacobian, eps = jax.vjp(lambda x: tuple(self.denoiser(x, at)), x, has_aux=True)
        check_prediction(x_t, Prediction(x0, eps))
        forward, back, residual = _linearised(self.operator, x0, self.observation)
        alpha, variance = schedule.alpha(at), jnp.square(schedule.sigma(at))
        share, rest = _shares(variance / alpha, self.noise_std)  # of (sigma^2 / alpha) J and the noise
        pull = lambda u: jax.tree.map(lambda g, like: g.astype(like.dtype), jacobian(back(u))[0], x0)
        if self.covariance == "none":
            move = combine((variance / alpha / jnp.square(wide(self.noise_std)), pull(residual)))
        else:
            if self.covariance == "jacobian":
                system = lambda u: combine((rest, u), (share, forward(pull(u))))
            else:
                shrink = share * alpha * _isotropic(schedule, at, self.data_std)  # J of such data
                system = lambda u: combine((rest, u), (shrink, forward(back(u))))
            move = combine((share, pull(conjugate_gradients(system, residual, self.num_iterations))))
        prediction = at_time(schedule, Prediction(x0, eps), at, t)
        return with_x0(schedule, prediction, combine((1.0, x0), (1.0, move)), t)


def _check_call(x_t, t, **stds):
    check_floating(x_t=x_t)
    check_per_example(x_t, t=t, **stds)


@checked
def replacement(
    denoiser: Denoiser,
    schedule: Schedule,
    operator: Operator,
    observation: PyTree,
    noise_std: NonNegative[Number] = 0.0,
    *,
    data_std: Positive[Number] = 1.0,
    num_iterations: PositiveInt = 10,
) -> Denoiser:
    """Replaces the observed part of the clean estimate; one evaluation, no gradient.

    ``x0' = x0 + r_t^2 A' (r_t^2 A A' + noise_std^2)^-1 (y - A(x0))``, which without noise is the projection of x0 onto
    ``A x0' = y`` (for a mask: observed pixels are replaced), whatever ``data_std``. This modifies x0;
    :func:`scorekit.samplers.repaint` replaces the observed part of the noisy state instead. Exact for data
    ``N(m, data_std^2)``; for other data it neglects the correlation of observed and unobserved values, which only the
    network restores in later steps.

    Args:
      denoiser: the prior, unconditional or conditional.
      schedule: the noise schedule of the denoiser.
      operator: A, one of :mod:`scorekit.guidance.operators` or any differentiable function ``x0 -> y``.
      observation: y, leaves ``(B, ...)``, shaped like ``A(x0)``; masked values must be 0.
      noise_std: standard deviation of the noise of y, a scalar or ``(B,)``; 0 for an exact observation.
      data_std: standard deviation of the data, in ``r_t^2``.
      num_iterations: iterations of conjugate gradients on ``A A'``: 1 is exact for masks and pooling, blurs need more.

    >>> from scorekit import denoisers, densities, schedules
    >>> from scorekit.guidance import operators
    >>> normal, half = densities.gaussian(jnp.zeros(2), std=1.0), operators.mask(jnp.array([True, False]))
    >>> prior = denoisers.exact_denoiser(normal, schedules.Cosine())
    >>> replacement(prior, schedules.Cosine(), half, jnp.array([[3.0, 0.0]]))(jnp.zeros((1, 2)), 0.5).x0
    Array([[3., 0.]], dtype=float32)

    Source: Wang et al. 2022 (DDNM, https://arxiv.org/abs/2212.00490); with noise Zhu et al. 2023
    (DiffPIR, https://arxiv.org/abs/2305.08995).
    """
    problem = (denoiser, schedule, operator, observation, noise_std)
    return _built(_Replacement, problem, data_std=data_std, num_iterations=num_iterations)


@checked
def pigdm(
    denoiser: Denoiser,
    schedule: Schedule,
    operator: Operator,
    observation: PyTree,
    noise_std: NonNegative[Number] = 0.0,
    *,
    data_std: Positive[Number] = 1.0,
    num_iterations: PositiveInt = 10,
) -> Denoiser:
    """Pseudo-inverse guidance: one evaluation and one vector-Jacobian product.

    ``x0' = x0 + (sigma^2 / alpha) J' A' (r_t^2 A A' + noise_std^2)^-1 (y - A(x0))`` with
    ``r_t^2 = data_std^2 sigma^2 / (alpha^2 data_std^2 + sigma^2)``: Bayes' rule with ``N(x0, r_t^2)`` for x0 given x_t,
    which is exact for data ``N(m, data_std^2)``.

    Args:
      denoiser: the prior, ``(x_t, t) -> Prediction``, differentiable in ``x_t``.
      schedule: the noise schedule of the denoiser.
      operator: A, one of :mod:`scorekit.guidance.operators` or any differentiable function ``x0 -> y``.
      observation: y, leaves ``(B, ...)``, shaped like ``A(x0)``; masked values must be 0.
      noise_std: standard deviation of the noise of y, a scalar or ``(B,)``; 0 for an exact observation.
      data_std: standard deviation of the data, in ``r_t^2``.
      num_iterations: iterations of conjugate gradients on ``A A'``: 1 is exact for masks and pooling, blurs need more.

    >>> from scorekit import denoisers, densities, schedules
    >>> from scorekit.guidance import operators
    >>> covariance, half = jnp.array([[1.0, 0.8], [0.8, 1.0]]), operators.mask(jnp.array([True, False]))
    >>> prior = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(2), covariance=covariance), schedules.Cosine())
    >>> pigdm(prior, schedules.Cosine(), half, jnp.array([[3.0, 0.0]]))(jnp.zeros((1, 2)), 1.0).x0.round(1)  # 0.8 * 3
    Array([[3. , 2.4]], dtype=float32)

    Source: Song et al. 2023 (https://openreview.net/forum?id=9_gsMA8MRKQ), as a score, without the extra
    weight of its algorithm.
    """
    problem = (denoiser, schedule, operator, observation, noise_std)
    return _built(_Guided, problem, data_std=data_std, num_iterations=num_iterations, covariance="isotropic")


@checked
def mmps(
    denoiser: Denoiser,
    schedule: Schedule,
    operator: Operator,
    observation: PyTree,
    noise_std: NonNegative[Number] = 0.0,
    *,
    num_iterations: PositiveInt = 3,
) -> Denoiser:
    """Moment matching: the mean and the covariance of x0 given x_t from the denoiser; exact for Gaussian data.

    ``x0' = x0 + C A' (A C A' + noise_std^2)^-1 (y - A(x0))`` with ``C = Cov[x0 | x_t] = (sigma^2 / alpha) J``, the
    identity that gives the second moment from the first. The system is solved by conjugate gradients; each iteration
    costs one vector-Jacobian product and the update one more: ``num_iterations + 1`` in total, and one evaluation.

    The Jacobian of a trained network is not exactly symmetric, and it is useless where ``sigma^2 / alpha`` amplifies
    its errors by a factor of thousands. With trained networks start at ``alpha / sigma`` of about 0.05 and use few
    iterations.

    Args:
      denoiser: the prior, ``(x_t, t) -> Prediction``, differentiable in ``x_t``.
      schedule: the noise schedule of the denoiser.
      operator: A, one of :mod:`scorekit.guidance.operators` or any differentiable function ``x0 -> y``.
      observation: y, leaves ``(B, ...)``, shaped like ``A(x0)``; masked values must be 0.
      noise_std: standard deviation of the noise of y, a scalar or ``(B,)``; 0 for an exact observation.
      num_iterations: iterations of conjugate gradients: the number of values of y for the exact solution; fewer
        regularise.

    >>> from scorekit import denoisers, densities, schedules
    >>> from scorekit.guidance import operators
    >>> covariance, half = jnp.array([[1.0, 0.8], [0.8, 1.0]]), operators.mask(jnp.array([True, False]))
    >>> prior = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(2), covariance=covariance), schedules.Cosine())
    >>> mmps(prior, schedules.Cosine(), half, jnp.array([[3.0, 0.0]]))(jnp.zeros((1, 2)), 1.0).x0.round(1)  # 0.8 * 3
    Array([[3. , 2.4]], dtype=float32)

    Source: Rozet et al. 2024 (https://arxiv.org/abs/2405.13712); Boys et al. 2023 (TMPD, with the full
    matrix, https://arxiv.org/abs/2310.06721).
    """
    problem = (denoiser, schedule, operator, observation, noise_std)
    return _built(_Guided, problem, num_iterations=num_iterations, covariance="jacobian")


@checked
def dps(
    denoiser: Denoiser,
    schedule: Schedule,
    operator: Operator,
    observation: PyTree,
    noise_std: Positive[Number],
) -> Denoiser:
    """Diffusion posterior sampling (DPS): guidance by the likelihood of the clean estimate.

    ``x0' = x0 + (sigma^2 / alpha) grad_{x_t} log N(y; A(x0(x_t)), noise_std^2)``, for any differentiable operator; one
    evaluation and one vector-Jacobian product. It neglects the uncertainty of x0 given x_t, and therefore overestimates
    the gradient by a factor of ``(var + noise_std^2) / noise_std^2`` where var is the variance of ``A x0`` given x_t:
    solvers diverge unless ``noise_std`` is close to the standard deviation of the data. Pass a larger value than the
    true one, or use the normalised steps of :class:`scorekit.solvers.DPS`, as the paper does.

    Args:
      denoiser: the prior, ``(x_t, t) -> Prediction``, differentiable in ``x_t``.
      schedule: the noise schedule of the denoiser.
      operator: A, one of :mod:`scorekit.guidance.operators` or any differentiable function ``x0 -> y``.
      observation: y, leaves ``(B, ...)``, shaped like ``A(x0)``; masked values must be 0.
      noise_std: assumed standard deviation of the noise of y, a scalar or ``(B,)``.

    >>> from scorekit import denoisers, schedules
    >>> prior = denoisers.denoiser_from_network(lambda x, t: x, schedules.Cosine(), "x0")
    >>> dps(prior, schedules.Cosine(), lambda x: x, jnp.ones((1, 1)), 1.0)(jnp.zeros((1, 1)), 0.5).x0.round(3)
    Array([[0.707]], dtype=float32)

    Source: Chung et al. 2022 (https://arxiv.org/abs/2209.14687).
    """
    problem = (denoiser, schedule, operator, observation, noise_std)
    return _built(_Guided, problem, covariance="none")


def _built(kind, problem, num_iterations=1, **fields) -> Denoiser:
    denoiser, schedule, operator, observation, noise_std = problem
    check_floating(observation=observation)
    return kind(
        denoiser=as_pytree(denoiser),
        schedule=schedule,
        operator=as_pytree(operator),
        observation=observation,
        noise_std=noise_std,
        num_iterations=num_iterations,
        **fields,
    )
