"""Densities tilted by a reward, ``p(x) exp(r(x)) / Z``, in closed form or by a quadrature; r may be divided by a
temperature. They are exact targets of fine-tuning, guidance and steering."""

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Count, checked
from scorekit.checks import check, check_classes, check_finite, check_like, check_real, check_shape, nan_unless
from scorekit.densities.gaussian import Gaussian
from scorekit.densities.mixture import Mixture
from scorekit.numerics import wide
from scorekit.numerics.meshes import scan
from scorekit.trees import as_pytree, pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, Key, Number, Prediction

_REACH = 8.0  # half the width of the grid of a quadrature, in standard deviations


class QuadraticTilt(NamedTuple):
    """The tilted density and log Z in nats, of :func:`quadratic_tilt`.

    Attributes:
      density: ``p(x) exp(r(x)) / Z``, a Gaussian or a mixture as p is.
      log_normalizer: log Z.

    >>> QuadraticTilt(density=None, log_normalizer=0.5).log_normalizer
    0.5
    """

    density: Gaussian | Mixture
    log_normalizer: Array


@checked
def quadratic_tilt(density: Gaussian | Mixture, linear: ArrayLike, quadratic: ArrayLike | None = None) -> QuadraticTilt:
    """The density tilted by ``r(x) = b^T x - x^T A x / 2``: Gaussians with full covariance, in closed form.

    With ``g = b - A m`` and ``V = (C^-1 + A)^-1`` a component ``N(m, C)`` becomes ``N(m + V g, V)``, and its weight is
    multiplied by Z with ``log Z = b^T m - m^T A m / 2 + g^T V g / 2 - log det(I + C^(1/2) A C^(1/2)) / 2``.

    Args:
      density: p, in D dimensions.
      linear: b, ``(D,)``.
      quadratic: A, ``(D, D)``, symmetric; ``C^-1 + A`` must be positive definite for every component, A need not be.

    Returns:
      A :class:`QuadraticTilt`; all NaN for traced matrices that have no Z.

    >>> from scorekit.densities import gaussian
    >>> tilted, log_normalizer = quadratic_tilt(gaussian(jnp.zeros(1), std=1.0), jnp.ones(1), jnp.ones((1, 1)))
    >>> tilted.mean.round(3).tolist(), tilted.covariance().round(3).tolist(), round(float(log_normalizer), 4)
    ([0.5], [[0.5]], -0.0966)
    """
    p = _as_mixture(density)
    eye = jnp.eye(p.dim, dtype=p.components.mean.dtype)
    quadratic = jnp.zeros_like(eye) if quadratic is None else quadratic
    check_finite(linear=linear, quadratic=quadratic)
    check_like("the mean", eye[0], linear=linear)
    check_like("the covariance", eye, quadratic=quadratic)
    check(lambda a: np.abs(a - a.T) <= 1e-4 * np.abs(a).max(), "symmetric", quadratic=quadratic)
    a, b = jnp.asarray(quadratic, eye.dtype), jnp.asarray(linear, eye.dtype)

    def one(g):
        root = lambda rows: g._map(rows, jnp.sqrt(g.variances), jnp.sqrt(g.residual))
        scaled = root(root(a).T)
        values, vectors = jnp.linalg.eigh(eye + 0.5 * (scaled + scaled.T))
        allowed = jnp.where(values > 0, values, 1.0)
        factor = root(vectors.T).T / jnp.sqrt(allowed)  # V = factor factor^T, without an inverse of C
        inner = (b - a @ g.mean) @ factor
        log_z = g.mean @ (b - 0.5 * a @ g.mean) + 0.5 * (inner @ inner - jnp.sum(jnp.log(allowed)))
        basis, scales, _ = jnp.linalg.svd(factor)
        mean, ones = g.mean + factor @ inner, jnp.ones_like(log_z)
        return Gaussian(mean=mean, basis=basis, variances=jnp.square(scales), residual=ones), log_z, values[0]

    components, log_z, least = jax.vmap(one)(p.components)
    check(lambda v: v > 0, "> 0", **{"quadratic: the least eigenvalue of I + C^(1/2) A C^(1/2)": least})
    total = jax.nn.logsumexp(p.log_weights + log_z)
    tilted = Mixture(log_weights=p.log_weights + log_z - total, components=components)
    tilted = jax.tree.map(lambda leaf: leaf[0], components) if isinstance(density, Gaussian) else tilted
    return QuadraticTilt(*nan_unless(jnp.all(least > 0), (tilted, total)))


def _as_mixture(density):
    if isinstance(density, Gaussian):
        components = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], density)
        density = Mixture(log_weights=jnp.zeros(1, components.mean.dtype), components=components)
    if not isinstance(density, Mixture):
        raise ValueError(f"density must be one of Gaussian, Mixture, got {density!r}")
    return density


@pytree_dataclass
class Tilted:
    """``p(x) exp(r(x_c)) / Z`` of a reward of one or two coordinates c; build it with :func:`tilt`.

    Given ``x_t``, x is ``m + sigma W^(1/2) u`` with normal u for each component. The integrals over the part of u that
    moves c, ``z = Q u``, are sums over a grid from -8 to 8; the rest of u is not tilted.

    Attributes:
      density: p, a mixture.
      reward: ``x_c (..., d) -> r (...)``.
      log_normalizer: log Z in nats.
      coordinates: the d indices c.
      num_nodes: nodes of the grid in each direction.

    >>> from scorekit.densities import gaussian
    >>> half = tilt(gaussian(jnp.zeros(3), std=1.0), lambda a: jnp.where(a[..., 0] > 0, 0.0, -jnp.inf), (1,))
    >>> half.predict(jnp.zeros(3), 0.0, 1.0).x0.round(1).tolist()  # the mean of half a normal law
    [0.0, 0.800000011920929, 0.0]
    """

    density: Mixture
    reward: Callable[[Array], Array]
    log_normalizer: Array
    coordinates: tuple[int, ...] = static(default=(0, 1))
    num_nodes: Annotated[int, Count(2)] = static(default=101)

    @property
    def dim(self) -> int:
        """The number of dimensions, D."""
        return self.density.dim

    def sample(self, key: Key, shape: tuple[int, ...] = ()) -> Array:
        """Draws ``shape + (D,)``, uniform in cells of the grid: with cells of width h the bias is O(h^2)."""
        check_shape(shape=shape)
        for_cell, for_place, for_rest = jax.random.split(key, 3)
        n, (log_weights, z), half = math.prod(shape), self._prior(), _REACH / (self.num_nodes - 1)
        p = jax.nn.softmax(log_weights.reshape(-1))
        row, k, column = jnp.unravel_index(jax.random.choice(for_cell, p.size, (n,), p=p), log_weights.shape)
        z = z[row, column] + jax.random.uniform(for_place, (n, z.shape[-1]), z.dtype, -half, half)
        u = jax.random.normal(for_rest, (n, self.dim), z.dtype)

        def draw(g, z, u):
            q = self._frame(g, 0.0, 1.0)[0]
            return g.mean + g._map(u + (z - q @ u) @ q, jnp.sqrt(g.variances), jnp.sqrt(g.residual))

        x = jax.vmap(draw)(jax.tree.map(lambda leaf: leaf[k], self.density.components), z, u)
        return nan_unless(jnp.isfinite(self.log_normalizer), x).reshape(*shape, self.dim)

    def log_density(self, x: Array) -> Array:
        """``log p(x) + r(x_c) - log Z`` in nats; ``(..., D) -> (...)``."""
        return self.density.log_density(x) + self._rewards(x[..., np.array(self.coordinates)]) - self.log_normalizer

    def predict(self, x_t: Array, alpha: Number, sigma: Number) -> Prediction:
        """The exact ``E[x0 | x_t]`` and ``E[eps | x_t]``; alpha and sigma are scalars."""
        each = jax.vmap(lambda g: g.predict(x_t, alpha, sigma))(self.density.components)
        log_joint = self.density.marginal(alpha, sigma)._log_joint(x_t)
        _, roots, slopes = jax.vmap(lambda g: self._frame(g, alpha, sigma))(self.density.components)

        def moments(log_weights, z):
            total = jax.nn.logsumexp(log_weights, axis=-1)
            finite = jnp.where(total == -jnp.inf, 0.0, total)
            return total, jnp.exp(log_weights - finite[..., None]) @ z

        totals, means = self._over(each.x0[..., np.array(self.coordinates)], sigma * roots, moments)
        weights = jax.nn.softmax(totals + log_joint, axis=(0, 1))[..., None]
        moved = jnp.einsum("k...i,kij->...j", jnp.sum(weights * means, axis=0), slopes)
        x0, eps = (jnp.sum(weights * leaf, axis=(0, 1)) for leaf in each)
        prediction = Prediction(x0 + sigma * moved, eps - alpha * moved)  # nothing is divided by sigma
        return nan_unless(jnp.isfinite(self.log_normalizer), prediction)

    def _frame(self, g, alpha, sigma):
        """Q ``(d, D)``, T ``(d, d)`` and H ``(d, D)``: x_c moves by ``sigma z T``, the mean of x by ``sigma z H``."""
        noisy = g.marginal(alpha, sigma)
        along, across = jnp.sqrt(g.variances / noisy.variances), jnp.sqrt(g.residual / noisy.residual)
        q, t = jnp.linalg.qr(g._map(jnp.eye(self.dim, dtype=g.mean.dtype)[np.array(self.coordinates)], along, across).T)
        return q.T, t, g._map(q.T, along, across)

    def _over(self, centres, roots, function):
        """``function(log-weights (K, ..., n), z (n, d))`` of each row of the grid, at ``centres + z roots``."""
        line, d = jnp.linspace(-_REACH, _REACH, self.num_nodes, dtype=centres.dtype), len(self.coordinates)
        grid = jnp.stack(jnp.meshgrid(*[line] * d, indexing="ij"), -1).reshape(-1, self.num_nodes, d)
        log_normal = jax.nn.log_softmax(-0.5 * jnp.sum(jnp.square(grid), -1), axis=(0, 1))

        def row(_, inputs):  # a row at a time, for memory
            z, log_normal = inputs
            shifts = (z @ roots).reshape(len(roots), *[1] * (centres.ndim - 2), *z.shape)
            return (), function(log_normal + self._rewards(centres[..., None, :] + shifts), z)

        return scan(row, (), (grid, log_normal))[1]

    def _prior(self):
        """The logarithms of the weights of p at the nodes, ``(rows, K, n)``, and z."""
        roots = jax.vmap(lambda g: self._frame(g, 0.0, 1.0)[1])(self.density.components)
        centres = self.density.components.mean[..., np.array(self.coordinates)]
        return self._over(centres, roots, lambda w, z: (w + self.density.log_weights[:, None], z))

    def _rewards(self, a):
        rewards = self.reward(a)
        check_real(**{"the result of reward": rewards})
        check_like("all but the last axis of its argument", a[..., 0], **{"the result of reward": rewards})
        return wide(rewards)


@checked
def tilt(
    density: Gaussian | Mixture,
    reward: Callable[[Array], Array],
    coordinates: tuple[int, ...] = (0, 1),
    num_nodes: Annotated[int, Count(2)] | None = None,
) -> Tilted:
    """The density ``p(x) exp(r(x_c)) / Z`` of any reward of one or two coordinates, by a trapezoid rule.

    With nodes h apart in standard deviations of a component given x_t, a smooth reward is integrated up to rounding, a
    jump with an error of O(h), a kink of O(h^2).

    Args:
      density: p, in D dimensions.
      reward: ``x_c (..., d) -> r (...)``, any function that JAX can trace; minus infinity excludes.
      coordinates: the indices c that it sees, one or two.
      num_nodes: nodes from -8 to 8 standard deviations; None is 1,001 for one coordinate, 101 x 101 for two.

    Raises:
      ValueError: for a reward that is NaN, infinite or -inf everywhere, or one that moves the law to the edge of the
        grid; all is NaN if these are traced.

    >>> from scorekit.densities import gaussian
    >>> tilted = tilt(gaussian(jnp.zeros(3), std=1.0), lambda a: a[..., 0] + a[..., 1])
    >>> round(float(tilted.log_normalizer), 4), tilted.predict(jnp.zeros(3), 0.0, 1.0).x0.round(3).tolist()
    (1.0, [1.0, 1.0, 0.0])
    """
    p = _as_mixture(density)
    for each in coordinates:
        check_classes(p.dim, coordinates=each)
    if len(set(coordinates)) != len(coordinates) or len(coordinates) not in (1, 2):
        raise ValueError(f"coordinates must be one or two different ones, got {coordinates}")
    zero, num_nodes = jnp.zeros((), p.components.mean.dtype), num_nodes or (101 if len(coordinates) == 2 else 1001)
    options = {"coordinates": tuple(coordinates), "num_nodes": num_nodes}
    law = Tilted(density=p, reward=as_pytree(reward), log_normalizer=zero, **options)
    log_weights, z = law._prior()
    total = jax.nn.logsumexp(log_weights)
    check(np.isfinite, "finite", **{"log E[exp(reward)]": total})
    edge = jnp.any(jnp.abs(z) >= _REACH, axis=-1)[:, None]
    fraction = jnp.sum(jnp.where(edge, jnp.exp(log_weights - total), 0.0))
    name = "reward: the fraction of the law at the edge of the grid"
    check(lambda s: s < 1e-4, "< 1e-4 (less steep)", **{name: fraction})
    return dataclasses.replace(law, log_normalizer=nan_unless(fraction < 1e-4, total))
