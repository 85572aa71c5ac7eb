"""Score matching without noise: the implicit, sliced and finite-difference objectives, and contractive autoencoders.

A score ``s`` is fitted to data by the Fisher divergence, ``F = E|s - grad log p|^2 / 2``. The score of the data is
unknown, but integration by parts takes it into a constant, of which every objective here is free:

    ``E loss = F - E|grad log p|^2 / 2``.

On noisy data ``x_t`` it is the objective of :func:`~scorekit.losses.denoising_loss` as well. There
``E[s . eps] / sigma = E[div s]``, so that the noise takes the place of the divergence:

    ``E|s + eps / sigma|^2 / 2 = E loss(x_t) + D / (2 sigma^2)``.

Hence denoising needs no derivative of the network; the objectives of this module need no noise. They are losses of each
example, in nats per squared unit of ``x``, whose mean is to be minimised.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from scorekit.arguments import Positive, PositiveInt, checked
from scorekit.checks import check_finite, check_floating, check_like
from scorekit.numerics import wide
from scorekit.numerics.divergence import draw_probes, unit_vectors, with_divergence
from scorekit.numerics.meshes import typed_as
from scorekit.trees import batch_size, combine, normal_like, sum_per_example
from scorekit.typing import Array, Key, PyTree

__all__ = [
    "contractive_loss",
    "finite_difference_denoising_loss",
    "finite_difference_loss",
    "implicit_loss",
    "sliced_loss",
]

_Probes: TypeAlias = Literal["rademacher", "gaussian"]
_Trace: TypeAlias = Literal["exact", "rademacher", "gaussian"]
_CHUNK = 16


@checked
def implicit_loss(
    score: Callable[[PyTree], PyTree],
    x: PyTree,
    *,
    divergence: _Trace = "exact",
    num_probes: PositiveInt = 1,
    key: Key | None = None,
) -> Array:
    """Implicit score matching: ``|s(x)|^2 / 2 + div s(x)``, ``(B,)`` in at least float32.

    With probes the divergence is Hutchinson's ``v . J v``: this is sliced score matching with reduced variance.

    Args:
      score: the network ``x -> s(x)``, shaped like ``x``; of a diffusion model ``lambda x: network(x, t)``.
      x: data, a tree of ``(B, ...)`` arrays, at least one example.
      divergence: "exact", with one tangent for each of the D values of an example, or the distribution of the probes
        of an estimate with one tangent each.
      num_probes: number of directions for each example, whose estimates are averaged.
      key: PRNG key; not used, and may be None, for the exact divergence.

    >>> implicit_loss(lambda x: -x, jnp.array([[1.0, -2.0]]))  # |x|^2 / 2 - 2
    Array([0.5], dtype=float32)

    Source: Hyvärinen 2005, "Estimation of non-normalized statistical models by score matching"; Song et al. 2019,
    eq. 8 (https://arxiv.org/abs/1905.07088).
    """
    directions = _directions(key, x, divergence, num_probes)
    s, traces = with_divergence(lambda y: _like("score", score, y), x, directions, _CHUNK)
    return 0.5 * sum_per_example(jnp.square, s) + jnp.mean(traces, axis=1)


@checked
def sliced_loss(
    key: Key,
    score: Callable[[PyTree], PyTree],
    x: PyTree,
    *,
    probes: _Probes = "rademacher",
    num_probes: PositiveInt = 1,
) -> Array:
    """Sliced score matching: ``(v^T s(x))^2 / 2 + v^T J(x) v`` along random directions, ``(B,)``.

    The square has a variance that the mean over directions, ``|s|^2 / 2``, has not: :func:`implicit_loss` with the same
    probes is the variant with reduced variance.

    Args:
      key: PRNG key of the directions.
      score: the network ``x -> s(x)``, shaped like ``x``; of a diffusion model ``lambda x: network(x, t)``.
      x: data, a tree of ``(B, ...)`` arrays, at least one example.
      probes: distribution of the directions v, with ``E[v v^T] = I``.
      num_probes: number of directions for each example, whose estimates are averaged.

    >>> sliced_loss(jax.random.key(0), lambda x: -x, jnp.ones((3, 2)), num_probes=2).shape
    (3,)

    Source: Song et al. 2019, eq. 7 (https://arxiv.org/abs/1905.07088).
    """
    directions = _directions(key, x, probes, num_probes)
    s, traces = with_divergence(lambda y: _like("score", score, y), x, directions, _CHUNK)
    along = jax.vmap(lambda v: _dot(v, s))(directions).T
    return jnp.mean(0.5 * jnp.square(along) + traces, axis=1)


@checked
def finite_difference_loss(
    key: Key,
    log_density: Callable[[PyTree], Array],
    x: PyTree,
    *,
    probes: _Probes = "rademacher",
    step: Positive[float] = 0.1,
) -> Array:
    """:func:`sliced_loss` of an energy without derivatives, by central differences of f = log p (FD-SSM); ``(B,)``.

    ``[f(x + h v) + f(x - h v) - 2 f(x)] / h^2 + [f(x + h v) - f(x - h v)]^2 / (8 h^2)``

    The error is of order h^2 from the differences, and of order ``1 / h^2`` times the rounding of f.

    Args:
      key: PRNG key of the directions.
      log_density: ``x -> log p(x)`` up to a constant, ``(B,)``; no term may mix examples.
      x: data, a tree of ``(B, ...)`` arrays, at least one example.
      probes: distribution of the direction v, one for each example, with ``E[v v^T] = I``.
      step: length h of the finite difference along the direction, in the units of ``x``.

    >>> finite_difference_loss(jax.random.key(0), lambda x: x.sum(-1), jnp.ones((1, 1))).round(3)  # (v . s)^2 / 2
    Array([0.5], dtype=float32)

    Source: Pang et al. 2020, "Efficient learning of generative models via finite-difference score matching"
    (https://arxiv.org/abs/2007.03317).
    """
    v = jax.tree.map(lambda leaf: leaf[0], _directions(key, x, probes, 1))
    below, middle, above = (_values(log_density, combine((1.0, x), (h, v))) for h in (-step, 0.0, step))
    return (above + below - 2.0 * middle + 0.125 * jnp.square(above - below)) / jnp.square(step)


@checked
def finite_difference_denoising_loss(
    key: Key,
    log_density: Callable[[PyTree], Array],
    x: PyTree,
    std: Positive[float],
    *,
    probes: _Probes = "rademacher",
    step: Positive[float] = 0.1,
) -> Array:
    """Denoising score matching of an energy without derivatives: central differences of f = log p (FD-DSM); ``(B,)``.

    ``[f(y + h v) - f(y - h v) + 2 h v . (y - x) / std^2]^2 / (8 h^2)`` with ``y = x + std eps``

    The mean over directions is ``|s(y) + eps / std|^2 / 2``, so that the mean is the one of the other objectives on
    noisy data plus ``D / (2 std^2)``.

    Args:
      key: PRNG key of the noise and the directions.
      log_density: ``x -> log p(x)`` up to a constant, ``(B,)``; no term may mix examples.
      x: data, a tree of ``(B, ...)`` arrays, at least one example.
      std: standard deviation of the noise, in the units of ``x``; the step should be well below it.
      probes: distribution of the direction v, one for each example, with ``E[v v^T] = I``.
      step: length h of the finite difference along the direction, in the units of ``x``.

    >>> normal = lambda x: -0.5 * jnp.sum(x**2, -1)
    >>> finite_difference_denoising_loss(jax.random.key(0), normal, jnp.ones((3, 2)), std=0.5).shape
    (3,)

    Source: Pang et al. 2020, eq. 15 (https://arxiv.org/abs/2007.03317).
    """
    for_noise, for_probes = jax.random.split(key)
    v = jax.tree.map(lambda leaf: leaf[0], _directions(for_probes, x, probes, 1))
    eps = normal_like(for_noise, x)
    below, above = (_values(log_density, combine((1.0, x), (std, eps), (h, v))) for h in (-step, step))
    return 0.125 * jnp.square((above - below) / step + 2.0 * _dot(v, eps) / std)


@checked
def contractive_loss(reconstruct: Callable[[PyTree], PyTree], x: PyTree, std: Positive[float]) -> Array:
    """A contractive autoencoder: ``|r(x) - x|^2 + std^2 |J_r(x)|^2``, ``(B,)``: the denoising one for little noise.

    ``E|r(x + std eps) - x|^2`` is this plus ``std^2 (r(x) - x) . laplacian r(x)`` and terms of order ``std^4``. They
    are equal for a linear r; for ``r(x) = x + std^2 grad log p(x)`` the means differ by terms of order ``std^8``. The
    Jacobian takes one tangent for each of the D values of an example.

    Args:
      reconstruct: the autoencoder ``x -> r(x)``, shaped like ``x``.
      x: data, a tree of ``(B, ...)`` arrays, at least one example.
      std: standard deviation of the noise of the denoising autoencoder, in the units of ``x``.

    >>> contractive_loss(lambda x: 0.5 * x, jnp.array([[1.0, -2.0]]), std=1.0)  # |x|^2 / 4 + D / 4
    Array([1.75], dtype=float32)

    Source: Rifai et al. 2011, "Contractive auto-encoders"; Alain & Bengio 2014 (https://arxiv.org/abs/1211.4246).
    """
    check_floating(x=x)
    check_finite(x=x)
    r = _like("reconstruct", reconstruct, x)
    size = lambda v: sum_per_example(jnp.square, jax.jvp(reconstruct, (x,), (typed_as(v, x),))[1])
    frobenius = jnp.sum(jax.lax.map(size, unit_vectors(x), batch_size=_CHUNK), axis=0)
    return sum_per_example(jnp.square, combine((1.0, r), (-1.0, x))) + jnp.square(std) * frobenius


def _directions(key: Key | None, x: PyTree, name: _Trace, count: int) -> PyTree | None:
    """Probes ``(count, B, ...)``, or None for the exact trace."""
    check_floating(x=x)
    check_finite(x=x)
    batch_size(x)
    if name == "exact":
        return None
    if key is None:
        raise ValueError("key must be a PRNG key for random directions, got None")
    return draw_probes(key, name, x, count)


def _like(name: str, function: Callable[[PyTree], PyTree], x: PyTree) -> PyTree:
    """The output of a function, which must be shaped like ``x``."""
    output = function(x)
    check_like("x", x, **{name: output})
    return output


def _values(log_density: Callable[[PyTree], Array], x: PyTree) -> Array:
    """The log-density of each example, in at least float32."""
    values = log_density(x)
    if jnp.shape(values) != (batch_size(x),):
        raise ValueError(f"log_density must return shape ({batch_size(x)},), got {jnp.shape(values)}")
    return wide(values)


def _dot(a: PyTree, b: PyTree) -> Array:
    """The inner product of each example."""
    return sum_per_example(lambda leaf: leaf, jax.tree.map(jnp.multiply, a, b))
