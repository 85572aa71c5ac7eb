"""Invertible networks, whose density is exact: couplings, and autoregressive flows.

A flow maps data x to latents z of the same shape, which are standard normal, and back::

    log p(x) = log N(z; 0, I) + log |det dz/dx|

``flow.apply(params, x)`` is z with the logarithm of the determinant, ``method="inverse"`` the data of latents, and
``method="log_prob"`` the density. Training minimises ``-log_prob``. The identity, up to a rotation and a scale for each
channel, is the flow at initialisation; :class:`CouplingFlow` begins with latents of mean 0 for the batch that it is
initialised with, and of variance 1 before the last rotation of each level.

>>> import jax
>>> import jax.numpy as jnp
>>> x = jax.random.normal(jax.random.key(0), (5, 8, 8, 1))
>>> flow = CouplingFlow(features=8, transform="spline")
>>> params = jax.jit(flow.init)(jax.random.key(1), x)
>>> z, log_det = flow.apply(params, x)
>>> y, _ = flow.apply(params, z, method="inverse")
>>> z.shape, flow.apply(params, x, method="log_prob").shape, bool(jnp.allclose(x, y, atol=1e-4))
((5, 8, 8, 1), (5,), True)
>>> masked: Flow = AutoregressiveFlow(channels=8)
>>> masked.init_with_output(jax.random.key(0), x[:, 0, :, 0])[0][0].shape
(5, 8)
"""

from scorekit.networks.flows._steps import Flow
from scorekit.networks.flows.autoregressive_flow import AutoregressiveFlow
from scorekit.networks.flows.coupling_flow import CouplingFlow

__all__ = ["AutoregressiveFlow", "CouplingFlow", "Flow"]
