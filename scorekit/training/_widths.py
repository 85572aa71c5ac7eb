"""The bounds of averages: decays, and relative widths of power-function averages."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from scorekit.arguments import Between, Each
from scorekit.typing import ArrayLike

POWER_EMA_WIDEST = 12**-0.5
"""The relative width of the average in which all updates have one weight, gamma = 0."""

Width: TypeAlias = Annotated[float, Between(0, POWER_EMA_WIDEST, "both")]
Widths: TypeAlias = Annotated[Sequence[float], Each(Between(0, POWER_EMA_WIDEST, "both"))]
WidthArray: TypeAlias = Annotated[ArrayLike, Between(0, POWER_EMA_WIDEST, "both")]
Decays: TypeAlias = Annotated[Sequence[float], Each(Between(0, 1, "high"))]
