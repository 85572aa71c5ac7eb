"""Solvers of the reverse process of tokens, on the contract of :mod:`scorekit.solvers`: ``row``, ``init``, ``step``.

A step is drawn token by token from probabilities that the denoiser gives, so that two tokens that change in one step
are independent. This is the only error, of order one in the step unless the table says otherwise. ``transition``
returns these probabilities.

======================  ========  =========  =============================================================
solver                  NFE/step  noise      step
======================  ========  =========  =============================================================
``Ancestral``           1         any        ``p(z_s | z_t)``, the posterior of the step
``TauLeaping``          1         any        the rates at t, held fixed; takes guided rates
``Remasking``           1         absorbing  ``Ancestral`` that masks again (ReMDM); order 1/2 in the step
``PredictorCorrector``  1 + n     any        then n times forwards and back by ``Ancestral``
``ConfidenceOrdered``   1         absorbing  reveals the most probable tokens first (MaskGIT); biased
======================  ========  =========  =============================================================
"""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from scorekit.arguments import Fraction, NonNegative, PositiveInt
from scorekit.discrete._checks import predict
from scorekit.discrete._noise import Row, log
from scorekit.discrete.denoisers import TokenDenoiser
from scorekit.discrete.process import Process
from scorekit.numerics import wide
from scorekit.numerics.codes import as_index, draw_codes, is_missing
from scorekit.trees import expand, pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, Key, Number, PyTree


class TokenSolver:
    """The contract: a subclass writes ``transition``, or ``step`` where the tokens of a step depend on each other.

    ``z_s ~ prod_i p(z_s^i | z_t)``.

    Attributes:
      evals_per_step: network evaluations of a step.
      only_absorbing: whether it needs the mask.

    >>> class Finish(TokenSolver):
    ...     def transition(self, z_t, row, denoiser):  # draws all tokens at once
    ...         return denoiser(z_t, row.t)
    >>> from scorekit import discrete
    >>> process, denoiser = discrete.uniform(2), lambda z, t: jnp.log(jnp.array([[[0.0, 1.0]]]))
    >>> discrete.sample(jax.random.key(0), denoiser, process, Finish(), jnp.array([[0]]), [1.0, 0.0]).tolist()
    [[1]]

    Source: Austin et al. 2021 (https://arxiv.org/abs/2107.03006).
    """

    evals_per_step: int = 1
    stochastic: bool = True
    only_absorbing: bool = False

    def row(self, process: Process, times: ArrayLike, num_past: ArrayLike = 0) -> Any:
        """Everything about a step that does not depend on the tokens; the last axis of ``times`` holds s and t."""
        del num_past
        if self.only_absorbing and process.mask is None:
            raise ValueError(f"process must be absorbing for the solver {type(self).__name__}, got {process.noise}")
        return process.row(times)

    def plan(self, process: Process, ts: ArrayLike) -> Any:
        """The rows of every step of a grid ``(n + 1,)``, stacked."""
        ts = wide(ts)
        return self.row(process, jnp.stack([ts[1:], ts[:-1]], axis=-1))

    def init(self, z: Array) -> PyTree:
        """The state before the first step: nothing."""
        del z
        return ()

    def transition(self, z_t: Array, row: Any, denoiser: TokenDenoiser) -> Array:
        """The log-probabilities of the next state of every token, given all, ``(B, ..., S)``.

        Args:
          z_t: the tokens.
          row: the row of the step.
          denoiser: ``(z_t, t) -> log p``.

        Returns:
          Log-probabilities of the states (of the V tokens, for a step that ends without masks).
        """
        raise NotImplementedError

    def step(self, key: Key, state: PyTree, z_t: Array, row: Any, denoiser: TokenDenoiser) -> tuple[Array, PyTree]:
        """``(z_s, state)`` from ``z_t`` and the row of the step; a token that cannot be drawn is -1 and stays -1."""
        drawn = draw_codes(key, self.transition(as_index(z_t), row, denoiser))
        return jnp.where(is_missing(z_t), z_t, drawn.astype(z_t.dtype)), state


@pytree_dataclass
class Ancestral(TokenSolver):
    """The posterior of the step at the predicted tokens: ``p(z_s | z_t) = sum_x p(x | z_t) q(z_s | z_t, x)``.

    With masks every token is revealed with probability ``1 - sigma_s / sigma_t`` and stays afterwards. Exact for one
    token, of order one in the step for several.

    >>> Ancestral().evals_per_step
    1

    Source: Austin et al. 2021 (https://arxiv.org/abs/2107.03006); Sahoo et al. 2024 (https://arxiv.org/abs/2406.07524).
    """

    def transition(self, z_t, row, denoiser):
        return log(row.noise.reverse(predict(denoiser, z_t, row.t, row.noise.num_tokens), z_t, row))


@pytree_dataclass
class TauLeaping(TokenSolver):
    """The rates of the reverse process at t, held fixed: a token changes with probability ``1 - exp(-h R)``.

    ``R(z -> y) = (sigma' / sigma) p(y | z)`` from the mask, or ``(sigma' / (alpha V)) p_t(z with y) / p_t(z)``. The
    last step, to ``sigma = 0``, is a step of :class:`Ancestral`. A denoiser with a method ``log_rates(z_t, row)``
    (:func:`scorekit.discrete.rate_guidance`) gives the rates itself.

    >>> TauLeaping().only_absorbing
    False

    Source: Campbell et al. 2022 (https://arxiv.org/abs/2205.14987); Lou et al. 2023 (https://arxiv.org/abs/2310.16834).
    """

    def transition(self, z_t, row, denoiser):
        noise = row.noise
        log_p = predict(denoiser, z_t, row.t, noise.num_tokens)
        guided = hasattr(denoiser, "log_rates")
        scale, log_rates = cast(Any, denoiser).log_rates(z_t, row) if guided else noise.rates(log_p, z_t, row)
        total = jnp.sum(jnp.exp(log_rates), axis=-1, keepdims=True)
        moves = ~(total <= 0)  # NaN stays NaN
        change = jnp.where(moves, expand(scale * (row.t - row.s), z_t)[..., None] * jnp.where(moves, total, 1.0), 0.0)
        to = jnp.where(moves, jax.nn.log_softmax(jnp.where(moves, log_rates, 0.0)), -jnp.inf)
        stays = jax.nn.one_hot(z_t, noise.num_states, dtype=log_rates.dtype)
        leap = log(-jnp.expm1(-change) * jnp.exp(to) + jnp.exp(-change) * stays)
        last = log(noise.reverse(log_p, z_t, row))
        return jnp.where(expand(row.sigma_s > 0, z_t)[..., None], leap, last)


@pytree_dataclass
class Remasking(TokenSolver):
    """Reveals like :class:`Ancestral` and masks some of the revealed tokens again, which corrects early mistakes.

    A token is masked with probability ``rho = min(eta (sigma_s / alpha_t), cap)``, ``sigma_s / alpha_t <= 1``, and a
    mask revealed with ``(alpha_s - (1 - rho) alpha_t) / sigma_t``, so that ``q(z_s | x0)`` does not depend on rho.
    ReMDM-rescale is ``cap = 1``, ReMDM-cap ``eta = 1``; ``eta = 0`` is :class:`Ancestral`.

    With the exact denoiser the error falls with the square root of the step, since the tokens that are masked again in
    one step are drawn independently and only the last, short phase corrects that; with a cap in proportion to the step
    it is of order one. It is for denoisers that make mistakes. Tokens that are given as a condition are masked too.

    Attributes:
      eta: fraction of the largest possible probability.
      cap: the largest probability.

    >>> Remasking(eta=0.2).only_absorbing
    True

    Source: Wang et al. 2025 (https://arxiv.org/abs/2503.00307).
    """

    eta: Fraction[Number] = 1.0
    cap: Fraction[Number] = 1.0
    only_absorbing = True

    def transition(self, z_t, row, denoiser):
        log_p = predict(denoiser, z_t, row.t, row.noise.num_tokens)
        return log(row.noise.remask(log_p, z_t, row, jnp.asarray(self.eta), jnp.asarray(self.cap)))


class _Corrected(NamedTuple):
    """The row of a predictor and of a corrector, which goes from s to u and back."""

    predictor: Row
    corrector: Row


@pytree_dataclass
class PredictorCorrector(TokenSolver):
    """An :class:`Ancestral` step to s, then ``num_corrections`` times forwards to ``u = s + size (t - s)`` and back.

    ``z_u ~ q(z_u | z_s)``, ``z_s ~ p(z_s | z_u)``: both leave the exact law at s as it is, but for the independence of
    the tokens of a step. Works for both kinds of noise; with masks it masks tokens again.

    Attributes:
      num_corrections: corrections of a step; static.
      size: length of a correction in units of the step.

    >>> PredictorCorrector(num_corrections=2).evals_per_step
    3

    Source: Campbell et al. 2022 (https://arxiv.org/abs/2205.14987); Gat et al. 2024 (https://arxiv.org/abs/2407.15595).
    """

    num_corrections: PositiveInt = static(default=1)
    size: Fraction[Number] = 1.0

    @property
    def evals_per_step(self) -> int:
        return 1 + self.num_corrections

    def row(self, process, times, num_past=0):
        del num_past
        times = wide(times)
        s, t = times[..., 0], times[..., 1]
        u = jnp.maximum(s + jnp.asarray(self.size) * (t - s), s)
        return _Corrected(process.row(times), process.row(jnp.stack([s, u], axis=-1)))

    def step(self, key, state, z_t, row, denoiser):
        ancestral = Ancestral()
        for_predictor, *for_corrections = jax.random.split(key, 1 + 2 * self.num_corrections)
        z, _ = ancestral.step(for_predictor, (), z_t, row.predictor, denoiser)
        back = row.corrector
        moves = back.t > back.s
        renewed = jnp.where(moves, (back.sigma_t - back.sigma_s) / back.alpha_s, 0.0)
        for forwards, backwards in zip(for_corrections[::2], for_corrections[1::2], strict=True):
            noisy = jnp.where(is_missing(z), z, back.noise.renew(forwards, z, renewed))
            corrected, _ = ancestral.step(backwards, (), noisy, back, denoiser)
            z = jnp.where(expand(moves, z), corrected, z)
        return z, state


@pytree_dataclass
class ConfidenceOrdered(TokenSolver):
    """Draws all masked tokens and keeps those with the largest ``log p(x_i | z_t) + temperature s Gumbel`` (MaskGIT).

    Of n masks ``round(n sigma_s / sigma_t)`` remain, at most n - 1. It is fast and biased: the order depends on the
    drawn values, which favours probable tokens. A large temperature gives a random order, which is exact with as many
    steps as tokens (:func:`scorekit.discrete.first_hitting_sample`).

    Attributes:
      temperature: temperature of the order; multiplied by the time at the end of the step.

    >>> ConfidenceOrdered(temperature=4.5).only_absorbing
    True

    Source: Chang et al. 2022 (https://arxiv.org/abs/2202.04200).
    """

    temperature: NonNegative[Number] = 4.5
    only_absorbing = True

    def step(self, key, state, z_t, row, denoiser):
        for_tokens, for_order = jax.random.split(key)
        log_p = predict(denoiser, z_t, row.t, row.noise.num_tokens)
        drawn = draw_codes(for_tokens, log_p)
        confidence = jnp.take_along_axis(log_p, as_index(drawn)[..., None], axis=-1)[..., 0]
        noise = jax.random.gumbel(for_order, z_t.shape, log_p.dtype)
        confidence = confidence + expand(jnp.asarray(self.temperature) * row.s, z_t) * noise
        confidence = jnp.where(is_missing(drawn), jnp.inf, confidence)
        flat = (z_t.shape[0], -1)
        masked = (z_t == row.noise.mask).reshape(flat)
        count = jnp.sum(masked, axis=1)
        remaining = jnp.round(count * (row.sigma_s / row.sigma_t)).astype(count.dtype)
        shown = count - jnp.minimum(remaining, count - 1)
        order = jnp.argsort(jnp.where(masked, -confidence.reshape(flat), jnp.inf), axis=1)
        rank = jnp.argsort(order, axis=1)
        reveal = (masked & (rank < shown[:, None])).reshape(z_t.shape)
        return jnp.where(reveal, drawn.astype(z_t.dtype), z_t), state
