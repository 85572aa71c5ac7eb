"""Coordinates in which the probability-flow ODE is easy to integrate: ``d(x / scale) = slope d(clock)``.

The exact halves ``x_t = alpha x0 + sigma eps`` turn the ODE of every schedule into the same few forms:

==========  ================  =====================  ==============================  ===============================
name        scale             clock                  slope                           known as
==========  ================  =====================  ==============================  ===============================
"flow"      alpha + sigma     sigma/(alpha + sigma)  ``eps - x0``                    rectified flow; finite at both ends
"angle"     hypot             atan2(sigma, alpha)    ``(alpha eps - sigma x0)/hypot``  v; finite at both ends
"sigma"     alpha             sigma/alpha            ``eps``                         EDM, DPM-Solver; needs alpha > 0
"signal"    sigma             alpha/sigma            ``x0``                          DPM-Solver++; needs sigma > 0
==========  ================  =====================  ==============================  ===============================
"""

from typing import Literal, NamedTuple, TypeAlias

import jax.numpy as jnp

from scorekit.typing import Array, ArrayLike

CoordinateName: TypeAlias = Literal["flow", "angle", "sigma", "signal"]
COORDINATES: tuple[CoordinateName, ...] = ("flow", "angle", "sigma", "signal")
FiniteAtZeroNoise: TypeAlias = Literal["flow", "angle", "sigma"]
"""The coordinates in which a step may end at ``sigma = 0``."""


class Frame(NamedTuple):
    """A coordinate at one noise level: ``slope = signal x0 + noise eps``.

    Attributes:
      scale: what a state is divided by.
      clock: the variable of integration.
      signal: weight of x0 in the slope.
      noise: weight of eps in the slope.
    """

    scale: Array
    clock: Array
    signal: Array
    noise: Array


def frame(name: CoordinateName, alpha: ArrayLike, sigma: ArrayLike) -> Frame:
    """The coordinate at one noise level ``(alpha, sigma)``.

    Args:
      name: name of the coordinate, a row of the table above.
      alpha: signal scales, any shape.
      sigma: noise scales, the same shape.

    >>> frame("sigma", 0.5, 1.0).clock.item()
    2.0
    """
    alpha, sigma = jnp.asarray(alpha), jnp.asarray(sigma)
    zero, one = jnp.zeros_like(alpha), jnp.ones_like(alpha)
    match name:
        case "flow":
            return Frame(alpha + sigma, sigma / (alpha + sigma), -one, one)
        case "angle":
            radius = jnp.hypot(alpha, sigma)
            return Frame(radius, jnp.arctan2(sigma, alpha), -sigma / radius, alpha / radius)
        case "sigma":
            return Frame(alpha, sigma / alpha, zero, one)
        case "signal":
            return Frame(sigma, alpha / sigma, one, zero)
    raise ValueError(f"coordinate must be one of {COORDINATES}, got {name!r}")


def log_snr_at(name: CoordinateName, clock: ArrayLike) -> Array:
    """The log-SNR at which the clock of a coordinate has this value.

    Args:
      name: name of the coordinate.
      clock: values of its clock, any shape.

    >>> log_snr_at("flow", 0.5).item()
    0.0
    """
    clock = jnp.asarray(clock)
    match name:
        case "flow":
            return 2.0 * (jnp.log1p(-clock) - jnp.log(clock))
        case "angle":
            return -2.0 * jnp.log(jnp.tan(clock))
        case "sigma":
            return -2.0 * jnp.log(clock)
        case "signal":
            return 2.0 * jnp.log(clock)
    raise ValueError(f"coordinate must be one of {COORDINATES}, got {name!r}")
