"""The U-Net of "Denoising diffusion probabilistic models"."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from scorekit.checks import check_between, check_count, check_floating, check_positive
from scorekit.networks._conditions import as_masked
from scorekit.networks._ddpm_blocks import (
    Attention,
    ResidualBlock,
    check_sides,
    check_widths,
    conv,
    downsample,
    group_norm,
    upsample,
)
from scorekit.networks._spatial import DType, embed_map
from scorekit.networks.embeddings import Conditioning
from scorekit.typing import Array, ArrayLike

__all__ = ["PRESETS", "DDPMUNet"]

PRESETS: dict[str, dict[str, Any]] = {
    "cifar10": {"multipliers": (1, 2, 2, 2), "attention_levels": (1,), "dropout": 0.1},
    "celebahq-256": {"multipliers": (1, 1, 2, 2, 4, 4), "attention_levels": (4,)},
    "lsun-256": {"multipliers": (1, 1, 2, 2, 4, 4), "attention_levels": (4,)},
}
"""Published networks: where they differ. All have attention at 16 x 16, and timesteps from 0 to 999 as noise levels."""


class DDPMUNet(nn.Module):
    """The U-Net of DDPM, for images: residual blocks shifted by the noise level, and few attention blocks.

    The embedding of noise level, class and vector is added to the features of each residual block between its two
    convolutions. The resolution halves by strided convolutions
    that are padded at the far ends alone, and doubles by nearest-neighbour repetition before a convolution. Every
    output of the encoder's blocks and resampling is concatenated to the input of a block of the decoder, which has one
    block more per level. Attention has one head.

    The last convolution of a residual block, the last projection of attention and the output start at zero, where the
    paper's code starts with a variance of 1e-10: at initialisation the output is exactly zero.

    The noise level is embedded by sines and cosines of angular frequencies from ``noise_scale`` down to
    ``noise_scale / 10,000``. With ``noise_scale=1``, as in the presets, the network is called with the timestep of a
    published checkpoint, in [0, 1000).

    A dense map is resized to ``x``, convolved and added to the first convolution, a learned null token where it is
    absent.

    Parameters, conditioning, norms, softmax and output are float32; ``dtype`` is that of the convolutions and of
    attention.

    Attributes:
      channels: channels of the first level; even, and at least 4.
      multipliers: channels of each level as multiples of ``channels``; level i has size / 2^i.
      blocks: residual blocks per level of the encoder; the decoder has one more.
      attention_levels: levels, from 0, where attention follows each residual block; it is always in the middle.
      groups: groups of the norms; divides the channels of every level.
      dropout: rate of dropout in the residual blocks, active where a ``dropout`` key is given.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      map_shape: shape (H, W, C) of a conditioning image or dense map, of any size; None: no map.
      dtype: dtype of the computation.
      noise_scale: factor of the noise level; the default is for ``log_snr / 4``.
      remat: recompute the activations of residual blocks and attention in the backward pass instead of storing them
        (rematerialisation).

    >>> import jax
    >>> network = DDPMUNet(channels=4, groups=2, num_classes=10)
    >>> x = jnp.ones((2, 8, 8, 1))
    >>> params = jax.jit(network.init)(jax.random.key(0), x, jnp.zeros(2))
    >>> jax.jit(network.apply)(params, x, jnp.zeros(2), jnp.array([3, 10])).shape
    (2, 8, 8, 1)
    >>> DDPMUNet.preset("cifar10", dropout=0.0).multipliers
    (1, 2, 2, 2)

    Source: Ho et al. 2020, "Denoising diffusion probabilistic models" (https://arxiv.org/abs/2006.11239).
    """

    channels: int = 32
    multipliers: Sequence[int] = (1, 2)
    blocks: int = 1
    attention_levels: Sequence[int] = ()
    groups: int = 8
    dropout: float = 0.0
    num_classes: int | None = None
    vector_size: int | None = None
    map_shape: tuple[int, ...] | None = None
    dtype: DType = jnp.float32
    noise_scale: float = 32.0
    remat: bool = False
    spatial_axes: ClassVar[tuple[int, ...]] = (2,)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """A published network: one of :data:`PRESETS`, with attributes changed.

        Args:
          name: of the network.
          **changes: attributes with other values.

        Returns:
          The network, without parameters.

        Raises:
          ValueError: for another name.
        """
        if name not in PRESETS:
            raise ValueError(f"name must be one of {', '.join(PRESETS)}, got {name!r}")
        of_all = {"channels": 128, "blocks": 2, "groups": 32, "noise_scale": 1.0}
        return cls(**{**of_all, **PRESETS[name], **changes})

    @nn.compact
    def __call__(
        self, x: Array, noise: ArrayLike, labels: ArrayLike | None = None, vector: Any = None, dense_map: Any = None
    ) -> Array:
        """Evaluates the network. None for a condition means that it is absent for all examples.

        Args:
          x: images ``(B, H, W, C)``, their sides divisible by ``2 ** (levels - 1)``.
          noise: noise level, scalar or ``(B,)``; of order one (for example ``log_snr / 4``, clipped), times
            ``32 / noise_scale``.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`~scorekit.networks.conditioning.Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`~scorekit.networks.conditioning.Masked`, or None.

        Returns:
          float32, shaped like ``x``.

        Raises:
          ValueError: for an input or condition of the wrong shape or dtype, or an attribute out of range.
        """
        self._check_sizes(x)
        x, batch, side = jnp.asarray(x, jnp.float32), x.shape[0], (3, 3)
        embed = lambda noise: _timestep_features(self.noise_scale * noise, self.channels)
        conditioning = Conditioning(
            4 * self.channels, self.num_classes, self.vector_size, noise_features=embed, name="conditioning"
        )
        condition = conditioning(noise, labels, batch, vector)
        given = as_masked("dense_map", dense_map, self.map_shape, batch)
        h = conv(self.channels, side, self.dtype, "input")(x)
        if given is not None:
            h = h + embed_map(self.channels, self.dtype, given, x.shape[1:-1])
        widths = [self.channels * m for m in self.multipliers]
        skips = [h]
        for level, width in enumerate(widths):
            if level:
                h = downsample(h, self.dtype, f"down_{level}")
                skips.append(h)
            for i in range(self.blocks):
                h = self._stage(h, condition, width, level in self.attention_levels, f"down_{level}_{i}")
                skips.append(h)
        h = self._stage(h, condition, widths[-1], True, "middle_0")
        h = self._stage(h, condition, widths[-1], False, "middle_1")
        for level, width in reversed(list(enumerate(widths))):
            for i in range(self.blocks + 1):
                h = jnp.concatenate([h, skips.pop().astype(h.dtype)], axis=-1)
                h = self._stage(h, condition, width, level in self.attention_levels, f"up_{level}_{i}")
            if level:
                h = upsample(h, self.dtype, f"up_{level}")
        h = nn.silu(group_norm(h, self.groups, "norm"))
        return conv(x.shape[-1], side, jnp.float32, "output", 0.0)(h)

    def _stage(self, h: Array, condition: Array, width: int, attention: bool, name: str) -> Array:
        """A residual block, and attention where it is asked for."""
        block, attend = (nn.remat(ResidualBlock), nn.remat(Attention)) if self.remat else (ResidualBlock, Attention)
        h = block(width, self.groups, self.dtype, self.dropout, 0.0, name=name)(h, condition)
        return attend(self.groups, self.dtype, 0.0, name=f"{name}_attention")(h) if attention else h

    def _check_sizes(self, x: Array) -> None:
        """Raises ``ValueError`` for an attribute out of range, or that does not fit ``x``."""
        check_floating(x=x)
        if x.ndim != 4:
            raise ValueError(f"x must have shape (B, H, W, C), got {x.shape}")
        check_widths(self.channels, self.multipliers, self.blocks, self.groups)
        check_between(0, 1, dropout=self.dropout)
        check_positive(noise_scale=self.noise_scale)
        levels = len(self.multipliers)
        for level in self.attention_levels:
            check_count(0, attention_levels=level)
        if not set(self.attention_levels) <= set(range(levels)):
            raise ValueError(
                f"attention_levels must be among the levels 0 to {levels - 1}, got {tuple(self.attention_levels)}"
            )
        if self.channels % 2 or self.channels < 4:
            raise ValueError(f"channels must be even and at least 4, got {self.channels}")
        check_sides(x.shape[1:-1], 2 ** (levels - 1))


def _timestep_features(timestep: Array, features: int) -> Array:
    """``[sin(w_k t), cos(w_k t)]`` with ``w_k = 10,000 ** (-k / (features / 2 - 1))``, from 1 down to exactly 1e-4.

    Differs from :func:`scorekit.networks.embeddings.timestep_features` in order and spacing.

    >>> _timestep_features(jnp.zeros(1), 4)
    Array([[0., 0., 1., 1.]], dtype=float32)
    """
    half = features // 2
    frequencies = np.float32(10_000.0 ** (-np.arange(half) / (half - 1)))
    angles = jnp.asarray(timestep, jnp.float32)[..., None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
