"""The posterior given several independent observations, from denoisers of the posteriors given one.

``p(theta | x_1, ..., x_n) ~ p(theta)^(1-n) prod_i p(theta | x_i)``, and since ``p(theta_t | theta)`` is a factor of all
parts, the same product holds for the densities of theta given its noisy state ``theta_t``. If each of them is a
Gaussian, of mean ``m_i`` (the denoiser's x0) and covariance ``C_i``, or ``m_0`` and ``C_0`` for the prior, the mean of
the product is

    ``x0 = m_0 + (C_0^-1 + sum_i (C_i^-1 - C_0^-1))^-1 sum_i C_i^-1 (m_i - m_0)``.

============  ====================================================================  ==========================
method        C_i                                                                   exact
============  ====================================================================  ==========================
``jacobian``  ``(sigma^2 / alpha) d m_i / d theta_t``, the covariance of theta      if all parts are Gaussian
              given ``theta_t`` (JAC)
``gaussian``  ``(S_i^-1 + alpha^2 / sigma^2)^-1`` with an estimated covariance S_i  if all parts are Gaussian
              of ``p(theta | x_i)`` (GAUSS)
``sum``       all equal: ``x0 = sum_i m_i - (n - 1) m_0``, the sum of scores        at t = 0, biased at t > 0
============  ====================================================================  ==========================

At t = 0 all three are the exact score of the posterior. Before, unless all parts are Gaussian, none is the score of the
noisy posterior, so that samples have an error that does not fall with the number of steps: ``docs/guidance.md``.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import cho_solve, solve_triangular

from scorekit.arguments import checked
from scorekit.checks import check_finite, check_floating, check_per_example
from scorekit.guidance._linear_systems import at_time, evaluation_point
from scorekit.numerics.meshes import typed_as, unsplit
from scorekit.numerics.scales import check_prediction
from scorekit.predictions import with_x0
from scorekit.trees import as_pytree, is_traced, pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, Denoiser, Prediction, PyTree, Schedule

_FLOOR = 0.1
"""Smallest precision given several observations, in any direction, relative to the prior's."""


@pytree_dataclass
class _SeveralObservations:
    cond: Callable[[PyTree, Array, PyTree], Prediction]
    observations: PyTree
    prior: Denoiser
    schedule: Schedule
    precisions: tuple[Array, Array] | None
    method: str = static()

    def __call__(self, x_t, t):
        check_floating(x_t=x_t)
        check_per_example(x_t, t=t)
        schedule, at, x = self.schedule, t, x_t
        if self.method == "jacobian":
            at, x = evaluation_point(schedule, t, x_t)
        rows, tree = _rows(x)

        def evaluate(denoiser):
            def flat(rows):
                prediction = denoiser(tree(rows), at)
                check_prediction(x_t, prediction)
                return _rows(prediction.x0)[0], prediction

            return _with_jacobian(flat, rows) if self.method == "jacobian" else flat(rows)

        *origin, prior = evaluate(self.prior)
        one = lambda observation: evaluate(lambda x, t: self.cond(x, t, observation))[:-1]
        posteriors = jax.vmap(one, out_axes=1)(self.observations)
        if self.method == "jacobian":
            x0 = jax.vmap(_by_covariance)(*origin, *posteriors)
        elif self.method == "sum":
            x0 = origin[0] + jnp.sum(posteriors[0] - origin[0][:, None], axis=1)
        else:
            assert self.precisions is not None
            size = len(self.precisions[1])
            if size != rows.shape[1]:
                raise ValueError(f"x_t must have D = {size} values an example, as the covariances, got {rows.shape[1]}")
            each = lambda f: typed_as(jnp.broadcast_to(jnp.square(f(t)), len(rows)), rows)
            signal, noise = map(each, (schedule.alpha, schedule.sigma))
            total = signal + noise
            step = jax.vmap(_by_precision, in_axes=(0, 0, 0, None, None))
            x0 = origin[0] + step(signal / total, noise / total, posteriors[0] - origin[0][:, None], *self.precisions)
        return with_x0(schedule, at_time(schedule, prior, at, t), tree(x0), t)


def _rows(tree: PyTree) -> tuple[Array, Callable[[Array], PyTree]]:
    """The values of each example as a row, in at least float32, and the way back."""
    flat, back = ravel_pytree(jax.tree.map(lambda x: x[0], unsplit(tree)))
    rows = jax.vmap(lambda x: ravel_pytree(x)[0])(tree)
    return rows.astype(jnp.promote_types(flat.dtype, jnp.float32)), lambda x: jax.vmap(back)(x.astype(flat.dtype))


def _with_jacobian(function, rows):
    """Values ``(B, D)`` and Jacobians ``(B, D, D)`` of a function that also returns something else, by D tangents."""
    along = lambda tangent: typed_as(jnp.broadcast_to(tangent, rows.shape), rows)
    column = lambda tangent: jax.jvp(function, (rows,), (along(tangent),), has_aux=True)
    (values, tangents, also) = jax.vmap(column, out_axes=(None, 2, None))(jnp.eye(rows.shape[1], dtype=rows.dtype))
    return values, tangents, also


def _floored(matrix: Array, floor: ArrayLike = 0.0) -> Array:
    """The symmetric part, its eigenvalues at least ``floor``, and above the rounding errors of the largest.

    Derivatives are those of the symmetric part: those of eigenvectors do not exist where eigenvalues are equal.
    """
    matrix = (matrix + matrix.T) / 2
    values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(matrix))
    least = jnp.maximum(floor, 10 * jnp.finfo(matrix.dtype).eps * jnp.max(jnp.abs(values)))
    return matrix + (vectors * jnp.maximum(least - values, 0.0)) @ vectors.T


def _inverse(matrix: Array) -> Array:
    return cho_solve((jnp.linalg.cholesky(matrix), True), jnp.eye(len(matrix), dtype=matrix.dtype))


def _by_covariance(origin: Array, jacobian: Array, means: Array, jacobians: Array) -> Array:
    """The mean of one example from covariances up to a common factor, in coordinates where the prior's is 1."""
    root = jnp.linalg.cholesky(_floored(jacobian))
    precision = jax.vmap(lambda matrix: _inverse(_floored(_white(root, matrix))))(jacobians)
    steps = jnp.einsum("nij,jn->i", precision, solve_triangular(root, (means - origin).T, lower=True))
    return origin + root @ cho_solve((jnp.linalg.cholesky(_total(precision)), True), steps)


def _white(root: Array, matrix: Array) -> Array:
    """The matrix in coordinates where the one with this Cholesky factor is 1."""
    once = solve_triangular(root, matrix, lower=True)
    return solve_triangular(root, once.T, lower=True)


def _total(precisions: Array) -> Array:
    """The precision given all observations, from those given one, ``(n, D, D)``, where the prior's is 1."""
    identity = jnp.eye(precisions.shape[1], dtype=precisions.dtype)
    total = identity + jnp.sum(precisions - identity, axis=0)
    return _floored(total, _FLOOR if len(precisions) > 1 else 0.0)  # one observation needs no bound: x0 is its own


def _by_precision(signal: Array, noise: Array, steps: Array, precisions: Array, total: Array) -> Array:
    """``(alpha^2 + sigma^2 P)^-1 sum_i (alpha^2 + sigma^2 P_i) (m_i - m_0)`` of one example."""
    right = signal * jnp.sum(steps, axis=0) + noise * jnp.einsum("nij,nj->i", precisions, steps)
    left = signal * jnp.eye(len(total), dtype=total.dtype) + noise * total
    return cho_solve((jnp.linalg.cholesky(left), True), right)


@checked
def several_observations(
    cond: Callable[[PyTree, Array, PyTree], Prediction],
    prior: Denoiser,
    schedule: Schedule,
    observations: PyTree,
    method: Literal["jacobian", "gaussian", "sum"] = "jacobian",
    *,
    covariances: ArrayLike | None = None,
    prior_covariance: ArrayLike | None = None,
) -> Denoiser:
    """The denoiser of the posterior given n independent observations, for any sampler.

    ``x0 = m_0 + (C_0^-1 + sum_i (C_i^-1 - C_0^-1))^-1 sum_i C_i^-1 (m_i - m_0)``: the module describes the methods.

    A call evaluates n + 1 denoisers in one batch; ``jacobian`` also D tangents of each, and factorises n matrices of D
    by D for each example. Jacobians of networks are neither symmetric nor positive: the symmetric part is taken and its
    eigenvalues are raised above rounding errors. For both, the eigenvalues of the sum are raised to 0.1 times the
    prior's precision: posteriors that are a little too wide would add up to a negative one.

    Args:
      cond: ``(theta_t, t, observation) -> Prediction``, the denoiser of the posterior given one observation, which has
        no leading axis: it is the same for all B states. Differentiable for ``jacobian``.
      prior: the denoiser of the prior.
      schedule: the noise schedule of all denoisers; its ``sigma^2 / alpha`` turns Jacobians into covariances.
      observations: leaves ``(n, ...)``, n >= 1.
      method: "jacobian", "gaussian" or "sum".
      covariances: posterior covariances ``(n, D, D)``, for instance of samples, at most twice the prior's in every
        direction; only for the method "gaussian".
      prior_covariance: the covariance of the prior, ``(D, D)``; only for the method "gaussian".

    Returns:
      ``(theta_t, t) -> Prediction``; the state has leaves ``(B, ...)`` of D values an example.

    >>> from scorekit import denoisers, densities, schedules
    >>> schedule = schedules.Cosine()
    >>> exact = lambda mean, std: denoisers.exact_denoiser(densities.gaussian(mean, std=std), schedule)
    >>> cond = lambda x, t, observed: exact(observed / 2, 0.5**0.5)(x, t)  # prior N(0, 1), noise of variance 1
    >>> observed, prior = jnp.array([[1.0], [2.0], [3.0]]), exact(jnp.zeros(1), 1.0)
    >>> posterior, x = exact(jnp.full(1, 6 / 4), 0.25**0.5), jnp.ones((1, 1))
    >>> for method in ("jacobian", "sum"):
    ...     rule = several_observations(cond, prior, schedule, observed, method)
    ...     print(posterior(x, 0.5).x0, rule(x, 0.5).x0.round(5))
    [[1.4828427]] [[1.48284]]
    [[1.4828427]] [[2.]]

    Source: Linhart et al. 2024 (GAUSS and JAC, https://arxiv.org/abs/2404.07249); Geffner et al. 2023 (the sum of
    scores, https://arxiv.org/abs/2209.14249).
    """
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(observations)]
    if not shapes or any(not shape for shape in shapes) or len({shape[0] for shape in shapes}) > 1 or not shapes[0][0]:
        raise ValueError(f"observations must have leaves (n, ...) of one n >= 1, got shapes {shapes}")
    given = covariances is not None, prior_covariance is not None
    if given != (method == "gaussian",) * 2:
        raise ValueError(
            'covariances and prior_covariance must be given for the method "gaussian" and no other, '
            f"got {given} for {method!r}"
        )
    precisions = _precisions(shapes[0][0], covariances, prior_covariance) if method == "gaussian" else None
    return _SeveralObservations(
        cond=as_pytree(cond),
        observations=observations,
        prior=as_pytree(prior),
        schedule=schedule,
        precisions=precisions,
        method=method,
    )


def _precisions(n: int, covariances: Any, prior_covariance: Any) -> tuple[Array, Array]:
    """The precision of each posterior, ``(n, D, D)``, and the precision given all observations."""
    check_finite(covariances=covariances, prior_covariance=prior_covariance)
    each, prior = jnp.asarray(covariances, float), jnp.asarray(prior_covariance, float)
    if prior.ndim != 2 or prior.shape[0] != prior.shape[1] or not prior.size or each.shape != (n, *prior.shape):
        raise ValueError(
            f"covariances must be (n, D, D) with n = {n} and prior_covariance (D, D), "
            f"got {each.shape} and {prior.shape}"
        )
    _check_positive_definite("covariances", each)
    _check_positive_definite("prior_covariance", prior)
    of_each, of_prior = jax.vmap(_inverse)(each), _inverse(prior)
    if n == 1:
        return of_each, of_each[0]
    root = jnp.linalg.cholesky(of_prior)
    relative = jax.vmap(_white, in_axes=(None, 0))(root, of_each)
    if not is_traced(relative) and (least := np.linalg.eigvalsh(relative).min()) < 0.5:
        allowed = "at most twice prior_covariance in every direction"
        raise ValueError(f"covariances must be {allowed}, got {1 / least:.3g} times in one")
    return of_each, root @ _total(relative) @ root.T


def _check_positive_definite(name: str, matrices: Array) -> None:
    if is_traced(matrices):
        return
    values = np.asarray(matrices, float)
    least = np.linalg.eigvalsh(values).min()
    asymmetry = np.abs(values - np.swapaxes(values, -1, -2)).max()
    if least <= 0 or asymmetry > 1e-4 * np.abs(values).max():
        raise ValueError(
            f"{name} must be symmetric and positive definite, got a smallest eigenvalue of {least:.3g} "
            f"and an asymmetry of {asymmetry:.3g}"
        )
