"""A learned log-variance of the loss at each noise level."""

import flax.linen as nn
import jax.numpy as jnp

from scorekit.arguments import PositiveFloat, PositiveInt
from scorekit.networks._magnitude import MPConv, MPFourier
from scorekit.networks._module import Module
from scorekit.typing import Array, ArrayLike

__all__ = ["LogVariance"]


class LogVariance(Module):
    """The log-variance u of the loss at a noise level, for :func:`scorekit.losses.uncertainty_weighted`.

    ``u(c) = w . sqrt(2) cos(f c + p) / sqrt(features)``: one normalised dense layer on random Fourier features. Trained
    with the network, it weights all noise levels equally; sampling does not use it.

    Attributes:
      features: number of Fourier features.
      noise_scale: factor of the noise level; the default is for ``log_snr / 4``. With 1, it is called with
        ``log(sigma) / 4``, as the published ones.

    >>> import jax
    >>> head, noise = LogVariance(), jnp.zeros(3)
    >>> head.apply(head.init(jax.random.key(0), noise), noise).shape
    (3,)

    Source: Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models"
    (https://arxiv.org/abs/2312.02696).
    """

    features: PositiveInt = 128
    noise_scale: PositiveFloat = 0.5

    @nn.compact
    def __call__(self, noise: ArrayLike) -> Array:
        """u in float32, of the shape of ``noise``, of order one."""
        h = MPFourier(self.features, name="fourier")(self.noise_scale * jnp.asarray(noise, jnp.float32))
        return MPConv(1, name="dense")(h)[..., 0]
