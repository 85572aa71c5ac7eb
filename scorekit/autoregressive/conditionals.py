"""Conditional distributions of a value, with parameters from the outputs of a network at its position.

A conditional has ``num_outputs``, the features that a network has to output at each position, and three functions of
such outputs. Leading axes are free; it is a pytree and may be passed through ``jit``.
"""

import math
from typing import Annotated, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Count, PositiveInt
from scorekit.checks import check, check_axes, check_classes
from scorekit.numerics import wide
from scorekit.numerics.codes import as_index, check_drawn, draw_codes, in_range, is_missing
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, Key


class Conditional(Protocol):
    """A family of distributions of one value, with the parameters in the outputs of a network."""

    @property
    def num_outputs(self) -> int:
        """Features that a network outputs at each position."""
        ...

    def log_prob(self, outputs: Array, x: Array) -> Array:
        """``log p(x_i | x_<i)`` in nats, ``(...)``, from ``(..., num_outputs)`` and the values.

        Args:
          outputs: outputs of the network, ``(..., num_outputs)``.
          x: the values.
        """
        ...

    def sample(self, key: Key, outputs: Array) -> Array:
        """A value of each conditional, from ``(..., num_outputs)``.

        Args:
          key: PRNG key.
          outputs: outputs of the network, ``(..., num_outputs)``.
        """
        ...

    def zeros(self, batch: int) -> Array:
        """One position of ``batch`` sequences: a placeholder before the first value, which is ignored.

        Args:
          batch: number of sequences.
        """
        ...


@pytree_dataclass
class Categorical:
    """Codes: ``log p(x) = log_softmax(outputs)[x]``, with codes ``(...)`` of any integer type.

    Attributes:
      num_codes: V, the number of codes.

    >>> mu_law = Categorical(num_codes=256)
    >>> mu_law.log_prob(jnp.zeros((1, 256)), jnp.array([17]))  # -log 256
    Array([-5.5451775], dtype=float32)

    Source: van den Oord et al. 2016 (https://arxiv.org/abs/1609.03499).
    """

    num_codes: PositiveInt = static()

    @property
    def num_outputs(self) -> int:
        """V logits."""
        return self.num_codes

    def log_prob(self, outputs: Array, x: Array) -> Array:
        """The log-probability of the codes; NaN for one that is out of range."""
        check_classes(self.num_codes, x=x)
        _check_outputs(self, outputs, jnp.shape(x))
        log_p = jax.nn.log_softmax(wide(outputs))
        return jnp.take_along_axis(log_p, in_range(x, self.num_codes)[..., None], axis=-1, mode="fill")[..., 0]

    def sample(self, key: Key, outputs: Array) -> Array:
        """A code of each conditional, int32. Where the largest logit is not finite: an error; if traced, -1."""
        drawn = draw_codes(key, wide(outputs))
        check_drawn("have a finite largest logit", outputs=drawn)
        return drawn

    def zeros(self, batch: int) -> Array:
        """Codes 0, ``(batch,)``."""
        return jnp.zeros(batch, jnp.int32)


@pytree_dataclass
class Normal:
    """Values with normal conditionals: ``x ~ N(mean, exp(log_std)^2)`` for each of C channels.

    ``outputs`` are the means of all channels, then the logarithms of the standard deviations.

    Attributes:
      channels: number C of channels, of values ``(..., C)``.
      min_log_std: the least log standard deviation, natural logarithm: data that a network predicts exactly would have
        an infinite density.

    >>> Normal(min_log_std=-1.0).parameters(jnp.array([3.0, -2.0]))  # mean and log_std
    (Array([3.], dtype=float32), Array([-1.], dtype=float32))

    Source: Ping et al. 2019, "ClariNet" (https://arxiv.org/abs/1807.07281).
    """

    channels: PositiveInt = static(default=1)
    min_log_std: float = -9.0

    @property
    def num_outputs(self) -> int:
        """2 C: means and log standard deviations."""
        return 2 * self.channels

    def parameters(self, outputs: Array) -> tuple[Array, Array]:
        """The means and the log standard deviations, two arrays ``(..., C)``.

        Args:
          outputs: outputs of the network, ``(..., num_outputs)``.
        """
        mean, log_std = jnp.split(wide(outputs), 2, axis=-1)
        return mean, jnp.maximum(log_std, self.min_log_std)

    def log_prob(self, outputs: Array, x: Array) -> Array:
        """The log-density of the values, summed over channels."""
        check_axes(self.channels, x=x)
        _check_outputs(self, outputs, jnp.shape(x)[:-1])
        mean, log_std = self.parameters(outputs)
        each = -0.5 * jnp.square((x - mean) * jnp.exp(-log_std)) - log_std - 0.5 * math.log(2 * math.pi)
        return jnp.sum(each, axis=-1)

    def sample(self, key: Key, outputs: Array) -> Array:
        """Draws ``mean + exp(log_std) z``."""
        mean, log_std = self.parameters(outputs)
        return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype)

    def zeros(self, batch: int) -> Array:
        """Zeros ``(batch, C)``."""
        return jnp.zeros((batch, self.channels))


@pytree_dataclass
class LogisticMixture:
    """Values of mixtures of K logistics, as densities or discretised: ``p(x) = sum_k w_k logistic((x - m_k) / s_k)``.

    With ``bins``, one of the equidistant values -1, ..., 1 has the probability of the interval around it,
    ``sum_k w_k [F((x + h - m_k) / s_k) - F((x - h - m_k) / s_k)]`` with ``h = 1 / (bins - 1)``; the first and the last
    have all that lies beyond. It is computed without cancellation, at any distance from the means.

    The outputs of a channel are K logits of the weights, K means and K log-scales. Outputs of zero are a mixture with
    equal weights and means spread over [-1, 1], so that the components of a fresh network differ.

    Attributes:
      components: number K of logistics.
      channels: number C of channels, of values ``(..., C)``, which are independent given the past.
      bins: number of values of discretised data, on [-1, 1]; None: a density.
      min_log_scale: the least log-scale, natural logarithm.

    >>> grey = LogisticMixture(components=2, bins=3)
    >>> p = jnp.exp(grey.log_prob(jnp.zeros((3, grey.num_outputs)), jnp.array([[-1.0], [0.0], [1.0]])))
    >>> float(p.sum().round(5)), bool(jnp.allclose(p[0], p[2], rtol=1e-5))
    (1.0, True)
    >>> [each.shape for each in grey.parameters(jnp.zeros((3, grey.num_outputs)))]
    [(3, 1, 2), (3, 1, 2), (3, 1, 2)]

    Source: Salimans et al. 2017, "PixelCNN++" (https://arxiv.org/abs/1701.05517); van den Oord et al. 2018,
    "Parallel WaveNet" (https://arxiv.org/abs/1711.10433).
    """

    components: PositiveInt = static(default=10)
    channels: PositiveInt = static(default=1)
    bins: Annotated[int, Count(2)] | None = static(default=None)
    min_log_scale: float = -9.0

    @property
    def num_outputs(self) -> int:
        """3 K C."""
        return 3 * self.components * self.channels

    def parameters(self, outputs: Array) -> tuple[Array, Array, Array]:
        """Log-weights, means and log-scales, three arrays ``(..., C, K)``.

        Args:
          outputs: outputs of the network, ``(..., num_outputs)``.
        """
        k = self.components
        outputs = wide(outputs).reshape(*outputs.shape[:-1], self.channels, 3 * k)
        logits, means, log_scales = jnp.split(outputs, 3, axis=-1)
        spread = jnp.asarray((2.0 * np.arange(k) + 1.0) / k - 1.0, outputs.dtype)
        log_scales = jnp.maximum(log_scales - math.log(2.0 * k), self.min_log_scale)
        return jax.nn.log_softmax(logits), means + spread, log_scales

    def log_prob(self, outputs: Array, x: Array) -> Array:
        """The log-density or, with ``bins``, the log-probability of the values, summed over channels."""
        check_axes(self.channels, x=x)
        _check_outputs(self, outputs, jnp.shape(x)[:-1])
        log_weights, means, log_scales = self.parameters(outputs)
        centred = jnp.asarray(x)[..., None] - means
        if self.bins is None:
            z = centred * jnp.exp(-log_scales)
            each = -z - 2.0 * jax.nn.softplus(-z) - log_scales
        else:
            each = _log_bins(centred, jnp.exp(-log_scales), x, self.bins)
        return jnp.sum(jax.nn.logsumexp(log_weights + each, axis=-1), axis=-1)

    def sample(self, key: Key, outputs: Array) -> Array:
        """Draws a component, then a logistic, which ``bins`` rounds and clips to [-1, 1]; NaN if weights are NaN."""
        for_component, for_value = jax.random.split(key)
        log_weights, means, log_scales = self.parameters(outputs)
        chosen = draw_codes(for_component, log_weights)
        at = as_index(chosen)[..., None]
        mean, log_scale = (jnp.take_along_axis(p, at, axis=-1)[..., 0] for p in (means, log_scales))
        x = mean + jnp.exp(log_scale) * jax.random.logistic(for_value, mean.shape, mean.dtype)
        if self.bins is not None:
            step = 2.0 / (self.bins - 1)
            x = jnp.clip(jnp.round((x + 1.0) / step), 0, self.bins - 1) * step - 1.0
        return jnp.where(is_missing(chosen), jnp.nan, x)

    def zeros(self, batch: int) -> Array:
        """Zeros ``(batch, C)``."""
        return jnp.zeros((batch, self.channels))


def _log_bins(centred: Array, inverse: Array, x: ArrayLike, bins: int) -> Array:
    """``log(F(b) - F(a)) = -softplus(-b) - softplus(a) + log(1 - exp(a - b))``, of the bins of x."""
    half = 1.0 / (bins - 1)
    on_grid = lambda v: np.abs((v + 1) / (2 * half) - np.round((v + 1) / (2 * half))) < 1e-2
    check(lambda v: on_grid(v) & (np.abs(v) <= 1 + 1e-2 * half), f"one of {bins} values on [-1, 1]", x=x)
    above, below = (centred + half) * inverse, (centred - half) * inverse
    log_above, log_below = -jax.nn.softplus(-above), -jax.nn.softplus(below)
    inner = log_above + log_below + jnp.log(-jnp.expm1(-2.0 * half * inverse))
    x = jnp.asarray(x)[..., None]
    return jnp.where(x < half - 1.0, log_above, jnp.where(x > 1.0 - half, log_below, inner))


def _check_outputs(conditional: Conditional, outputs: Array, shape: tuple[int, ...]) -> None:
    expected = (*shape, conditional.num_outputs)
    if jnp.shape(outputs) != expected:
        raise ValueError(f"outputs must have shape {expected} for the values of x, got {jnp.shape(outputs)}")
