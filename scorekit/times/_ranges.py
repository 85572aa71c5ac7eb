"""Checks of a range of times."""

from scorekit.checks import check
from scorekit.typing import Number


def check_range(t_min: Number, t_max: Number) -> None:
    """Raises a ``ValueError`` unless ``t_min < t_max``."""
    check(lambda x: x > t_min, f"in (t_min = {t_min}, 1]", t_max=t_max)
