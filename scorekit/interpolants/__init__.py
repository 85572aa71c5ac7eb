"""Diffusion bridges and couplings: from one data distribution to another, and which noise goes with which example.

A *bridge* of a noise schedule is its forward process, pinned at x1 (I2SB, DDBM), with t = 0 at x0 and t = 1 at x1. It
ends exactly in the marginals of its data. :func:`bridge_noise` takes the place of the noise in every loss, and every
solver of the reverse SDE starts from x1 in place of noise. Which x1, or which noise, goes with which example of a batch
is the subject of :mod:`~scorekit.interpolants.couplings`.

Between pairs, give the network x1 as a condition: then samples follow ``p(x0 | x1)``. Without it their marginals are
right, their pairs in general not.
"""

from scorekit.interpolants import couplings
from scorekit.interpolants.bridges import bridge_noise, brownian_schedule

__all__ = ["bridge_noise", "brownian_schedule", "couplings"]
