"""Decoding: the most probable sequences by beam search, and the sequence of least risk.

The mode of a model of many positions is far from its typical set (:mod:`scorekit.typicality`), and beam search
approximates it. Minimum-Bayes-risk decoding chooses the candidate that agrees best with samples, probable or not.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import PositiveInt, checked
from scorekit.autoregressive._checks import batch_axes, take_rows
from scorekit.autoregressive.conditionals import Categorical
from scorekit.autoregressive.models import SequenceModel
from scorekit.checks import check, check_finite, check_not_nan
from scorekit.numerics import wide
from scorekit.numerics.codes import as_array, no_code
from scorekit.numerics.meshes import scan, unsplit
from scorekit.typing import Array, ArrayLike


class Beams(NamedTuple):
    """The hypotheses of a beam search, the most probable first.

    Attributes:
      x: the sequences, ``(width, L)`` int32.
      log_prob: ``log p(x)`` of each in nats, ``(width,)``; minus infinity for one that is impossible.

    >>> Beams(x=jnp.array([[1, 1], [0, 0]]), log_prob=jnp.log(jnp.array([0.36, 0.33]))).x[0].tolist()
    [1, 1]
    """

    x: Array
    log_prob: Array


class BayesDecision(NamedTuple):
    """The candidate of the largest expected utility.

    Attributes:
      x: the candidate, without the leading axis.
      expected: the expected utility of every candidate, ``(N,)``.

    >>> BayesDecision(x=jnp.array([0, 1]), expected=jnp.array([0.5, 0.7])).x.tolist()
    [0, 1]
    """

    x: Array
    expected: Array


@checked
def beam_search(model: SequenceModel, length: PositiveInt, width: PositiveInt) -> Beams:
    """Keeps the ``width`` most probable beginnings at every position: an approximation of ``argmax_x log p(x)``.

    ``width=1`` is greedy decoding. With ``V^(L - 1)`` beams of V codes nothing is left out and the first is the exact
    mode; with ``V^L`` they are all sequences in their order. Wrap the call in ``jax.jit`` with static ``length`` and
    ``width``.

    Args:
      model: a model of codes whose conditions are the same for all beams: scalar labels.
      length: number L of positions.
      width: number of beams, at most the ``V^L`` sequences that there are.

    Returns:
      :class:`Beams`.

    Raises:
      ValueError: for a model of values, conditions of single beams, or log-probabilities that are NaN: if traced, the
        log-probabilities are NaN.

    >>> from scorekit.autoregressive import markov_chain
    >>> chain = markov_chain(jnp.log(jnp.array([0.6, 0.4])), jnp.log(jnp.array([[0.55, 0.45], [0.1, 0.9]])))
    >>> beams = beam_search(chain, 2, width=4)  # of all four sequences
    >>> beams.x.tolist(), [f"{p:.2f}" for p in jnp.exp(beams.log_prob)]
    ([[1, 1], [0, 0], [0, 1], [1, 0]], ['0.36', '0.33', '0.27', '0.04'])
    >>> beam_search(chain, 2, width=1).x.tolist()  # greedy
    [[0, 0]]

    Source: Lowerre 1976, "The Harpy speech recognition system".
    """
    if not isinstance(model.conditional, Categorical):
        raise ValueError(f"model must be one of codes, with Categorical conditionals, got {model.conditional}")
    v = model.conditional.num_codes
    if width > v**length:
        raise ValueError(f"width must be at most the {v}^{length} = {v**length} sequences, got {width}")
    if width * v >= 2**31:
        raise ValueError(f"width must be below 2^31 / {v}, as candidates are counted in int32, got {width}")
    axes, start = batch_axes(model, width, length), model.conditional.zeros(width)

    def body(carry, index):
        x, previous, state, log_p = carry
        logits, state = model.step(state, previous)
        steps = jax.nn.log_softmax(wide(logits))
        total = jnp.where(log_p[:, None] == -jnp.inf, -jnp.inf, log_p[:, None] + steps)
        broken = jnp.isnan(total).any()
        log_p, best = jax.lax.top_k(total.ravel(), width)
        rows, codes = best // v, (best % v).astype(jnp.int32)
        x = jax.lax.dynamic_update_index_in_dim(x[rows], codes, index, 1)
        return (x, codes, take_rows(state, axes, rows), jnp.where(broken, jnp.nan, log_p)), None

    state = model.init_state(width, length)
    dtype = jnp.result_type(jax.eval_shape(model.step, state, start)[0].dtype, jnp.float32)
    log_p = jnp.full(width, -jnp.inf, dtype).at[0].set(0.0)
    carry = jnp.zeros((width, length), jnp.int32), start, state, log_p
    (x, _, _, log_p), _ = scan(body, carry, jnp.arange(length))
    check_not_nan(model=log_p)
    return Beams(x, log_p)


def hamming_agreement(candidates: ArrayLike, samples: ArrayLike) -> Array:
    """The fraction of equal codes, ``mean_i [c_i = x_i]``: a utility for :func:`minimum_bayes_risk`.

    Args:
      candidates: codes ``(N, ...)``.
      samples: codes ``(M, ...)``.

    Returns:
      ``(N, M)``.

    >>> codes = jnp.array([[0, 0], [0, 1], [1, 1]])
    >>> hamming_agreement(codes, codes)[0].round(2).tolist()
    [1.0, 0.5, 0.0]
    """
    candidates, samples = unsplit(_alike(candidates, samples))
    flat = lambda x: x.reshape(len(x), -1)
    return jax.lax.map(lambda c: jnp.mean(c == flat(samples), axis=1, dtype=float), flat(candidates), batch_size=64)


@checked
def minimum_bayes_risk(
    candidates: ArrayLike,
    samples: ArrayLike,
    utility: Callable[[Array, Array], Array] = hamming_agreement,
    *,
    log_weights: ArrayLike | None = None,
) -> BayesDecision:
    """The candidate that is best on average if a sample of the model is the truth: ``argmax_c E_x u(c, x)``.

    The samples of a model are usually the candidates as well. The expectation converges as ``1 / sqrt(M)``, and with
    all sequences as samples and their log-probabilities as weights it is exact.

    Args:
      candidates: ``(N, ...)``, of codes or values.
      samples: ``(M, ...)``, samples of the model.
      utility: ``(candidates, samples) -> (N, M)``, larger for better agreement; a negative distance of features, for
        instance.
      log_weights: log-weights of the samples up to a constant, ``(M,)``; equal by default.

    Returns:
      :class:`BayesDecision`; of equal candidates the first.

    Raises:
      ValueError: for utilities that are not finite, or weights that are all zero: if traced, the result is NaN and
        codes are -1.

    >>> samples = jnp.array([[0, 0], [0, 1], [1, 1]])
    >>> minimum_bayes_risk(samples, samples).x.tolist()
    [0, 1]

    Source: Kumar & Byrne 2004, "Minimum Bayes-risk decoding"; Eikema & Aziz 2020 (https://arxiv.org/abs/2005.10283).
    """
    candidates, samples = unsplit(_alike(candidates, samples))
    table, shape = jnp.asarray(utility(candidates, samples)), (len(candidates), len(samples))
    if table.shape != shape:
        raise ValueError(f"utility must return shape {shape}, got {table.shape}")
    check_finite(utility=table)
    table = wide(table)
    if log_weights is None:
        expected = jnp.mean(table, axis=1)
    else:
        if jnp.shape(log_weights) != shape[1:]:
            raise ValueError(f"log_weights must have shape {shape[1:]}, got {jnp.shape(log_weights)}")
        check(lambda w: np.isfinite(np.max(w)), "finite where they are largest", log_weights=log_weights)
        expected = table @ jax.nn.softmax(jnp.asarray(log_weights, table.dtype))
    found = candidates[jnp.argmax(expected)]
    nothing = jnp.nan if jnp.issubdtype(found.dtype, jnp.floating) else no_code(found.dtype)
    return BayesDecision(jnp.where(jnp.all(jnp.isfinite(expected)), found, nothing), expected)


def _alike(candidates: ArrayLike, samples: ArrayLike) -> tuple[Array, Array]:
    """Both as arrays; raises ``ValueError`` unless they are of one shape but for their number, finite and not empty."""
    shapes = jnp.shape(candidates), jnp.shape(samples)
    if not all(len(shape) > 1 and 0 not in shape for shape in shapes) or shapes[0][1:] != shapes[1][1:]:
        raise ValueError(f"candidates and samples must have shapes (N, ...) and (M, ...), none 0, got {shapes}")
    check_finite(candidates=candidates, samples=samples)
    return as_array(candidates, "candidates"), as_array(samples, "samples")
