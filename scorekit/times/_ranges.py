"""The check of a range of times."""

from scorekit.arguments import BelowOne, checked
from scorekit.checks import check
from scorekit.typing import Number


@checked
def check_range(t_min: BelowOne, t_max: Number) -> None:
    """Raises a ``ValueError`` unless ``0 <= t_min < t_max <= 1``."""
    check(lambda x: (x > t_min) & (x <= 1), f"in (t_min = {t_min}, 1]", t_max=t_max)
