"""Distribution matching: the reverse KL divergence of a generator to the teacher, at every noise level.

``KL(q_t || p_t)`` of the noised samples of a generator ``x0 = G(z)`` to the noised data has the gradient

    ``d KL / d theta = E alpha (score_q(x_t) - score_p(x_t)) dx0 / d theta``,   ``x_t = alpha x0 + sigma eps``,

because the score of q has mean 0 under q: no density is needed, only two denoisers, the teacher and one of the *fake*
samples, which is trained together with the generator. The reverse KL divergence is mode-seeking: it avoids
regions without data and may drop modes. For an autoregressive teacher and a generator with an explicit density, the
same objective is the probability-density distillation of Parallel WaveNet.

Sources: van den Oord et al. 2017 (https://arxiv.org/abs/1711.10433); Luo et al. 2023
(https://arxiv.org/abs/2305.18455); Yin et al. 2023 (https://arxiv.org/abs/2311.18828).
"""

import jax
import jax.numpy as jnp

from scorekit import weightings
from scorekit.arguments import checked
from scorekit.checks import check_floating, check_like
from scorekit.losses import LossAux, denoising_loss_at
from scorekit.predictions import Target, TargetName, bounded_log_snr
from scorekit.process import perturb
from scorekit.times import Times
from scorekit.trees import batch_size, combine, event_size, sum_per_example
from scorekit.typing import Array, Denoiser, Network, PyTree, Schedule, Weighting


@checked
def matching_loss(
    fake: Denoiser,
    real: Denoiser,
    schedule: Schedule,
    samples: PyTree,
    eps: PyTree,
    times: Times,
    *,
    weighting: Weighting = weightings.x0,
    normalise: bool = True,
) -> Array:
    """The per-example loss with the gradient of the reverse KL divergence of a generator.

    ``loss_i = w_i ||x - stop(x - g)||^2 / 2`` with ``g = lambda alpha (score_fake - score_real)``, which is
    ``lambda SNR (x0_fake - x0_real)``, at ``x_t = alpha x + sigma eps`` and the log-SNR clipped to +-60 nats: its
    gradient with respect to the sample x is ``w g``. With ``normalise`` g is divided by the mean of
    ``|x - x0_real|``, so that the magnitude of a step does not depend on the distance from the data. The value of
    the loss is meaningless: it is not a divergence and need not decrease. It is a sum over the example, not a mean, so
    that the gradient is g.

    Args:
      fake: the denoiser of the generator's samples, trained by :func:`fake_score_loss`; it gets no gradient.
      real: the teacher, guided or not; it gets no gradient.
      schedule: the noise schedule of both denoisers.
      samples: samples of the generator, leaves ``(B, ...)``.
      eps: noise shaped like ``samples``.
      times: times and importance weights, ``(B,)`` each; DMD uses uniform t between 0.02 and 0.98.
      weighting: lambda, a function of log-SNR. ``weightings.x0`` with ``normalise`` is DMD; ``weightings.eps`` without
        it is the divergence of Diff-Instruct, at one noise level.
      normalise: whether to divide g by the mean of ``|x - x0_real|``.

    >>> from scorekit import denoisers, densities, schedules
    >>> flow, at = schedules.RectifiedFlow(), Times(t=jnp.array([0.5]), weight=jnp.ones(1))
    >>> fake, real = (denoisers.exact_denoiser(densities.gaussian(jnp.full(1, m), std=1.0), flow) for m in (2.0, 0.0))
    >>> jax.grad(lambda x: matching_loss(fake, real, flow, x, 0 * x, at).sum())(jnp.array([[2.0]])).round(3)
    Array([[1.]], dtype=float32)

    Source: Yin et al. 2023 (https://arxiv.org/abs/2311.18828).
    """
    check_floating(samples=samples)
    _check(times, batch_size(samples))
    fixed = jax.lax.stop_gradient(samples)
    x_t = perturb(schedule, fixed, eps, times.t)
    fake_x0, real_x0 = fake(x_t, times.t).x0, real(x_t, times.t).x0
    check_like("samples", samples, fake=fake_x0, real=real_x0)
    factor = _factor(weighting, times.t, schedule)
    if normalise:
        distance = sum_per_example(jnp.abs, jax.tree.map(jnp.subtract, fixed, real_x0)) / event_size(samples)
        factor = factor / jnp.maximum(distance, 1e-8)
    moved = jax.lax.stop_gradient(combine((1.0, fixed), (-factor, fake_x0), (factor, real_x0)))
    return 0.5 * times.weight * sum_per_example(jnp.square, jax.tree.map(jnp.subtract, samples, moved))


@checked
def fake_score_loss(
    network: Network,
    schedule: Schedule,
    samples: PyTree,
    eps: PyTree,
    times: Times,
    *,
    target: "TargetName | Target" = "v",
    weighting: Weighting = weightings.v,
) -> tuple[Array, LossAux]:
    """The ``(loss, aux)`` of :func:`scorekit.denoising_loss` on samples of a generator; trains the fake denoiser.

    Args:
      network: the fake network, ``(x_t, t) -> output``, initialised as a copy of the teacher.
      schedule: the noise schedule of the network.
      samples: samples of the generator, leaves ``(B, ...)``.
      eps: noise shaped like ``samples``, independent of the noise in :func:`matching_loss`.
      times: times and importance weights, ``(B,)`` each.
      target: the target of the network.
      weighting: lambda, a function of log-SNR, which multiplies the eps-MSE.

    >>> from scorekit.schedules import RectifiedFlow
    >>> x, at = jnp.ones((1, 1)), Times(t=jnp.array([0.5]), weight=jnp.ones(1))
    >>> fake_score_loss(lambda x, t: 0 * x, RectifiedFlow(), x, 0 * x, at, target="eps")[0]
    Array([0.], dtype=float32)
    """
    check_floating(samples=samples)
    _check(times, batch_size(samples))
    fixed = jax.lax.stop_gradient(samples)
    return denoising_loss_at(network, schedule, fixed, eps, times, target=target, weighting=weighting)


def _factor(weighting, t, schedule):
    log_snr = bounded_log_snr(schedule, t)
    return weighting(log_snr) * jnp.exp(log_snr)


def _check(times, b):
    if b == 0:
        raise ValueError("samples must hold at least one example, got none")
    for name, value in zip(Times._fields, times, strict=True):
        if jnp.shape(value) != (b,):
            raise ValueError(f"times.{name} must have shape ({b},), one per example, got {jnp.shape(value)}")
