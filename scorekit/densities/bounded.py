"""Parameters within bounds: a bijection to the real line for each, and the uniform density between bounds.

With ``u = f(x)``, ``p(x) = p(u) |du/dx|``, column by column: between a and b ``u = log(x - a) - log(b - x)``, above a
``u = log(x - a)``, below b ``u = -log(b - x)``, and without bounds ``u = x``.
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import checked
from scorekit.checks import check, check_axes, check_real, check_shape
from scorekit.trees import pytree_dataclass
from scorekit.typing import Array, ArrayLike, Key


@pytree_dataclass
class Bounds:
    """The bijections of D columns; build it with :func:`bounds`.

    Attributes:
      lower: lower bounds, ``(D,)``; minus infinity for none.
      upper: upper bounds, ``(D,)``; infinity for none.

    >>> limits = bounds([0.0, 0.0], [jnp.inf, 1.0])
    >>> limits.to_unconstrained(jnp.array([1.0, 0.5])).tolist(), limits.from_unconstrained(jnp.zeros(2)).tolist()
    ([0.0, 0.0], [1.0, 0.5])
    >>> print(f"{limits.log_det(jnp.array([1.0, 0.5])):.4f}")  # log 4
    1.3863
    """

    lower: Array
    upper: Array

    @property
    def dim(self) -> int:
        """The number of columns, D."""
        return self.lower.shape[0]

    def holds(self, x: Array) -> Array:
        """Whether points ``(..., D)`` lie strictly between the bounds; ``(...)``."""
        return jnp.all((x > self.lower) & (x < self.upper), axis=-1)

    def to_unconstrained(self, x: Array) -> Array:
        """``u = f(x)``, ``(..., D)``; at a bound infinite, beyond it NaN.

        Args:
          x: points within the bounds, ``(..., D)``.
        """
        check_axes(self.dim, x=x)
        below, above, low, high = self._parts(x)
        plain = jnp.where(low | high, 0.0, x)
        return plain + jnp.where(low, jnp.log(below), 0.0) - jnp.where(high, jnp.log(above), 0.0)

    def from_unconstrained(self, u: Array) -> Array:
        """The inverse ``x`` of unconstrained points, within the bounds.

        Args:
          u: points ``(..., D)``.
        """
        check_axes(self.dim, u=u)
        low, high = jnp.isfinite(self.lower), jnp.isfinite(self.upper)
        lower, upper = jnp.where(low, self.lower, 0.0), jnp.where(high, self.upper, 0.0)
        # from the nearer bound, so that a point close to it keeps its distance
        between = jnp.where(
            u < 0, lower + (upper - lower) * jax.nn.sigmoid(u), upper - (upper - lower) * jax.nn.sigmoid(-u)
        )
        x = jnp.where(low, lower + jnp.exp(jnp.where(low & ~high, u, 0.0)), u)
        x = jnp.where(high, upper - jnp.exp(jnp.where(high & ~low, -u, 0.0)), x)
        x = jnp.where(low & high, between, x)
        next_up = lambda end, to: end + jnp.maximum(jnp.abs(jnp.nextafter(end, to) - end), jnp.finfo(end.dtype).tiny)
        x = jnp.where(low, jnp.maximum(x, next_up(lower, jnp.inf)), x)  # rounding may reach a bound
        return jnp.where(high, jnp.minimum(x, -next_up(-upper, jnp.inf)), x)

    def log_det(self, x: Array) -> Array:
        """``log |du/dx|``, which turns a log-density of u into one of x; ``(..., D) -> (...)``.

        Args:
          x: points within the bounds, ``(..., D)``.
        """
        check_axes(self.dim, x=x)
        below, above, low, high = self._parts(x)
        width = jnp.where(low & high, jnp.log(jnp.where(low & high, self.upper - self.lower, 1.0)), 0.0)
        slope = width - jnp.where(low, jnp.log(below), 0.0) - jnp.where(high, jnp.log(above), 0.0)
        return jnp.sum(slope, axis=-1)

    def _parts(self, x: Array) -> tuple[Array, Array, Array, Array]:
        """The distances to both bounds, 1 where there is none, and where there are bounds."""
        low, high = jnp.isfinite(self.lower), jnp.isfinite(self.upper)
        return jnp.where(low, x - self.lower, 1.0), jnp.where(high, self.upper - x, 1.0), low, high


@pytree_dataclass
class Uniform:
    """The uniform density between bounds; build it with :func:`uniform`.

    Attributes:
      bounds: the finite bounds.

    >>> print(f"{Uniform(bounds=bounds([0.0], [2.0])).entropy():.4f}")  # log 2
    0.6931
    """

    bounds: Bounds

    @property
    def dim(self) -> int:
        """The number of dimensions, D."""
        return self.bounds.dim

    def sample(self, key: Key, shape: tuple[int, ...] = ()) -> Array:
        """Draws ``shape + (D,)``."""
        check_shape(shape=shape)
        share = jax.random.uniform(key, (*shape, self.dim), self.bounds.lower.dtype)
        return self.bounds.lower + (self.bounds.upper - self.bounds.lower) * share

    def log_density(self, x: Array) -> Array:
        """``log p(x)`` in nats, minus infinity outside; ``(..., D) -> (...)``."""
        check_axes(self.dim, x=x)
        inside = jnp.all((x >= self.bounds.lower) & (x <= self.bounds.upper), axis=-1)
        return jnp.where(inside, -self.entropy(), -jnp.inf)

    def entropy(self) -> Array:
        """Differential entropy in nats, the logarithm of the volume."""
        return jnp.sum(jnp.log(self.bounds.upper - self.bounds.lower))


@checked
def bounds(lower: ArrayLike, upper: ArrayLike) -> Bounds:
    """Bijections of D columns between bounds to the real line.

    Args:
      lower: lower bounds, ``(D,)``, below ``upper``; minus infinity for none.
      upper: upper bounds, ``(D,)``; infinity for none.

    >>> bounds([0.0, -jnp.inf], [1.0, 3.0]).holds(jnp.array([[0.5, 2.0], [0.5, 4.0]])).tolist()
    [True, False]
    """
    check_real(lower=lower, upper=upper)
    low, high = np.asarray(lower, float), np.asarray(upper, float)
    if low.ndim != 1 or low.shape != high.shape or not low.size:
        raise ValueError(f"lower and upper must have one shape (D,), got {low.shape} and {high.shape}")
    check(lambda x: np.all(low < x), f"above lower = {low.tolist()}", upper=high)
    dtype = jnp.empty(0, float).dtype
    with np.errstate(over="ignore", invalid="ignore"):
        ends = np.stack([low, high]).astype(dtype)
        rounded = (np.isfinite(ends) != np.isfinite([low, high])).any() or np.any(ends[0] >= ends[1])
        if rounded or np.any(np.isinf(ends[1] - ends[0]) & np.isfinite(ends).all(0)):
            raise ValueError(f"lower and upper must be apart and finitely far in {dtype}, got {low} and {high}")
    return Bounds(lower=jnp.asarray(low, float), upper=jnp.asarray(high, float))


@checked
def uniform(lower: ArrayLike, upper: ArrayLike) -> Uniform:
    """The uniform density of a box, the prior of many simulators.

    Args:
      lower: lower bounds, ``(D,)``, finite and below ``upper``.
      upper: upper bounds, ``(D,)``, finite.

    >>> prior = uniform([-1.0, 0.0], [1.0, 2.0])
    >>> prior.sample(jax.random.key(0), (3,)).shape, prior.log_density(jnp.array([[0.0, 1.0], [0.0, 3.0]])).tolist()
    ((3, 2), [-1.3862943649291992, -inf])
    """
    found = bounds(lower, upper)
    check(lambda x: np.all(np.isfinite(x)), "finite", lower=lower, upper=upper)
    return Uniform(bounds=found)
