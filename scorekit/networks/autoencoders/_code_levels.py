"""Latents with a hierarchy of codes: levels at the same rate quantise residuals, coarser ones have a lower rate."""

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from scorekit.checks import check_classes
from scorekit.networks._levels import LatentNetwork, check_sides
from scorekit.networks.codebooks import residual_quantise
from scorekit.numerics.codes import as_array, in_range
from scorekit.typing import Array


class CodeLevel(NamedTuple):
    """One level of the codes of a latent.

    Attributes:
      values: the latent of this level and all coarser ones ``(B, ..., D)``, with a straight-through gradient.
      target: the vectors that this level quantises, ``(B, ... / level, D)``.
      index: their indices in the codebook of the level, int32 ``(B, ... / level)``.
      codebook: the loss of its codes, see :class:`~scorekit.networks.Quantised`.
      commitment: the loss that commits the vectors to codes.

    >>> CodeLevel._fields
    ('values', 'target', 'index', 'codebook', 'commitment')
    """

    values: Array
    target: Array
    index: Array
    codebook: Array
    commitment: Array


class CodedNetwork(LatentNetwork):
    """An autoencoder whose latents may have ``levels`` of ``codes``, see :class:`~scorekit.networks.Autoencoder`."""

    codes: ClassVar[Any]
    levels: ClassVar[Any]

    def latent_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """As of any autoencoder; the stride of the coarsest level divides the sides, too.

        Args:
          shape: shape of one example of the data.
        """
        levels = tuple(self.levels)
        if levels[-1] != 1 or any(a % b for a, b in itertools.pairwise(levels)):
            raise ValueError(f"levels must each be a multiple of the next one and end with 1, got {levels}")
        if self.codes is None and levels != (1,):
            raise ValueError(f"levels must be (1,) without codes, got {levels}")
        check_sides(tuple(shape)[:-1], self.stride * levels[0])
        return super().latent_shape(shape)

    def quantise(self, z: Array) -> Array:
        """Replaces each latent vector by its nearest code, or by the sum of its levels; NaN by NaN.

        The identity without a codebook.

        Args:
          z: latents ``(B, *latent_shape)``.
        """
        return z if self.codes is None else self._sum([level.index for level in self.code_levels(z)])

    def code_levels(self, z: Array) -> tuple[CodeLevel, ...]:
        """The codes of a latent, coarsest level first, with the losses that train them.

        Args:
          z: latents ``(B, *latent_shape)``.
        """
        z = self._checked_latent(z)
        check_sides(z.shape[1:-1], self.levels[0], "z")
        found, total = [], None
        for books, down, up in self._scales():
            x = z if down is None else down(z if total is None else jnp.concatenate([z, total], -1))
            level = residual_quantise(x, books)
            targets = jnp.concatenate([x[None], x - level.values[:-1]])
            sums = [_added(up, values, total) for values in level.values]
            found += map(CodeLevel, sums, targets, level.index, level.codebook, level.commitment)
            total = sums[-1]
        return tuple(found)

    def from_codes(self, index: Sequence[Array]) -> Array:
        """The latent of the codes of the first levels, coarsest first: ``(B, ..., latent_channels)``.

        Args:
          index: integers ``(B, ... / level)`` of each of these levels.
        """
        index, levels = [as_array(each, "index") for each in index], tuple(self.levels)
        if self.codes is None or not 1 <= len(index) <= len(levels):
            raise ValueError(
                f"index must have from 1 to {len(levels)} levels of a network with codes, got {len(index)}"
            )
        pairs = zip(index, levels, strict=False)
        sides = [(*each.shape[:1], *(side * level for side in each.shape[1:])) for each, level in pairs]
        if len(set(sides)) > 1 or len(sides[0]) < 2:
            allowed = f"(B, ...) with sides in the ratios of levels = {levels}"
            raise ValueError(f"index must have shapes {allowed}, for latents {sides}")
        for each in index:
            check_classes(self.codes, index=each)
        return self._sum([in_range(each, self.codes) for each in index])

    def _sum(self, index: Sequence[Array]) -> Array:
        """As :meth:`from_codes`, not checked."""
        total, start = None, 0
        for books, _, up in self._scales():
            pairs = zip(index[start:], books, strict=False)
            vectors = [jnp.take(book, k, axis=0, mode="fill") for k, book in pairs]  # NaN for the index K
            start += len(vectors)
            if vectors:
                total = _added(up, functools.reduce(operator.add, vectors), total)
        assert total is not None
        return total

    def _scales(self) -> Iterable[tuple[Array, Callable | None, Callable | None]]:
        """Of each run of equal levels: codebooks, a network from the latent to their vectors, and one back; None is the
        identity."""
        raise NotImplementedError


def _added(up: Callable | None, values: Array, total: Array | None) -> Array:
    """The values of a run of levels at the rate of the latent, added to the values of the coarser levels."""
    values = values if up is None else up(values)
    return values if total is None else total + values
