"""Sampling of tokens: one ``lax.scan`` for every solver, and exact sampling of masks one at a time."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import checked
from scorekit.discrete._checks import check_codes, predict
from scorekit.discrete.denoisers import TokenDenoiser
from scorekit.discrete.process import Process
from scorekit.discrete.solvers import TokenSolver
from scorekit.numerics.codes import check_drawn, draw_codes, no_code
from scorekit.numerics.grids import check_grid
from scorekit.numerics.meshes import scan
from scorekit.trees import is_traced
from scorekit.typing import Array, ArrayLike, Key

_MUST = "return normalised log-probabilities that are not NaN (see denoiser_from_network)"


@checked
def sample(
    key: Key,
    denoiser: TokenDenoiser,
    process: Process,
    solver: TokenSolver,
    z_init: Array,
    ts: ArrayLike,
) -> Array:
    """Runs the reverse process from ``ts[0]`` to ``ts[-1]``.

    ``z_{k+1}, state = solver.step(key_k, state, z_k, rows[k], denoiser)`` with ``rows = solver.plan(process, ts)``.

    Tokens of ``z_init`` that are not masked are a condition that most solvers keep (not ``Remasking`` nor
    ``PredictorCorrector``). The network is traced inside the loop; wrap the call in ``jax.jit``.

    Args:
      key: PRNG key.
      denoiser: ``(z_t, t) -> log p``; ``t`` is a scalar in the loop.
      process: the forward process.
      solver: one of :mod:`scorekit.discrete.solvers` or your own.
      z_init: the start, integers ``(B, ...)``, from :func:`scorekit.discrete.sample_prior`.
      ts: decreasing times ``(n + 1,)`` in [0, 1], from :mod:`scorekit.solvers.grids`; the last one 0 leaves no mask.

    Returns:
      The tokens, shaped and typed like ``z_init``.

    Raises:
      ValueError: if there is no mask to reveal, if a solver that needs masks gets uniform noise, or if
        log-probabilities are NaN or do not sum to 1; if these are traced, tokens drawn from them are -1 (the largest
        value of an unsigned type) to the end.

    >>> from scorekit import discrete
    >>> process = discrete.absorbing(2)
    >>> denoiser = discrete.exact_denoiser(jnp.log(jnp.array([[0.5, 0.0], [0.0, 0.5]])), process)  # equal tokens
    >>> z_init = jnp.array([[2, 0]])
    >>> sample(jax.random.key(0), denoiser, process, discrete.Ancestral(), z_init, [1.0, 0.5, 0.0]).tolist()
    [[0, 0]]

    Source: Austin et al. 2021 (https://arxiv.org/abs/2107.03006).
    """
    return _run(key, denoiser, process, solver, z_init, ts, keep=False)[0]


@checked
def trajectory(
    key: Key, denoiser: TokenDenoiser, process: Process, solver: TokenSolver, z_init: Array, ts: ArrayLike
) -> tuple[Array, Array]:
    """:func:`sample` that also returns the tokens after every step.

    Args:
      key: PRNG key.
      denoiser: ``(z_t, t) -> log p``; ``t`` is a scalar in the loop.
      process: the forward process.
      solver: one of :mod:`scorekit.discrete.solvers` or your own.
      z_init: the start, integers ``(B, ...)``, from :func:`scorekit.discrete.sample_prior`.
      ts: decreasing times ``(n + 1,)`` in [0, 1].

    Returns:
      ``(z, states)``: the result of :func:`sample`, and the tokens at ``ts[1:]``, ``(n, B, ...)``.

    >>> from scorekit import discrete
    >>> process = discrete.absorbing(2)
    >>> denoiser = discrete.exact_denoiser(jnp.log(jnp.array([[0.5, 0.0], [0.0, 0.5]])), process)  # equal tokens
    >>> z_init = jnp.array([[2, 0]])
    >>> trajectory(jax.random.key(0), denoiser, process, discrete.Ancestral(), z_init, [1.0, 0.5, 0.0])[1].shape
    (2, 1, 2)
    """
    return _run(key, denoiser, process, solver, z_init, ts, keep=True)


def _run(key, denoiser, process, solver, z_init, ts, keep) -> tuple[Array, Array]:
    times = check_grid(ts)
    z = _start(process, z_init)
    if key is None:
        raise ValueError("key must be a PRNG key, got None")
    rows = solver.plan(process, times)

    def body(carry, inputs):
        (z, state), (row, key) = carry, inputs
        carry = solver.step(key, state, z, row, denoiser)
        return carry, (carry[0] if keep else None)

    (z, _), states = scan(body, (z, solver.init(z)), (rows, jax.random.split(key, times.shape[0] - 1)))
    check_drawn(_MUST, denoiser=z)
    return z, states


@checked
def first_hitting_sample(key: Key, denoiser: TokenDenoiser, process: Process, z_init: Array) -> Array:
    """Reveals one mask at a time, in random order and at the times of the continuous process: no discretisation error.

    With n masks at the noise level sigma the next mask is revealed at ``sigma u^(1 / n)``, u uniform. Each token costs
    one evaluation; with an exact denoiser the samples are exact. This is sampling from an order-agnostic autoregressive
    model.

    Args:
      key: PRNG key.
      denoiser: ``(z_t, t) -> log p``, called with t ``(B,)``.
      process: an absorbing process; log-probabilities are checked as in :func:`sample`.
      z_init: the start, integers ``(B, ...)``; tokens without a mask are a condition that is kept.

    Returns:
      The tokens, shaped and typed like ``z_init``.

    >>> from scorekit import discrete
    >>> process = discrete.absorbing(2)
    >>> denoiser = discrete.exact_denoiser(jnp.log(jnp.array([[0.5, 0.0], [0.0, 0.5]])), process)  # equal tokens
    >>> first_hitting_sample(jax.random.key(0), denoiser, process, jnp.array([[2, 0]])).tolist()
    [[0, 0]]

    Source: Zheng et al. 2024 (https://arxiv.org/abs/2409.02908); Hoogeboom et al. 2021
    (https://arxiv.org/abs/2110.02037).
    """
    z = _start(process, z_init)
    if process.mask is None:
        raise ValueError(f"process must be absorbing to reveal one mask at a time, got {process.noise}")
    b, length = z.shape[0], math.prod(z.shape[1:])

    def body(carry, key):
        z, sigma = carry
        for_time, for_place, for_token = jax.random.split(key, 3)
        masked = (z == process.mask).reshape(b, length)
        count = jnp.sum(masked, axis=1)
        sigma = sigma * jax.random.uniform(for_time, (b,), sigma.dtype) ** (1.0 / jnp.maximum(count, 1))
        t = process.schedule.time_at(jnp.log1p(-sigma) - jnp.log(sigma))
        place = jax.random.categorical(for_place, jnp.where(masked, 0.0, -jnp.inf))
        log_p = predict(denoiser, z, t, process.num_tokens).reshape(b, length, process.num_tokens)
        token = draw_codes(for_token, jnp.take_along_axis(log_p, place[:, None, None], axis=1)[:, 0])
        revealed = masked & (jnp.arange(length) == place[:, None])
        return (
            jnp.where(revealed.reshape(z.shape), token.reshape(b, *(1,) * (z.ndim - 1)).astype(z.dtype), z),
            sigma,
        ), None

    sigma = jnp.broadcast_to(process.schedule.sigma(1.0), (b,))
    (z, _), _ = scan(body, (z, sigma), jax.random.split(key, length))
    check_drawn(_MUST, denoiser=z)
    return z


def _start(process, z_init):
    check_codes(process.num_states, z_init=z_init)
    if jnp.ndim(z_init) < 2:
        raise ValueError(f"z_init must have shape (B, ...) with at least one axis of tokens, got {jnp.shape(z_init)}")
    if process.mask is not None and not is_traced(z_init) and not np.any(np.asarray(z_init) == process.mask):
        raise ValueError(f"z_init must hold a mask, {process.mask}, that is to be revealed, got none")
    z, least = jnp.asarray(z_init), process.num_states + 1
    if no_code(z.dtype) in range(process.num_states):
        raise ValueError(f"z_init must be of an integer type with at least {least} values, got {z.dtype}")
    return z
