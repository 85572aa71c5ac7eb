"""Exact log-likelihoods of autoregressive models: in nats, for each position or in all, and in bits.

Source: van den Oord et al. 2016 (https://arxiv.org/abs/1609.03499).
"""

import jax.numpy as jnp
import numpy as np

from scorekit.autoregressive._checks import check_sequences
from scorekit.autoregressive.models import SequenceModel
from scorekit.likelihood import BitsPerDim, bits_per_dim
from scorekit.typing import Array, ArrayLike


def position_log_probs(model: SequenceModel, x: ArrayLike) -> Array:
    """``log p(x_i | x_<i)`` of every position, from one evaluation of the model.

    Args:
      model: the model.
      x: sequences ``(B, L)`` of codes, or ``(B, L, C)`` of values.

    Returns:
      Nats, ``(B, L)``.

    >>> from scorekit.autoregressive import markov_chain
    >>> model = markov_chain(jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75]])))
    >>> jnp.exp(position_log_probs(model, jnp.array([[1, 1, 0]]))).tolist()
    [[0.5, 0.75, 0.25]]
    """
    x = check_sequences(model.conditional, x)
    return model.conditional.log_prob(model.outputs(x), x)


def log_prob(model: SequenceModel, x: ArrayLike) -> Array:
    """The exact log-likelihood ``log p(x) = sum_i log p(x_i | x_<i)``; minus its mean is the training loss.

    Of continuous values it is an explicit log-density: ``Partial(log_prob, model)`` is what
    :func:`scorekit.denoisers.score_from_log_density`, the chains of :mod:`scorekit.samplers` and
    :mod:`scorekit.guidance.explicit` take.

    Args:
      model: the model.
      x: sequences ``(B, L)`` of codes, or ``(B, L, C)`` of values.

    Returns:
      Nats, ``(B,)``.

    >>> from scorekit.autoregressive import markov_chain
    >>> model = markov_chain(jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75]])))
    >>> jnp.exp(log_prob(model, jnp.array([[1, 1, 0]]))).round(5).tolist()
    [0.09375]
    """
    return jnp.sum(position_log_probs(model, x), axis=-1)


def bits_per_sample(model: SequenceModel, x: ArrayLike) -> BitsPerDim:
    """The code length ``-log2 p(x) / D`` of codes or discretised values, D the values of one sequence.

    For a density it is not a code length: its values depend on the unit of x. Dequantise the data
    (:func:`scorekit.likelihood.dequantised_bits_per_dim`) or use bins.

    Args:
      model: the model.
      x: sequences ``(B, L)`` of codes, or ``(B, L, C)`` of values.

    Returns:
      A :class:`scorekit.likelihood.BitsPerDim`.

    >>> from scorekit.autoregressive import markov_chain
    >>> print(bits_per_sample(markov_chain(jnp.zeros(4), jnp.zeros((4, 4))), jnp.array([[1, 1, 0]])).bits_per_dim)
    [2.]
    """
    return bits_per_dim(log_prob(model, x), int(np.prod(jnp.shape(x)[1:])))
