"""The base classes of the networks, whose attributes are checked when one is made, and parts of transformers."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self, TypeAlias

import flax.linen as nn
import jax.numpy as jnp

from scorekit.arguments import Count, Each, PositiveInt, checked
from scorekit.numerics.meshes import gathered
from scorekit.typing import Array, ArrayLike

Levels: TypeAlias = Annotated[Sequence[int], Each(Count(0))]
"""Levels of a network, from 0."""
Sizes: TypeAlias = Annotated[Sequence[int], Each(Count())]
"""Integers >= 1, or none."""
SomeSizes: TypeAlias = Annotated[Sequence[int], Each(Count(), least=1)]
"""One integer >= 1 or more."""
Shape: TypeAlias = Annotated[tuple[int, ...], Each(Count())]
"""The shape of one example."""


class Module(nn.Module):
    """A Flax module whose attributes are checked against the bounds in their annotations, also when it is cloned."""

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        cls.__init__ = checked(cls.__init__)


class Conditioned(Module, kw_only=True):
    """A module with a class, a vector and a dense map as conditions."""

    num_classes: PositiveInt | None = None
    vector_size: PositiveInt | None = None
    map_shape: Shape | None = None
    dtype: jnp.dtype | type = jnp.float32


class Published(Module):
    """A module with the attributes of published networks, by name."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]]

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The published network of a name in ``PRESETS`` of its module, without parameters, with attributes changed.

        Args:
          name: name of the network.
          changes: other attributes, by name.
        """
        if name not in cls.presets:
            raise ValueError(f"name must be one of {', '.join(cls.presets)}, got {name!r}")
        return cls(**{**cls.presets[name], **changes})


def modulated(h: Array, shift: ArrayLike, scale: ArrayLike) -> Array:
    """Layer norm without parameters in float32, then ``norm(h) (1 + scale) + shift``."""
    h = h.astype(jnp.float32)
    centred = h - h.mean(-1, keepdims=True)
    norm = centred / jnp.sqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-6)
    return norm * (1 + scale) + shift


def check_widths(width: int, heads: int, least: int, mlp_ratio: float) -> None:
    """Raises ``ValueError`` unless a transformer can have this width, for positions of a multiple of ``least``."""
    if width % heads or width % least:
        raise ValueError(f"width must be divisible by heads = {heads} and, for the positions, by {least}, got {width}")
    if mlp_ratio * width < 1:
        raise ValueError(f"mlp_ratio must be at least 1 / {width}, for one hidden feature, got {mlp_ratio}")


def scanned(block: type[nn.Module], length: int, remat: bool, initialising: bool) -> Any:
    """A scan over the stacked parameters of a block, each gathered where it is used."""
    if not initialising:
        block = nn.map_variables(block, "params", trans_in_fn=gathered)
    if remat:
        block = nn.remat(block, prevent_cse=False)  # within a scan nothing could be merged
    return nn.scan(
        block,
        variable_axes={"params": 0, "intermediates": 0},
        split_rngs={"params": True, "dropout": True},
        in_axes=nn.broadcast,  # type: ignore[arg-type]
        length=length,
    )
