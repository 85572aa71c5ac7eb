"""Guidance scales that change with the time."""

from typing import Literal

import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.arguments import Finite, Positive, checked
from scorekit.numerics import wide
from scorekit.numerics.scales import Scale
from scorekit.typing import Number


def _linear(noise, data, t):
    return noise + (data - noise) * (1.0 - t)


def _cosine(noise, data, t):
    return _linear(noise, data, 0.5 * (1.0 - jnp.cos(jnp.pi * t)))


def _power(noise, data, power, t):
    return noise + (data - noise) * (1.0 - wide(t)) ** power


@checked
def weight_schedule(
    noise: Finite[Number],
    data: Finite[Number],
    shape: Literal["linear", "cosine", "power"] = "linear",
    power: Positive[Number] = 2.0,
) -> Scale:
    """A guidance scale that goes from ``noise`` at t = 1 to ``data`` at t = 0.

    It may be passed to any rule as gamma: ``gamma(t) = noise + (data - noise) f(1 - t)`` with ``f(u) = u``, ``(1 - cos
    pi u) / 2`` or ``u^power``. Scales that rise towards the data preserve more diversity than constant ones. Any other
    function of t works as well: ``lambda t: ...``, or ``lambda t: f(schedule.log_snr(t))`` for one of the noise level.

    Args:
      noise: gamma at t = 1, a scalar or ``(B,)``.
      data: gamma at t = 0.
      shape: "linear", "cosine" or "power".
      power: the exponent of "power".

    Returns:
      ``t -> gamma``, for the ``guidance_scale`` of any rule.

    >>> weight_schedule(1.0, 5.0)(0.25)
    4.0

    Source: Wang et al. 2024 (https://arxiv.org/abs/2404.13040).
    """
    if shape == "power":
        return Partial(_power, noise, data, power)
    return Partial(_linear if shape == "linear" else _cosine, noise, data)
