"""Denoisers of tokens: the posterior of every clean token given the noisy sequence.

A denoiser is ``(z_t, t) -> log p(x_i | z_t)``: from noisy tokens ``(B, ...)`` to normalised log-probabilities
``(B, ..., V)`` of at least float32. The library's own are ``jax.tree_util.Partial`` of module-level functions and may
be arguments of a jitted function. Any such function is accepted everywhere, but only the denoisers of
:func:`denoiser_from_network` make sure that tokens without a mask are carried over.
"""

from collections.abc import Callable
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.arguments import checked
from scorekit.checks import check_not_nan, check_per_example
from scorekit.discrete._checks import check_codes
from scorekit.discrete._noise import log
from scorekit.discrete.process import Process
from scorekit.numerics import wide
from scorekit.numerics.codes import as_codes
from scorekit.trees import as_pytree
from scorekit.typing import Array

TokenDenoiser = Callable[[Array, Array], Array]
"""``(z_t, t) -> log p(x_i | z_t)``: ``(B, ...)`` integers and a time to log-probabilities ``(B, ..., V)``."""


def _levels(process, t):
    return process.schedule.alpha(t), process.schedule.sigma(t)


def _from_network(network, process, target, z_t, t):
    check_codes(process.num_states, z_t=z_t)
    check_per_example(z_t, t=t)
    z_t, v = as_codes(z_t), process.num_tokens
    logits = network(z_t, t)
    if jnp.shape(logits) not in ((*jnp.shape(z_t), v), (*jnp.shape(z_t), process.num_states)):
        raise ValueError(f"network must return logits of shape {(*jnp.shape(z_t), v)}, got {jnp.shape(logits)}")
    logits = wide(logits)[..., :v]
    if process.mask is not None:
        log_p = jax.nn.log_softmax(logits)
        kept = log(jax.nn.one_hot(z_t, v, dtype=log_p.dtype))
        return jnp.where((z_t == process.mask)[..., None], log_p, kept)
    if target == "leave_one_out":
        likelihood = process.noise.log_likelihood(z_t, *_levels(process, t))
        possible = jnp.isfinite(likelihood)
        logits = jnp.where(possible, logits + jnp.where(possible, likelihood, 0.0), -jnp.inf)
    return jax.nn.log_softmax(logits)


@checked
def denoiser_from_network(
    network: Callable[[Array, Array], Array],
    process: Process,
    target: Literal["leave_one_out", "posterior"] = "leave_one_out",
) -> TokenDenoiser:
    """A denoiser from a network that returns logits: ``log p(x_i | z_t) = log_softmax(logits + log q(z_i | x_i))``.

    With masks, a token without one is carried over, ``p(x_i | z_t) = [x_i = z_i]``, and the mask has probability 0: its
    logit, if there is one, is dropped. With uniform noise ``leave_one_out`` predicts the token from the others alone
    (UDLM substitutes this for x0), so that the network does not learn how probable it is that the token has been kept;
    with ``posterior`` the logits are of ``p(x_i | z_t)`` itself. With masks both are the same.

    Args:
      network: ``(z_t, t) -> logits``, ``(B, ..., V)`` or with the mask ``(B, ..., V + 1)``, of any precision.
      process: the forward process.
      target: the distribution that the logits describe.

    Returns:
      ``(z_t, t) -> log p``, ``(B, ..., V)`` in at least float32, which may be passed through ``jit``.

    >>> from scorekit.discrete import uniform
    >>> process = uniform(3)
    >>> denoiser = denoiser_from_network(lambda z, t: jnp.zeros((*z.shape, 3)), process)
    >>> p = jnp.exp(denoiser(jnp.array([[0]]), 0.5)).ravel()  # 0 has been kept with probability 1/2, or drawn anew
    >>> [f"{x:.3f}" for x in p]
    ['0.667', '0.167', '0.167']

    Source: Sahoo et al. 2024 (https://arxiv.org/abs/2406.07524); Schiff et al. 2024
    (https://arxiv.org/abs/2412.10193).
    """
    return Partial(_FROM_NETWORK[target], as_pytree(network), process)


def _leave_one_out(network, process, z_t, t):
    return _from_network(network, process, "leave_one_out", z_t, t)


def _posterior(network, process, z_t, t):
    return _from_network(network, process, "posterior", z_t, t)


_FROM_NETWORK = {"leave_one_out": _leave_one_out, "posterior": _posterior}
for _function in _FROM_NETWORK.values():
    cast(Any, _function).is_normalised = True  # by log_softmax: no loss has to check it


def _exact(log_prob, process, z_t, t):
    check_codes(process.num_states, z_t=z_t)
    check_per_example(z_t, t=t)
    n = log_prob.ndim
    if jnp.ndim(z_t) < 1 or z_t.shape[-1] != n:
        raise ValueError(f"z_t must have shape (..., {n}), a token for each axis of log_prob, got {jnp.shape(z_t)}")
    z_t = as_codes(z_t)
    levels = _levels(process, t)
    if process.mask is not None:  # the posterior does not depend on them: a condition is possible at alpha = 0 as well
        levels = tuple(jnp.where(level <= 0, 1.0, level) for level in levels)
    likelihood = process.noise.log_likelihood(z_t, *levels)  # (..., n, V)
    total = log_prob
    for i in range(n):
        shape = (*z_t.shape[:-1], *(-1 if j == i else 1 for j in range(n)))
        total = total + likelihood[..., i, :].reshape(shape)
    axes = range(total.ndim - n, total.ndim)
    each = [jax.nn.logsumexp(total, axis=[a for a in axes if a != axis]) for axis in axes]
    return jax.nn.log_softmax(jnp.stack(each, axis=-2))


def exact_denoiser(log_prob: Array, process: Process) -> TokenDenoiser:
    """The exact posterior of a distribution that is counted out: ``p(x_i | z_t) ~ sum p(x) q(z_t | x)`` over the rest.

    The oracle of the tests, and the denoiser of a guided joint: ``exact_denoiser(guide_joint(...).log_prob, process)``
    (:mod:`scorekit.guidance.sequences`).

    Args:
      log_prob: ``log p(x)`` of all sequences of n tokens, n axes of length V.
      process: the forward process.

    Returns:
      ``(z_t, t) -> log p(x_i | z_t)`` for ``z_t`` ``(..., n)``; NaN where z_t is impossible. With masks it does not
      depend on t, and tokens without one are a condition, at t = 1 as well.

    >>> from scorekit.discrete import absorbing
    >>> pairs = jnp.log(jnp.array([[0.5, 0.0], [0.0, 0.5]]))  # both tokens are equal
    >>> denoiser = exact_denoiser(pairs, absorbing(2))
    >>> jnp.exp(denoiser(jnp.array([[1, 2]]), 0.5)).tolist()  # the second one is masked
    [[[0.0, 1.0], [0.0, 1.0]]]

    Source: Austin et al. 2021 (https://arxiv.org/abs/2107.03006).
    """
    check_not_nan(log_prob=log_prob)
    shape = jnp.shape(log_prob)
    if not shape or any(size != process.num_tokens for size in shape):
        raise ValueError(f"log_prob must have axes of length {process.num_tokens}, one for each token, got {shape}")
    log_prob = jnp.asarray(log_prob)
    return Partial(_exact, wide(log_prob), process)
