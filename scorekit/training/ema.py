"""Moving averages of the parameters, several at once: exponential ones, and power-function ones of a relative width.

After t updates the weight of the parameters of update s in a power-function average is the density ``(gamma + 1)
s^gamma / t^(gamma + 1)`` on [0, t], so that the average spans the same fraction of a run at any t. Its width is the
standard deviation of the density over t (Karras et al. 2024).

Source: Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models"
(https://arxiv.org/abs/2312.02696).
"""

import re

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Between, Fraction, NonNegative, checked
from scorekit.checks import check_floating, check_like
from scorekit.training._widths import Decays, Width, Widths
from scorekit.typing import Array, Number, PyTree

POWER_EMA_PREFIX = "power_"
"""The prefix of the name of a power-function average, before its relative width."""


def power_ema_width(name: str) -> float | None:
    """The relative width of the average of this name; None if it is not the name of a power-function average.

    Args:
      name: key of the averages of :func:`init_ema`.

    >>> power_ema_width("power_0.05"), power_ema_width("0.999")
    (0.05, None)
    """
    try:
        return float(name.removeprefix(POWER_EMA_PREFIX)) if name.startswith(POWER_EMA_PREFIX) else None
    except ValueError:
        return None


@checked
def init_ema(params: PyTree, decays: Decays, widths: Widths = ()) -> dict[str, PyTree]:
    """Float32 copies of the parameters, one per average, by its name: the decay, or ``power_<relative width>``.

    Args:
      params: tree of floating arrays.
      decays: decays of exponential averages; empty for none.
      widths: relative widths of power-function averages.

    >>> init_ema(jnp.ones(2), (0.99,), (0.05,))
    {'0.99': Array([1., 1.], dtype=float32), 'power_0.05': Array([1., 1.], dtype=float32)}
    """
    check_floating(params=params)
    copy = lambda x: jnp.array(x, jnp.float32, copy=True)  # the step donates params and averages
    names = [*(str(float(decay)) for decay in decays), *(f"{POWER_EMA_PREFIX}{float(width)}" for width in widths)]
    if len(names) != len(set(names)):
        raise ValueError(f"decays and widths must differ from each other, got {decays} and {widths}")
    return {name: jax.tree.map(copy, params) for name in names}


@checked
def ema_decay(decay: Fraction[Number], updates: NonNegative[Number]) -> Array:
    """The decay with warm-up: ``min(decay, (1 + n) / (10 + n))`` after ``n`` updates.

    The average forgets the initial parameters quickly instead of keeping them for ``1 / (1 - decay)`` updates.

    Args:
      decay: decay after the warm-up.
      updates: number of updates before this one, n.

    >>> ema_decay(0.999, jnp.array([0, 90, 100_000]))
    Array([0.1  , 0.91 , 0.999], dtype=float32)
    """
    decay, updates = jnp.asarray(decay, jnp.float32), jnp.asarray(updates, jnp.float32)
    valid = Between(0, 1).holds(decay) & Between(0).holds(updates)
    return jnp.where(valid, jnp.minimum(decay, (1 + updates) / (10 + updates)), jnp.nan)


@checked
def power_ema_gamma(width: Width) -> float:
    """The exponent gamma > 0 of the power-function average of a relative width.

    The largest real root of ``g^3 + 7 g^2 + (16 - width^-2) g + 12 - width^-2``, because the density
    ``(g + 1) s^g`` on [0, 1] has the variance ``(g + 1) / ((g + 2)^2 (g + 3))``.

    Args:
      width: relative width, the standard deviation of the average over the number of updates.

    >>> round(power_ema_gamma(0.05), 2), round(power_ema_gamma(0.1), 2)
    (16.97, 6.94)
    """
    roots = np.roots([1.0, 7.0 * width, 16.0 * width**2 - 1.0, 12.0 * width**3 - width]) / width  # of g * width
    return float(roots.real[np.abs(roots.imag) < 1e-9 * (1 + np.abs(roots))].max())


@checked
def power_ema_rate(width: Width, updates: NonNegative[Number]) -> Array:
    """The weight of the new parameters in a power-function average: ``1 - (1 - 1/t)^(gamma + 1)``, t = ``updates`` + 1.

    It is in (0, 1]; after the first update, the average is the parameters.

    Args:
      width: relative width, the standard deviation of the average over the number of updates.
      updates: number of updates before this one, n.

    Returns:
      float32, shaped like ``updates``; NaN where a traced argument is out of its range.

    >>> [f"{rate:.4f}" for rate in power_ema_rate(0.1, jnp.array([0, 9, 999]))]
    ['1.0000', '0.5667', '0.0079']
    """
    updates = jnp.asarray(updates, jnp.float32)
    rate = -jnp.expm1((power_ema_gamma(width) + 1) * jnp.log1p(-1 / (updates + 1)))
    return jnp.where(Between(0).holds(updates), rate, jnp.nan)


@checked
def update_ema(ema: dict[str, PyTree], params: PyTree, updates: NonNegative[Number]) -> dict[str, PyTree]:
    """Updates every average: ``e <- e + r (params - e)``, r = 1 - :func:`ema_decay` or :func:`power_ema_rate`.

    Args:
      ema: averages made by :func:`init_ema`, of the structure and shapes of ``params``.
      params: tree of floating arrays.
      updates: number of updates before this one, n.

    Returns:
      The averages by name.

    >>> update_ema(init_ema(jnp.zeros(1), (0.5,)), jnp.ones(1), 100)
    {'0.5': Array([0.5], dtype=float32)}
    """
    for average_of in ema.values():
        check_like("ema", average_of, params=params)

    def average(name, tree):
        width = power_ema_width(name)
        if width is None and not re.fullmatch(r"[\d.e-]+", name):
            raise ValueError(f"ema must have the names of init_ema, decays or power_<relative width>, got {name!r}")
        rate = 1 - ema_decay(float(name), updates) if width is None else power_ema_rate(width, updates)
        return jax.tree.map(lambda e, p: e + rate * (p.astype(jnp.float32) - e), tree, params)

    return {name: average(name, tree) for name, tree in ema.items()}
