"""The objective of token denoisers, which is a variational bound on ``-log p(x0)``, in nats.

With masks the bound is a weighted cross-entropy of the masked tokens, ``int (sigma' / sigma) sum_masked -log p(x_i |
z_t) dt``; with uniform noise the score entropy of the ratios ``p_t(z with y) / p_t(z)``. For the exact posterior both
equal ``-log p(x0)``, for every x0 and every schedule.

Source: Shi et al. 2024 (https://arxiv.org/abs/2406.04329); Sahoo et al. 2024 (https://arxiv.org/abs/2406.07524).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import PositiveInt, checked
from scorekit.discrete._checks import check_codes, check_where, predict
from scorekit.discrete._noise import Row
from scorekit.discrete.denoisers import TokenDenoiser
from scorekit.discrete.process import Process, perturb
from scorekit.likelihood import VariationalBound
from scorekit.numerics.codes import as_codes
from scorekit.numerics.grids import check_grid
from scorekit.times import Times, TimeSampler, Uniform, draw, stratified_uniform
from scorekit.trees import is_traced
from scorekit.typing import Array, ArrayLike, Key


class TokenLossAux(NamedTuple):
    """Auxiliary outputs of :func:`token_loss`, per example ``(B,)`` except the first.

    Attributes:
      z_t: the noisy tokens, shaped like the data.
      t: the times.
      changed: fraction of the tokens that differ from the data.
      cross_entropy: the mean of ``-log p(x_i | z_t)`` over all tokens, in nats.

    >>> TokenLossAux._fields
    ('z_t', 't', 'changed', 'cross_entropy')
    """

    z_t: Array
    t: Array
    changed: Array
    cross_entropy: Array


@checked
def token_loss(
    key: Key,
    denoiser: TokenDenoiser,
    process: Process,
    x0: Array,
    *,
    times: TimeSampler | None = None,
    where: ArrayLike | None = None,
) -> tuple[Array, TokenLossAux]:
    """The per-example loss at a random time: an unbiased estimate of the continuous-time bound on ``-log p(x0)``.

    ``(sigma' / sigma) sum_i [z_i = mask] -log p(x_i | z_t)`` with masks, and with uniform noise ``(sigma' / (alpha V))
    sum_i sum_y (s - r + r log(r / s))``, s the ratio ``p_t(z with y) / p_t(z)`` and r the same ratio for ``q(. | x0)``.
    NaN for traced log-probabilities that do not sum to 1.

    Args:
      key: PRNG key.
      denoiser: ``(z_t, t) -> log p``, normalised, called with t ``(B,)``.
      process: the forward process.
      x0: clean tokens, integers ``(B, ...)``.
      times: sampler of t (:mod:`scorekit.times`); default ``Uniform()``.
      where: bool, broadcasts to ``x0``: the tokens to predict, at least one in each example (the others are a condition
        and get no noise); None for all.

    Returns:
      ``(loss, aux)``: losses ``(B,)`` in nats per example and a :class:`TokenLossAux`. Take the mean of the first.

    Source of the score entropy: Lou et al. 2023 (https://arxiv.org/abs/2310.16834).

    >>> from scorekit.discrete import absorbing, denoiser_from_network
    >>> network = denoiser_from_network(lambda z, t: jnp.zeros((*z.shape, 2)), absorbing(2))
    >>> loss, aux = token_loss(jax.random.key(0), network, absorbing(2), jnp.ones((512, 2), int))
    >>> abs(float(loss.mean() - 2 * jnp.log(2.0))) < 0.2  # every token costs log 2
    True
    """
    check_codes(process.num_tokens, x0=x0)
    _check_batch(x0)
    x0 = as_codes(x0)
    for_times, for_noise = jax.random.split(key)
    times = Uniform() if times is None else times
    drawn = draw(for_times, times, process.schedule, jnp.shape(x0)[0])
    z_t = perturb(for_noise, process, x0, drawn.t, where=where)
    return token_loss_at(denoiser, process, x0, z_t, drawn, where=where)


@checked
def token_loss_at(
    denoiser: TokenDenoiser,
    process: Process,
    x0: Array,
    z_t: Array,
    times: Times,
    *,
    where: ArrayLike | None = None,
) -> tuple[Array, TokenLossAux]:
    """:func:`token_loss` at given noisy tokens and times; deterministic.

    ``(sigma' / sigma) sum_i [z_i = mask] -log p(x_i | z_t)`` for each example, with masks.

    Args:
      denoiser: ``(z_t, t) -> log p``, normalised, called with t ``(B,)``.
      process: the forward process.
      x0: clean tokens, integers ``(B, ...)``.
      z_t: noisy tokens, shaped like ``x0``.
      times: times and importance weights, ``(B,)`` each.
      where: bool, broadcasts to ``x0``: the tokens to predict, at least one in each example (the others are a condition
        and get no noise); None for all.

    Returns:
      ``(loss, aux)`` as :func:`token_loss`.

    >>> from scorekit.discrete import absorbing, denoiser_from_network
    >>> network = denoiser_from_network(lambda z, t: jnp.zeros((*z.shape, 2)), absorbing(2))
    >>> x0, z_t, times = jnp.array([[0, 1]]), jnp.array([[2, 1]]), Times(jnp.array([0.5]), jnp.ones(1))
    >>> token_loss_at(network, absorbing(2), x0, z_t, times)[0].round(3)  # 1 / t log 2
    Array([1.386], dtype=float32)
    """
    check_codes(process.num_tokens, x0=x0)
    check_codes(process.num_states, z_t=z_t)
    _check_batch(x0)
    x0, z_t = as_codes(x0), as_codes(z_t)
    if z_t.shape != x0.shape:
        raise ValueError(f"z_t must have the shape of x0, {x0.shape}, got {z_t.shape}")
    for name, value in zip(Times._fields, times, strict=True):
        if jnp.shape(value) != x0.shape[:1]:
            raise ValueError(f"times.{name} must have shape {x0.shape[:1]}, one per example, got {jnp.shape(value)}")
    where = check_where(x0, where)
    log_p = predict(denoiser, z_t, times.t, process.num_tokens)
    row = process.row(jnp.stack([jnp.zeros_like(times.t), times.t], axis=-1))
    per_token = _valid(process.num_states, z_t, process.noise.loss(log_p, x0, z_t, row))
    per_token = _valid(process.num_tokens, x0, per_token)
    chosen = _valid(process.num_tokens, x0, jnp.take_along_axis(log_p, x0[..., None], axis=-1, mode="clip")[..., 0])
    mean = lambda x: jnp.mean(x.reshape(x.shape[0], -1), axis=1)
    aux = TokenLossAux(z_t, times.t, mean((z_t != x0).astype(log_p.dtype)), -mean(chosen))
    return times.weight * _total(per_token, where), aux


@checked
def variational_bound(
    key: Key,
    denoiser: TokenDenoiser,
    process: Process,
    x0: Array,
    *,
    num_times: PositiveInt = 16,
) -> VariationalBound:
    """A Monte-Carlo estimate of the continuous-time bound on ``-log p(x0)``, at stratified times.

    ``-log p(x0) <= prior + diffusion``, ``diffusion = int E loss(t) dt`` with the loss of :func:`token_loss`; exact for
    the exact posterior. The reconstruction is 0: at t = 0 the tokens are the data.

    Args:
      key: PRNG key.
      denoiser: ``(z_t, t) -> log p``, normalised, called with t ``(B,)``.
      process: the forward process.
      x0: clean tokens, integers ``(B, ...)``.
      num_times: times per example.

    Returns:
      A :class:`scorekit.likelihood.VariationalBound`, nats per example.

    Source of the bound of uniform noise: Schiff et al. 2024 (https://arxiv.org/abs/2412.10193).

    >>> from scorekit.discrete import absorbing, exact_denoiser
    >>> exact = exact_denoiser(jnp.log(jnp.array([[0.5, 0.0], [0.0, 0.5]])), absorbing(2))  # one bit
    >>> bound = variational_bound(jax.random.key(0), exact, absorbing(2), jnp.ones((512, 2), int))
    >>> abs(float(bound.total.mean() - jnp.log(2.0))) < 0.05
    True
    """
    check_codes(process.num_tokens, x0=x0)
    b, x0 = _check_batch(x0), as_codes(x0)
    for_times, for_noise = jax.random.split(key)
    u = jax.vmap(lambda k: stratified_uniform(k, num_times))(jax.random.split(for_times, b)).T

    def loss(args):
        key, t = args
        z_t = perturb(key, process, x0, t)
        return token_loss_at(denoiser, process, x0, z_t, Times(t, jnp.ones_like(t)))[0]

    losses = jax.lax.map(loss, (jax.random.split(for_noise, num_times), 1.0 - u))
    return _bound(process, x0, jnp.mean(losses, axis=0), process.schedule.alpha(1.0))


@checked
def discrete_variational_bound(
    key: Key,
    denoiser: TokenDenoiser,
    process: Process,
    x0: Array,
    ts: ArrayLike,
) -> VariationalBound:
    """A Monte-Carlo estimate of the bound of the ancestral sampler with the steps ``ts``: all steps, one draw each.

    ``-log p_n(x0) <= KL(q(z_1 | x0) || prior) + sum_k E KL(q(z_s | z_t, x0) || p(z_s | z_t))``; the last step, to 0, is
    the reconstruction. The bound is on ``-log p_n(x0)``, p_n the law of this sampler with these n steps, and can lie
    below ``-log p(x0)``. As the grid is refined, it converges to :func:`variational_bound`; for the exact posterior its
    mean over the data then decreases, while for a single x0 it may increase.

    Args:
      key: PRNG key.
      denoiser: ``(z_t, t) -> log p``, called with a scalar t.
      process: the forward process.
      x0: clean tokens, integers ``(B, ...)``.
      ts: decreasing times ``(n + 1,)`` that end at 0.

    Returns:
      A :class:`scorekit.likelihood.VariationalBound`, nats per example.

    >>> from scorekit.discrete import absorbing, exact_denoiser
    >>> exact = exact_denoiser(jnp.log(jnp.array([[0.5, 0.0], [0.0, 0.5]])), absorbing(2))  # one bit
    >>> x0, ts = jnp.ones((1, 2), int), jnp.array([1.0, 0.0])
    >>> bound = discrete_variational_bound(jax.random.key(0), exact, absorbing(2), x0, ts)
    >>> bound.total.round(3)  # one step generates the tokens independently: two bits
    Array([1.386], dtype=float32)

    Source: Austin et al. 2021 (https://arxiv.org/abs/2107.03006).
    """
    check_codes(process.num_tokens, x0=x0)
    _check_batch(x0)
    ts, x0 = check_grid(ts), as_codes(x0)
    if not is_traced(ts) and np.asarray(ts)[-1] != 0.0:  # an index of a jax array is traced in jit
        raise ValueError(f"ts must end at 0, got {np.asarray(ts)[-1]}")
    rows = process.row(jnp.stack([ts[1:], ts[:-1]], axis=-1))

    def divergence(args: tuple[Array, Row]):
        key, row = args
        z_t = perturb(key, process, x0, row.t)
        log_p = predict(denoiser, z_t, row.t, process.num_tokens)
        return _total(_valid(process.num_tokens, x0, process.noise.divergence(log_p, x0, z_t, row)), None)

    terms = jax.lax.map(divergence, (jax.random.split(key, ts.shape[0] - 1), rows))
    return _bound(process, x0, jnp.sum(terms[:-1], axis=0), rows.alpha_t[0], terms[-1])


def _check_batch(x0):
    if jnp.ndim(x0) < 2:
        raise ValueError(f"x0 must have shape (B, ...) with at least one axis of tokens, got {jnp.shape(x0)}")
    return jnp.shape(x0)[0]


def _valid(size, codes, values):
    return jnp.where((codes >= 0) & (codes < size), values, jnp.nan)


def _total(per_token, where):
    per_token = per_token if where is None else jnp.where(where, per_token, 0.0)
    return jnp.sum(per_token.reshape(per_token.shape[0], -1), axis=1)


def _bound(process, x0, diffusion, alpha, reconstruction=None):
    prior = jnp.full(x0.shape[:1], math.prod(x0.shape[1:])) * process.noise.prior_divergence(alpha)
    zero = jnp.zeros_like(diffusion)
    return VariationalBound(prior, zero if reconstruction is None else reconstruction, diffusion)
