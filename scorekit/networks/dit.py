"""A diffusion transformer for images and signals, sized by its arguments."""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Positive, PositiveInt
from scorekit.networks._module import Conditioned, Published, check_widths, modulated, scanned
from scorekit.networks._spatial import DType, add_map, check_signal_or_image, depth_to_space, space_to_depth
from scorekit.networks._tokens import Context, TokenAttention, embed_tokens
from scorekit.networks.attention import Attention, attend
from scorekit.networks.embeddings import Conditioning, timestep_features
from scorekit.typing import Array, ArrayLike

__all__ = ["PRESETS", "DiT", "positions"]

_FREQUENCY_FEATURES = 256  # features of the sinusoidal embedding of the noise level

_SIZES = {
    "S": {"depth": 12, "width": 384, "heads": 6},
    "B": {"depth": 12, "width": 768, "heads": 12},
    "L": {"depth": 24, "width": 1024, "heads": 16},
    "XL": {"depth": 28, "width": 1152, "heads": 16},
}
PRESETS: dict[str, dict[str, Any]] = {
    f"DiT-{size}/{patch}": {"patch": patch, **sizes, "num_classes": 1000, "noise_scale": 1.0, "learned_variance": True}
    for size, sizes in _SIZES.items()
    for patch in (2, 4, 8)
}
"""The published networks by name, for latents of 4 channels, called with a timestep in [0, 1000)."""


class DiT(Conditioned, Published):
    """Diffusion transformer (DiT) with adaptive layer norm that starts at zero (adaLN-Zero).

    Patches of ``x`` are projected to tokens ``h``, to which fixed sines and cosines of their position are added. With
    ``c`` the embedding of noise level, class and vector, each of ``depth`` blocks computes::

        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = dense0(silu(c))
        h = h + gate_1 attention(norm(h) (1 + scale_1) + shift_1)
        h = h + gate_2 mlp(norm(h) (1 + scale_2) + shift_2)

    and the output is ``dense0(norm(h) (1 + scale) + shift)``, unfolded to the shape of ``x``. ``dense0`` starts at
    zero: at initialisation every block is the identity. Layer norms have no parameters, the MLP has one hidden layer
    with the tanh approximation of GELU. The other projections start as in the paper (Xavier, uniform).

    The blocks run in one scan over their stacked parameters ``blocks``, whose leading axis is the depth: compile time
    does not depend on the depth, and with ``remat`` memory depends on it much less. Depth is also the leading axis of
    the outputs of the layers in the blocks (:func:`scorekit.networks.features`). Parameters of ``blocks`` that
    are split over devices are gathered where a block is computed, within ``remat``: one block at a time, again in the
    backward pass (:func:`scorekit.training.gathered`).

    The noise level is embedded by sines and cosines of angular frequencies from ``noise_scale`` down to
    ``noise_scale / 10,000``; the published checkpoints are called with a timestep in [0, 1000).

    Conditioning tokens, such as the states of a text encoder, are attended to between self-attention and MLP, as in
    PixArt (Chen et al. 2023, arXiv:2310.00426): ``h = h + dense0(cross_attention(norm(h), tokens))``, behind a layer
    norm of the tokens; a learned null token replaces absent tokens. ``attention`` does not affect this cross-attention.

    The ``learned_variance`` of published networks are numbers in [-1, 1] that interpolate the log-variance of an
    ancestral step; :func:`scorekit.io.load` takes the prediction alone. Classifier-free guidance of the published
    samples acts on the first 3 of the 4 channels of the prediction only (see ``docs/weights.md``).

    Attributes:
      patch: side of the patches.
      depth: number of blocks.
      width: features of a token; divisible by ``heads``, and by 4 for images, 2 for signals.
      heads: number of attention heads.
      mlp_ratio: hidden features of the MLP over ``width``.
      noise_scale: factor of the noise level; the default is for ``log_snr / 4``, 1 for the argument of the published
        network.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).
      attention: ``"xla"`` or ``"fused"``, see :func:`scorekit.networks.attention.attend`.
      learned_variance: whether the output has twice the channels of ``x``: the prediction, then a predicted variance.
      divergence: whether further channels, as many as of ``x``, are a divergence head
        (:mod:`scorekit.flow_maps.divergence`).
      token_size: features of a conditioning token, of which there may be any number; None: no tokens.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      map_shape: shape (H, W, C) or (T, C) of a conditioning image or dense map, of any size; None: no map.
      dtype: dtype of the computation.

    Source: Peebles & Xie 2023, "Scalable diffusion models with transformers" (https://arxiv.org/abs/2212.09748).
    """

    patch: PositiveInt = 2
    depth: PositiveInt = 6
    width: PositiveInt = 128
    heads: PositiveInt = 4
    mlp_ratio: Positive[float] = 4.0
    noise_scale: Positive[float] = 32.0
    remat: bool = False
    attention: Attention = "xla"
    learned_variance: bool = False
    divergence: bool = False
    token_size: PositiveInt | None = None
    presets: ClassVar = PRESETS
    spatial_axes: ClassVar[tuple[int, ...]] = (1, 2)
    gathers: ClassVar[tuple[str, ...]] = ("blocks",)

    @nn.compact
    def __call__(
        self,
        x: Array,
        noise: ArrayLike,
        labels: ArrayLike | None = None,
        vector: Any = None,
        dense_map: Any = None,
        scalars: ArrayLike | None = None,
        tokens: Any = None,
    ) -> Array:
        """The output, float32 and shaped like ``x``, with ``learned_variance`` or ``divergence`` of more channels.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``; the patch divides their sides.
          noise: noise level of order one, such as ``log_snr / 4``, scalar or ``(B,)``.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`Masked`, or None.
          scalars: further scalar conditions of order one, ``(B,)`` or ``(B, K)``, such as the jump of a flow map, or
            None.
          tokens: ``(B, T, token_size)``, a :class:`Masked` with booleans ``(B, T)`` of the tokens that are present, or
            None.
        """
        self._check_sizes(x)
        x, batch, rank = jnp.asarray(x, jnp.float32), x.shape[0], x.ndim - 2
        sizes = self.num_classes, self.vector_size
        embed = lambda noise: timestep_features(self.noise_scale * noise, _FREQUENCY_FEATURES)
        conditioning = Conditioning(self.width, *sizes, noise_features=embed, name="conditioning")
        condition = conditioning(noise, labels, batch, vector, scalars)
        x = space_to_depth(x, (self.patch,) * rank)
        h = _dense(self.width, self.dtype, "patches")(x)
        h = add_map(h, dense_map, self.map_shape, self.dtype)
        h = h.reshape(batch, -1, self.width) + positions(x.shape[1:-1], self.width)
        context = embed_tokens(tokens, self.token_size, batch)
        inputs = (condition,) if context is None else (condition, context)
        h = self._run_blocks(h.astype(self.dtype), *inputs)
        shift, scale = _modulation(condition, 2, self.width, "output_modulation")
        outputs = x.shape[-1] * (2 if self.learned_variance else 1)
        h, heads = modulated(h, shift, scale), [("output", outputs)]
        if self.divergence:
            heads.append(("divergence", x.shape[-1]))
        found = [nn.Dense(size, kernel_init=nn.initializers.zeros, name=name)(h) for name, size in heads]
        unfold = lambda h: depth_to_space(h.reshape(*x.shape[:-1], -1), (self.patch,) * rank)
        return jnp.concatenate([unfold(head) for head in found], axis=-1)

    def _run_blocks(self, h: Array, *inputs: Any) -> Array:
        """All blocks on tokens ``(B, T, width)``, in one scan over their stacked parameters."""
        blocks = scanned(_Block, self.depth, self.remat, self.is_initializing())
        return blocks(*self._block_sizes(), name="blocks")(h, *inputs)[0]

    def _block_sizes(self) -> tuple[Any, ...]:
        return self.width, self.heads, int(self.mlp_ratio * self.width), self.dtype, self.attention

    def _check_sizes(self, x: Array) -> None:
        check_signal_or_image(x)
        if any(side % self.patch for side in x.shape[1:-1]):
            sides = " x ".join(map(str, x.shape[1:-1]))
            raise ValueError(f"patch must divide the sides of x, {sides}, got {self.patch}")
        check_widths(self.width, self.heads, 2 * (x.ndim - 2), self.mlp_ratio)


class _Block(nn.Module):
    """One block of :class:`DiT` on ``(B, T, width)`` at ``silu(c)`` and the tokens of a condition, a scan's body."""

    width: int
    heads: int
    hidden: int
    dtype: DType = jnp.float32
    attention: Attention = "xla"

    @nn.compact
    def __call__(self, h: Array, condition: Array, context: Context | None = None) -> tuple[Array, None]:
        modulation = _modulation(condition, 6, self.width, "modulation")
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = modulation
        y = _dense(3 * self.width, self.dtype, "qkv")(modulated(h, shift_1, scale_1))
        y = y.reshape(*h.shape[:2], 3, self.heads, self.width // self.heads)
        y = attend(y[:, :, 0], y[:, :, 1], y[:, :, 2], self.attention).reshape(h.shape)
        h = h + (gate_1 * _dense(self.width, self.dtype, "proj")(y)).astype(h.dtype)
        if context is not None:
            cross_attention = TokenAttention(self.heads, self.dtype, name="tokens")
            h = h + cross_attention(modulated(h, jnp.zeros(()), jnp.zeros(())), context).astype(h.dtype)
        y = _dense(self.hidden, self.dtype, "fc1")(modulated(h, shift_2, scale_2))
        y = _dense(self.width, self.dtype, "fc2")(nn.gelu(y, approximate=True))
        return h + (gate_2 * y).astype(h.dtype), None


def positions(sides: tuple[int, ...], width: int) -> np.ndarray:
    """Sines and cosines of the position of every token.

    ``[sin(w_k p), cos(w_k p)]`` with ``w_k = 10,000 ** (-2 k r / width)`` for each of r spatial axes, of which the last
    comes first, as in the published checkpoints. The result is float32 ``(tokens, width)``.

    Args:
      sides: tokens along each spatial axis.
      width: features; divisible by twice the number of axes.

    >>> positions((2,), 4).round(2)
    array([[0.  , 0.  , 1.  , 1.  ],
           [0.84, 0.01, 0.54, 1.  ]], dtype=float32)
    """
    half = width // (2 * len(sides))
    frequencies = 10_000.0 ** (-np.arange(half) / half)
    angles = [axis.reshape(-1, 1) * frequencies for axis in np.indices(sides)[::-1]]
    return np.concatenate([wave(a) for a in angles for wave in (np.sin, np.cos)], axis=1).astype(np.float32)


def _dense(features: int, dtype: DType, name: str) -> nn.Dense:
    return nn.Dense(features, dtype=dtype, kernel_init=nn.initializers.xavier_uniform(), name=name)


def _modulation(condition: Array, count: int, width: int, name: str) -> list[Array]:
    """A dense layer that starts at zero, to ``count`` arrays ``(B, 1, width)``; for use in a compact method."""
    dense = nn.Dense(count * width, kernel_init=nn.initializers.zeros, name=name)
    return jnp.split(dense(condition)[:, None], count, axis=-1)
