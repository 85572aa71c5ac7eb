"""Rewards in the loss of the forward process, which needs samples and their rewards, and no paths.

Outputs o are of any target, y is its true value. Times, noise and weights are those of :func:`scorekit.denoising_loss`
with the same key, and ``aux`` is its ``aux``, of the network.
"""

from typing import Any

import jax
import jax.numpy as jnp

from scorekit import weightings
from scorekit.alignment._steps import check_reference, check_rewards
from scorekit.arguments import Fraction, NonNegative, Positive, checked
from scorekit.checks import check_floating
from scorekit.losses import LossAux, denoising_loss_at
from scorekit.numerics import wide
from scorekit.numerics.networks import call_network
from scorekit.predictions import Target, TargetName, as_target
from scorekit.process import perturb
from scorekit.times import TimeSampler, Uniform, draw
from scorekit.trees import batch_size, combine, event_size, normal_like, sum_per_example
from scorekit.typing import Array, ArrayLike, Key, Network, PyTree, Schedule, Weighting


@checked
def nft_loss(
    key: Key,
    network: Network,
    old: Network,
    schedule: Schedule,
    x0: PyTree,
    optimality: Fraction[ArrayLike],
    *,
    beta: Positive[float] = 1.0,
    target: TargetName | Target = "v",
    weighting: Weighting = weightings.v,
    times: TimeSampler | None = None,
) -> tuple[Array, LossAux]:
    """``(loss, aux)`` of ``p |o_+ - y|^2 + (1 - p) |o_- - y|^2``, ``o_+- = o_old +- beta (o - o_old)``: DiffusionNFT.

    For samples of an exact ``old`` the minimum is ``o_old + (2 / beta) Cov(p, y | x_t)``: a direction of improvement,
    not a tilted law, to be followed in rounds of new samples.

    Args:
      key: PRNG key of the times and the noise.
      network, old: ``(x_t, t) -> o``, each called once; ``old``, which made the samples, gets no gradient.
      schedule, x0: the noise schedule of both, and samples, leaves ``(B, ...)``.
      optimality: p of each sample, ``(B,)``, from :func:`optimality`; a traced one outside [0, 1] gives NaN.
      beta: the smaller, the larger is the step of a round.
      target, weighting, times: as in :func:`scorekit.denoising_loss`.

    >>> from scorekit.schedules import Cosine
    >>> one, args = (lambda x, t: 0 * x + 1), (lambda x, t: 0 * x, Cosine(), jnp.ones((1, 3)), jnp.ones(1))
    >>> nft_loss(jax.random.key(0), one, *args, target="x0", weighting=weightings.x0)[0]
    Array([0.], dtype=float32)

    Source: Zheng et al. 2025 (https://arxiv.org/abs/2509.16117).
    """
    output, fixed, loss_of = _outputs(key, network, old, "output of old", schedule, x0, target, weighting, times)
    better, worse = (combine((1.0 - sign * beta, fixed), (sign * beta, output)) for sign in (1.0, -1.0))
    check_rewards(batch_size(x0), optimality=optimality)
    p = jnp.where(abs(wide(optimality) - 0.5) <= 0.5, wide(optimality), jnp.nan)
    return p * loss_of(better)[0] + (1.0 - p) * loss_of(worse)[0], loss_of(output)[1]


@checked
def advantage_weighted_loss(
    key: Key,
    network: Network,
    schedule: Schedule,
    x0: PyTree,
    weights: ArrayLike,
    *,
    reference: Network | None = None,
    kl: NonNegative[float] = 0.0,
    target: TargetName | Target = "v",
    weighting: Weighting = weightings.v,
    times: TimeSampler | None = None,
) -> tuple[Array, LossAux]:
    """``(loss, aux)`` with ``A |o - y|^2 + c |o - o_ref|^2``, ``(B,)``: advantage weighted matching.

    With ``A = exp(r / lambda)``, or a multiple such as ``B softmax(r / lambda)``, and c = 0 the minimum is the exact
    denoiser of the tilted law. With advantages of either sign it is ``o_ref + Cov(A, y | x_t) / (E[A | x_t] + c)`` for
    samples of the reference, and the loss is unbounded below where ``E[A | x_t] + c <= 0``: at low noise ``E[A | x_t]``
    is the advantage of the sample itself, so that c must exceed the largest -A.

    Args:
      key: PRNG key of the times and the noise.
      network: ``(x_t, t) -> o``; this and the reference are called once.
      schedule, x0: the noise schedule of both, and samples, leaves ``(B, ...)``.
      weights: A of each sample, ``(B,)``.
      reference: the network to stay close to, which gets no gradient; None for c = 0.
      kl: c, in the units of A.
      target, weighting, times: as in :func:`scorekit.denoising_loss`.

    >>> from scorekit.schedules import Cosine
    >>> args = jax.random.key(0), lambda x, t: 0 * x, Cosine(), jnp.ones((1, 3)), jnp.full(1, 2.0)
    >>> advantage_weighted_loss(*args, target="x0", weighting=weightings.x0)[0]
    Array([2.], dtype=float32)

    Source: Xue et al. 2025 (https://arxiv.org/abs/2509.25050).
    """
    check_reference(reference, kl)
    output, fixed, loss_of = _outputs(
        key, network, reference, "output of reference", schedule, x0, target, weighting, times
    )
    check_rewards(batch_size(x0), weights=weights)
    loss, aux = loss_of(output)
    factor = kl * aux.weight * jnp.square(as_target(target).eps_scale(aux.t, schedule)) / event_size(x0)
    apart = 0.0 if fixed is None else sum_per_example(jnp.square, combine((1.0, output), (-1.0, fixed)))
    return wide(weights) * loss + factor * apart, aux


def _outputs(key, network, other, name, schedule, x0, target, weighting, times) -> Any:
    """The outputs of two networks at random times and noise, and the denoising loss of any output there."""
    check_floating(x0=x0)
    for_times, for_noise = jax.random.split(key)
    drawn = draw(for_times, Uniform() if times is None else times, schedule, batch_size(x0))
    at = schedule, x0, normal_like(for_noise, x0)
    x_t = perturb(*at, drawn.t)
    of = lambda name, network: jax.tree.map(wide, call_network(name, network, x_t, drawn.t))
    loss_of = lambda output: denoising_loss_at(lambda x, t: output, *at, drawn, target=target, weighting=weighting)
    return of("output", network), None if other is None else jax.lax.stop_gradient(of(name, other)), loss_of
