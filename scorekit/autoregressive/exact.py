"""Models without a network whose joint is known: Gaussian processes, Markov chains, tables of counted sequences."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Positive, PositiveInt, checked
from scorekit.autoregressive.conditionals import Categorical, Normal
from scorekit.autoregressive.likelihoods import log_prob
from scorekit.autoregressive.models import SequenceModel
from scorekit.checks import check_axes, check_finite, check_not_nan
from scorekit.densities import Gaussian
from scorekit.numerics.meshes import typed_as, unsplit
from scorekit.trees import pytree_dataclass
from scorekit.typing import Array, ArrayLike, PyTree

_MOST_LOGITS = 2**27
"""Largest number of logits of all enumerated sequences: 512 MiB."""


@pytree_dataclass
class ARProcess:
    """A stationary Gaussian process AR(p): ``x_i = sum_k a_k x_{i-k} + s z_i``; build it with :func:`ar_process`.

    Attributes:
      predictors: ``(p + 1, p)``: row n holds the coefficients of the best prediction from the last n values.
      stds: ``(p + 1,)``: the residual standard deviations.

    >>> isinstance(ar_process([0.6], std=0.8), ARProcess), ar_process([0.6], std=0.8).stds.tolist()  # of variance 1
    (True, [1.0, 0.800000011920929])
    """

    predictors: Array
    stds: Array

    @property
    def conditional(self) -> Normal:
        """Normal, of one channel."""
        return Normal(min_log_std=-jnp.inf)

    def outputs(self, x: Array) -> Array:
        """All conditionals at once."""
        check_axes(1, x=x)
        p, length = self.predictors.shape[1], x.shape[1]
        past = [jnp.pad(x, ((0, 0), (k, 0), (0, 0)))[:, :length, 0] for k in range(1, p + 1)]
        order = np.minimum(np.arange(length), p)
        return self._outputs(past, order)

    def init_state(self, batch: int, length: int) -> PyTree:
        """The number of values so far, and the last p of them, newest first."""
        return jnp.full((), -1), jnp.zeros((batch, self.predictors.shape[1]), self.stds.dtype)

    def step(self, state: PyTree, previous: Array) -> tuple[Array, PyTree]:
        """The next conditional."""
        count, past = state[0] + 1, jnp.concatenate([previous, state[1]], axis=-1)[:, :-1]
        past = jnp.where(count == 0, 0.0, past)
        order = jnp.minimum(count, past.shape[1])
        return self._outputs(past.T, order), (count, past)

    def _outputs(self, past, order):
        # no reduction over an axis of the values: XLA has compiled the one of (B, L, p) wrongly, where B L is large
        terms = (self.predictors[order, k] * value for k, value in enumerate(past))
        mean = sum(terms, jnp.zeros((), self.stds.dtype))
        log_std = jnp.broadcast_to(jnp.log(self.stds)[order], mean.shape)
        return jnp.stack([mean, typed_as(log_std, mean)], axis=-1)


@checked
def ar_process(coefficients: ArrayLike, std: Positive[float] = 1.0) -> ARProcess:
    """The stationary process ``x_i = sum_k a_k x_{i-k} + s z_i`` as a model, exact from the first value on.

    The first values have the conditionals of the stationary process, by the Levinson-Durbin recursion downwards:
    ``a'_k = (a_k + r a_{n-k}) / (1 - r^2)`` and ``s'^2 = s^2 / (1 - r^2)`` with ``r = a_n``.

    Args:
      coefficients: ``a_1, ..., a_p``, ``(p,)`` with p >= 1, of a stationary process.
      std: s, in the unit of x.

    Returns:
      An :class:`ARProcess`, of values ``(B, L, 1)``.

    >>> ar_process([1.1])
    Traceback (most recent call last):
    ValueError: coefficients must be those of a stationary process, got [1.1]
    """
    if np.ndim(coefficients) != 1 or not np.size(coefficients):
        raise ValueError(f"coefficients must have shape (p,) with p >= 1, got {np.shape(coefficients)}")
    check_finite(coefficients=coefficients)
    row = np.asarray(coefficients, float)
    p = len(row)
    rows, variances = [row], [float(std) ** 2]
    for n in range(p, 0, -1):
        r = row[n - 1]
        if abs(r) >= 1:
            raise ValueError(f"coefficients must be those of a stationary process, got {coefficients}")
        row = (row[: n - 1] + r * row[: n - 1][::-1]) / (1 - r * r)
        rows.append(row)
        variances.append(variances[-1] / (1 - r * r))
    table = np.stack([np.pad(row, (0, p - len(row))) for row in rows[::-1]])
    return ARProcess(predictors=jnp.asarray(table, float), stds=jnp.sqrt(jnp.asarray(variances[::-1], float)))


@pytree_dataclass
class GaussianSequence:
    """Any Gaussian as a model of its values in order: ``x = m + L z`` with L lower triangular.

    Build it with :func:`gaussian_sequence`.

    Attributes:
      mean: m, ``(D,)``.
      factor: L, ``(D, D)``, the Cholesky factor of the covariance.

    >>> model = GaussianSequence(mean=jnp.zeros(2), factor=jnp.array([[1.0, 0.0], [0.6, 0.8]]))
    >>> model.outputs(jnp.ones((1, 2, 1)))[0, :, 0].round(3).tolist()  # means: of the second one, 0.6 of the first
    [0.0, 0.6000000238418579]
    """

    mean: Array
    factor: Array

    @property
    def conditional(self) -> Normal:
        """Normal, of one channel."""
        return Normal(min_log_std=-jnp.inf)

    def outputs(self, x: Array) -> Array:
        """All conditionals at once."""
        check_axes(len(self.mean), 1, x=x)
        z = jax.scipy.linalg.solve_triangular(self.factor, (x[..., 0] - self.mean).T, lower=True).T
        diagonal = jnp.diagonal(self.factor)
        mean = self.mean + z @ jnp.tril(self.factor, -1).T
        return jnp.stack([mean, typed_as(jnp.broadcast_to(jnp.log(diagonal), mean.shape), mean)], axis=-1)

    def init_state(self, batch: int, length: int) -> PyTree:
        """The position, the noise z so far, and the last mean."""
        return (
            jnp.zeros((), jnp.int32),
            jnp.zeros((batch, len(self.mean)), self.mean.dtype),
            jnp.zeros(batch, self.mean.dtype),
        )

    def step(self, state: PyTree, previous: Array) -> tuple[Array, PyTree]:
        """The next conditional."""
        index, z, last = state
        diagonal, before = jnp.diagonal(self.factor), jnp.maximum(index - 1, 0)
        found = jnp.where(index > 0, (previous[:, 0] - last) / diagonal[before], 0.0)
        z = z.at[:, before].set(found.astype(z.dtype))
        mean = self.mean[index] + z @ jnp.tril(self.factor, -1)[index]
        outputs = jnp.stack([mean, typed_as(jnp.broadcast_to(jnp.log(diagonal[index]), mean.shape), mean)], axis=-1)
        return outputs, (index + 1, z, mean)


def gaussian_sequence(density: Gaussian) -> GaussianSequence:
    """The exact conditionals of a Gaussian: ``x_i | x_<i ~ N(m_i + sum_{j<i} L_ij z_j, L_ii^2)``, ``L L^T = C``.

    With :meth:`scorekit.densities.Gaussian.marginal` it is the model of a smoothed process at any noise level.

    Args:
      density: a Gaussian in D dimensions, in the order of the sequence.

    Returns:
      A :class:`GaussianSequence`, of values ``(B, D, 1)``.

    >>> from scorekit.densities import gaussian
    >>> g = gaussian(jnp.zeros(2), covariance=jnp.array([[1.0, 0.6], [0.6, 1.0]]))
    >>> x = jnp.array([[0.3, -1.0]])
    >>> bool(jnp.allclose(log_prob(gaussian_sequence(g), x[..., None]), g.log_density(x), atol=1e-5))
    True
    """
    if not isinstance(density, Gaussian):
        raise ValueError(f"density must be a Gaussian, got {density!r}")
    return GaussianSequence(mean=density.mean, factor=jnp.linalg.cholesky(density.covariance()))


@pytree_dataclass
class MarkovChain:
    """Codes of which each depends on the one before: ``p(x) = p(x_1) prod_i p(x_i | x_{i-1})``.

    Build it with :func:`markov_chain`.

    Attributes:
      initial, transitions: logits of the first code, ``(V,)``, and of the next, ``(V, V)``, a row for each code before.

    >>> isinstance(markov_chain(jnp.zeros(3), jnp.zeros((3, 3))), MarkovChain)
    True
    """

    initial: Array
    transitions: Array

    @property
    def conditional(self) -> Categorical:
        """Categorical."""
        return Categorical(num_codes=self.initial.shape[-1])

    def outputs(self, x: Array) -> Array:
        """All conditionals at once."""
        first = jnp.broadcast_to(self.initial, (x.shape[0], 1, len(self.initial)))
        return jnp.concatenate([typed_as(first, x), self._after(x[:, :-1])], axis=1)

    def init_state(self, batch: int, length: int) -> PyTree:
        """Whether the next code is the first."""
        return jnp.ones((), bool)

    def step(self, state: PyTree, previous: Array) -> tuple[Array, PyTree]:
        """The next conditional."""
        return jnp.where(state, self.initial, self._after(previous)), jnp.zeros((), bool)

    def _after(self, codes):
        return typed_as(self.transitions[unsplit(codes)], codes)


def markov_chain(initial: ArrayLike, transitions: ArrayLike) -> MarkovChain:
    """A Markov chain as a model, ``p(x) = p(x_1) prod_i p(x_i | x_{i-1})``.

    Args:
      initial, transitions: logits of the first code, ``(V,)``, and of the next, ``(V, V)``, a row for each code before.

    Returns:
      A :class:`MarkovChain`, of codes ``(B, L)``.

    >>> chain = markov_chain(jnp.zeros(3), jnp.zeros((3, 3)))
    >>> print(f"{log_prob(chain, jnp.array([[2, 0]]))[0]:.4f}")  # -2 log 3
    -2.1972
    """
    check_not_nan(initial=initial, transitions=transitions)
    if jnp.ndim(initial) != 1 or not jnp.size(initial):
        raise ValueError(f"initial must have shape (V,), got {jnp.shape(initial)}")
    v = jnp.shape(initial)[0]
    if jnp.shape(transitions) != (v, v):
        raise ValueError(f"transitions must have shape {(v, v)}, got {jnp.shape(transitions)}")
    return MarkovChain(initial=jnp.asarray(initial, float), transitions=jnp.asarray(transitions, float))


@checked
def log_prob_table(model: SequenceModel, length: PositiveInt) -> Array:
    """``log p(x)`` of all ``V^length`` sequences of codes: what :mod:`scorekit.guidance.sequences` takes.

    Args:
      model: a model of codes.
      length: number n of positions, for at most 2^27 logits ``n V^(n + 1)``; all sequences are one batch.

    Returns:
      ``(V, ..., V)``, n axes.

    >>> table = log_prob_table(markov_chain(jnp.zeros(2), jnp.zeros((2, 2))), 3)
    >>> table.shape, float(jnp.exp(table).sum())
    ((2, 2, 2), 1.0)
    """
    if not isinstance(model.conditional, Categorical):
        raise ValueError(f"model must be one of codes, with Categorical conditionals, got {model.conditional}")
    v = model.conditional.num_codes
    most = next(n for n in itertools.count() if (n + 1) * max(v, 2) ** (n + 2) > _MOST_LOGITS)
    if length > most:
        raise ValueError(f"length must be at most {most} for {v} codes, got {length}: {v}^{length} sequences")
    x = jnp.asarray(np.indices((v,) * length).reshape(length, -1).T)
    return log_prob(model, x).reshape((v,) * length)
