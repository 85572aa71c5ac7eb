"""The forward process of tokens: absorbing (masked) and uniform noise, with its marginals and posteriors.

``q(z_t | x0) = alpha(t) [z_t = x0] + sigma(t) pi(z_t)`` independently for every token, where ``pi`` is the mask for
:func:`absorbing` and uniform over the vocabulary for :func:`uniform`. Tokens are integers ``(B, ...)`` in [0, V). The
mask of absorbing noise is one more state, V. The process holds the schedule: every function takes one process.

All functions raise a ``ValueError`` for codes out of the vocabulary, an empty sequence and a time outside [0, 1].

Source: Austin et al. 2021 (https://arxiv.org/abs/2107.03006); Shi et al. 2024 (https://arxiv.org/abs/2406.04329);
Schiff et al. 2024 (https://arxiv.org/abs/2412.10193).
"""

from typing import Annotated

import jax
import jax.numpy as jnp

from scorekit.arguments import Count, PositiveInt, checked
from scorekit.checks import check, check_finite, check_per_example, check_time
from scorekit.discrete._checks import check_codes, check_ends, check_room, check_where
from scorekit.discrete._noise import Absorbing, Row, Uniform, log
from scorekit.discrete.schedules import Linear
from scorekit.numerics import wide
from scorekit.numerics.codes import as_codes
from scorekit.schedules import time_derivative
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, Key, Schedule


@pytree_dataclass
class Process:
    """A kind of noise and a schedule; build it with :func:`absorbing` or :func:`uniform`.

    ``q(z_t | x0) = alpha(t) [z_t = x0] + sigma(t) pi(z_t)``.

    Attributes:
      noise: the kind of noise; static.
      schedule: the schedule; its numbers are leaves.

    >>> process = absorbing(5)
    >>> isinstance(process, Process), process.num_tokens, process.num_states, process.mask
    (True, 5, 6, 5)
    """

    noise: Absorbing | Uniform = static()
    schedule: Schedule

    @property
    def num_tokens(self) -> int:
        """V, the size of the vocabulary of the data."""
        return self.noise.num_tokens

    @property
    def num_states(self) -> int:
        """The number of values of a noisy token, V + 1 with a mask and else V."""
        return self.noise.num_states

    @property
    def mask(self) -> int | None:
        """The code of the mask, V, or None for uniform noise."""
        return self.noise.mask

    def row(self, times: ArrayLike) -> Row:
        """The schedule at both ends of a step; the last axis of ``times`` holds s and t.

        Args:
          times: ``(..., 2)``.

        Returns:
          A row of ``t, s, alpha_t, sigma_t, alpha_s, sigma_s, sigma_rate`` (``d sigma / dt`` at t), leading axes kept.
        """
        times = wide(times)
        s, t = times[..., 0], times[..., 1]
        alpha, sigma = (jnp.broadcast_to(f(times), times.shape) for f in (self.schedule.alpha, self.schedule.sigma))
        rate = time_derivative(self.schedule.sigma, t)
        return Row(
            noise=self.noise,
            t=t,
            s=s,
            alpha_t=alpha[..., 1],
            sigma_t=sigma[..., 1],
            alpha_s=alpha[..., 0],
            sigma_s=sigma[..., 0],
            sigma_rate=rate,
        )


@checked
def absorbing(num_tokens: PositiveInt, schedule: Schedule | None = None) -> Process:
    """Masked diffusion: a token that is not kept becomes the mask, ``q(z_t | x0) = alpha [x0] + sigma [mask]``.

    Args:
      num_tokens: V, the size of the vocabulary, without the mask, which is the code V.
      schedule: one of :mod:`scorekit.discrete.schedules`; default ``Linear()``.

    Returns:
      A :class:`Process`.

    >>> absorbing(5).mask
    5
    """
    return _process(Absorbing(num_tokens), schedule)


@checked
def uniform(num_tokens: Annotated[int, Count(2)], schedule: Schedule | None = None) -> Process:
    """Uniform noise: a token that is not kept is drawn anew, ``q(z_t | x0) = alpha [x0] + sigma / V``.

    Args:
      num_tokens: V, the size of the vocabulary, without the mask, which is the code V.
      schedule: one of :mod:`scorekit.discrete.schedules`; default ``Linear()``.

    Returns:
      A :class:`Process`.

    >>> uniform(5).num_states
    5
    """
    return _process(Uniform(num_tokens), schedule)


def _process(noise, schedule):
    schedule = Linear() if schedule is None else schedule
    check_ends(schedule.alpha)
    return Process(noise=noise, schedule=schedule)


@checked
def perturb(key: Key, process: Process, x0: Array, t: ArrayLike, *, where: ArrayLike | None = None) -> Array:
    """Draws noisy tokens, ``z_t ~ q(z_t | x0) = alpha [x0] + sigma pi``.

    Args:
      key: PRNG key.
      process: the forward process.
      x0: clean tokens, integers ``(B, ...)``.
      t: times, a scalar or ``(B,)``.
      where: bool, broadcasts to ``x0``: the tokens that get noise, at least one in each example (the others are a
        condition); None for all.

    Returns:
      Tokens shaped and typed like ``x0``.

    >>> perturb(jax.random.key(0), absorbing(5), jnp.arange(5), 1.0).tolist()
    [5, 5, 5, 5, 5]
    """
    check_codes(process.num_tokens, x0=x0)
    check_time(t=t)
    check_finite(t=t)  # tokens cannot be NaN
    check_per_example(x0, t=t)
    x0 = jnp.asarray(x0)
    check_room(process.num_states, x0=x0.dtype)
    where = check_where(x0, where)
    z = process.noise.renew(key, x0, process.schedule.sigma(t))
    return z if where is None else jnp.where(where, z, x0)


def posterior(process: Process, z_t: Array, x0: Array, t: ArrayLike, s: ArrayLike) -> Array:
    """The posterior of an earlier state given the data: ``q(z_s | z_t, x0) = q(z_t | z_s) q(z_s | x0) / q(z_t | x0)``.

    Args:
      process: the forward process.
      z_t: noisy tokens, shaped like ``x0``.
      x0: clean tokens, integers ``(B, ...)``.
      t: times, a scalar or ``(B,)``.
      s: earlier times, ``s < t``.

    Returns:
      Probabilities of the states, ``(B, ..., S)`` with S = ``process.num_states``; NaN where z_t is impossible.

    >>> posterior(absorbing(2), jnp.array([2]), jnp.array([1]), 0.8, 0.2).tolist()  # a mask is revealed, or stays
    [[0.0, 0.75, 0.25]]
    """
    check_codes(process.num_tokens, x0=x0)
    check_codes(process.num_states, z_t=z_t)
    if jnp.shape(z_t) != jnp.shape(x0):
        raise ValueError(f"z_t must have the shape of x0, {jnp.shape(x0)}, got {jnp.shape(z_t)}")
    check_time(t=t, s=s)
    check_per_example(z_t, t=t, s=s)
    check(lambda later: later > s, f"> s = {s}", t=t)
    row = process.row(jnp.stack(jnp.broadcast_arrays(wide(s), wide(t)), axis=-1))
    x0, z_t = as_codes(x0), as_codes(z_t)
    known = log(jax.nn.one_hot(x0, process.num_tokens, dtype=row.alpha_t.dtype))
    possible = jnp.isfinite(process.noise.log_likelihood(z_t, row.alpha_t, row.sigma_t))
    possible = jnp.take_along_axis(possible, x0[..., None], axis=-1, mode="clip")
    return jnp.where(possible, process.noise.reverse(known, z_t, row), jnp.nan)


@checked
def sample_prior(key: Key, process: Process, like: Array) -> Array:
    """Draws the start of sampling, ``z_1 ~ pi``: all masks, or uniform tokens.

    A schedule that ends above 0 (``LogLinear``) keeps a token with probability ``alpha(1)``; such tokens are drawn
    uniformly, as the bounds count them.

    Args:
      key: PRNG key.
      process: the forward process.
      like: integers, or a ``jax.ShapeDtypeStruct``, with the shape and dtype of the tokens.

    Returns:
      Tokens shaped and typed like ``like``.

    >>> sample_prior(jax.random.key(0), absorbing(5), jnp.zeros((1, 3), jnp.int32)).tolist()
    [[5, 5, 5]]
    """
    dtype = jnp.result_type(like)
    if not jnp.issubdtype(dtype, jnp.integer):
        raise ValueError(f"like must hold integers, got dtype {dtype}")
    check_room(process.num_states, like=dtype)
    if 0 in jnp.shape(like):
        raise ValueError(f"like must hold at least one token, got shape {jnp.shape(like)}")
    for_tokens, for_noise = jax.random.split(key)
    tokens = jax.random.randint(for_tokens, jnp.shape(like), 0, process.num_tokens, jnp.int32)
    return process.noise.renew(for_noise, tokens, process.schedule.sigma(1.0)).astype(dtype)
