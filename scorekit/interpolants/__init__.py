"""Stochastic interpolants and diffusion bridges: from one data distribution to another, paired or not.

Two constructions, with t = 0 at x0 and t = 1 at x1, both of which end exactly in the marginals of their data:

* A *bridge* of a noise schedule is its forward process, pinned at x1 (I2SB, DDBM). :func:`bridge_noise` takes the place
  of the noise in every loss, and every solver of the reverse SDE starts from x1 in place of noise.
* An *interpolant* ``x_t = alpha x0 + beta x1 + gamma z`` has any three scales. Its :func:`velocity` belongs to an ODE
  that every deterministic solver integrates, and :class:`BridgeAncestral` adds any amount of noise.

Which x1, or which noise, goes with which example of a batch is the subject of :mod:`~scorekit.interpolants.couplings`.

Between pairs, give the network x1 as a condition: then samples follow ``p(x0 | x1)``. Without it their marginals are
right, their pairs in general not.
"""

from scorekit.interpolants import couplings
from scorekit.interpolants.bridges import bridge_noise, brownian_schedule
from scorekit.interpolants.denoisers import Ends, ends_denoiser, exact_ends, paired_denoiser, velocity_denoiser
from scorekit.interpolants.losses import InterpolantTarget, interpolant_loss, interpolant_loss_at
from scorekit.interpolants.scales import Interpolant, Linear, Trigonometric, interpolate, linear, trigonometric
from scorekit.interpolants.solvers import BridgeAncestral
from scorekit.interpolants.velocities import score, velocity

__all__ = [
    "BridgeAncestral",
    "Ends",
    "Interpolant",
    "InterpolantTarget",
    "Linear",
    "Trigonometric",
    "bridge_noise",
    "brownian_schedule",
    "couplings",
    "ends_denoiser",
    "exact_ends",
    "interpolant_loss",
    "interpolant_loss_at",
    "interpolate",
    "linear",
    "paired_denoiser",
    "score",
    "trigonometric",
    "velocity",
    "velocity_denoiser",
]
