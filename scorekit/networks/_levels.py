"""The loops over the resolutions of U-Nets and autoencoders, and the checks of what has to fit them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias

import jax.numpy as jnp

from scorekit.checks import check_floating
from scorekit.networks._module import Module
from scorekit.networks._spatial import check_signal_or_image
from scorekit.typing import Array

Block: TypeAlias = Callable[[Array, int, int], Array]
"""``(h, level, i) -> h``: block i of a level."""
Resample: TypeAlias = Callable[[Array, int], Array]
"""``(h, level) -> h``: to a level from the one above it, or the other way."""


def descend(h: Array, levels: int, blocks: int, block: Block, halve: Resample) -> tuple[Array, list[Array]]:
    """An encoder: features of the lowest level, and features after each step, of which ``h`` is the first."""
    features = [h]
    for level in range(levels):
        if level:
            h = halve(h, level)
            features.append(h)
        for i in range(blocks):
            h = block(h, level, i)
            features.append(h)
    return h, features


def ascend(h: Array, levels: int, blocks: int, block: Block, double: Resample) -> Array:
    """A decoder, from the lowest level to the first."""
    for level in reversed(range(levels)):
        for i in range(blocks):
            h = block(h, level, i)
        if level:
            h = double(h, level)
    return h


def concatenated(h: Array, skip: Array) -> Array:
    """The features of a decoder and of a skip connection."""
    return jnp.concatenate([h, skip], axis=-1)


def u_net(
    h: Array,
    levels: int,
    blocks: int,
    block: Callable[[Array, str, int, int], Array],
    middle: Callable[[Array], Array],
    resample: Callable[[Array, str, int], Array],
    join: Callable[[Array, Array], Array] = concatenated,
) -> Array:
    """Encoder, middle and decoder, of which each block is given the features of one step of the encoder.

    A part is "down" or "up", ``blocks`` of the encoder; the decoder has one block more per level. ``resample`` halves
    the resolution to a level, or doubles it from it.
    """
    h, skips = descend(
        h, levels, blocks, lambda h, *at: block(h, "down", *at), lambda h, level: resample(h, "down", level)
    )
    up = lambda h, *at: block(join(h, skips.pop()), "up", *at)
    return ascend(middle(h), levels, blocks + 1, up, lambda h, level: resample(h, "up", level))


def check_heights(x: Array, patch: int, factors: Sequence[int], attention_resolutions: Sequence[int]) -> list[int]:
    """The heights of the levels; raises ``ValueError`` unless ``x`` can be divided and attention is at some of them."""
    levels, total = len(factors) + 1, patch * math.prod(factors)
    if any(side % total for side in x.shape[1:-1]):
        raise ValueError(
            f"x must have a {'height and width' if x.ndim == 4 else 'length'} divisible by {total} for "
            f"{levels} levels, got {' x '.join(map(str, x.shape[1:-1]))}"
        )
    heights = [x.shape[1] // patch // math.prod(factors[:i]) for i in range(levels)]
    if not set(attention_resolutions) <= set(heights):
        raise ValueError(
            f"attention_resolutions must be among the heights {heights} of the levels, "
            f"got {tuple(attention_resolutions)}"
        )
    return heights


def check_attention_levels(attention_levels: Sequence[int], levels: int, name: str = "attention_levels") -> None:
    """Raises ``ValueError`` for attention at a level that does not exist."""
    if not set(attention_levels) <= set(range(levels)):
        raise ValueError(f"{name} must be among the levels 0 to {levels - 1}, got {tuple(attention_levels)}")


def check_sides(sides: tuple[int, ...], stride: int, name: str = "x") -> None:
    """Raises ``ValueError`` unless the stride divides all sides of the array of this name."""
    if any(side % stride for side in sides):
        raise ValueError(f"{name} must have sides divisible by the stride {stride}, got {sides}")


class LatentNetwork(Module):
    """What autoencoders share: a subclass has ``data_channels``, ``latent_channels``, ``stride``, ``encode`` and
    ``decode``."""

    stride: ClassVar[Any]

    def __call__(self, x: Array) -> Array:
        """The reconstruction ``decode(encode(x))``, without quantisation."""
        return self.decode(self.encode(x))

    def latent_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape ``(H / stride, W / stride, latent_channels)`` or ``(L / stride, latent_channels)`` of a latent.

        Args:
          shape: shape of one example, ``(H, W, C)`` or ``(L, C)``; the stride divides the sides.
        """
        sides = tuple(shape)[:-1]
        check_sides(sides, self.stride)
        return (*(side // self.stride for side in sides), self.latent_channels)

    def _checked_data(self, x: Array) -> Array:
        """Data as float32; raises ``ValueError`` for what this network does not take."""
        check_signal_or_image(x)
        if x.shape[-1] != self.data_channels:
            raise ValueError(f"x must have {self.data_channels} channels, got shape {x.shape}")
        self.latent_shape(x.shape[1:])
        return jnp.asarray(x, jnp.float32)

    def _checked_latent(self, z: Array) -> Array:
        """A latent as float32; raises ``ValueError`` for one of another network."""
        check_floating(z=z)
        if z.ndim not in (3, 4) or z.shape[-1] != self.latent_channels:
            raise ValueError(f"z must have shape (B, ..., {self.latent_channels}) with 1 or 2 sides, got {z.shape}")
        return jnp.asarray(z, jnp.float32)
