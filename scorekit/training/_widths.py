"""The relative widths of power-function averages."""

from scorekit.checks import check
from scorekit.typing import ArrayLike

POWER_EMA_WIDEST = 12**-0.5
"""The relative width of the average in which all updates have one weight, gamma = 0."""


def check_width(**named: ArrayLike) -> None:
    """Raises a ``ValueError`` that names the first argument that is not a relative width, in (0, 12^-1/2)."""
    check(lambda w: (w > 0) & (w < POWER_EMA_WIDEST), "a relative width in (0, 12^-1/2)", **named)
