"""What samples are to a person: pictures, points in a plane, or sounds. Reports are made from these alone."""

from typing import NamedTuple, TypeAlias

import numpy as np


class Pictures(NamedTuple):
    """Images ``(N, H, W, C)`` in [-1, 1], C = 1 or 3."""

    images: np.ndarray


class Points(NamedTuple):
    """Points ``(N, 2)``."""

    points: np.ndarray


class Sounds(NamedTuple):
    """Sounds ``(N, L)`` at full scale 1; ``sample_rate`` in Hz."""

    sounds: np.ndarray
    sample_rate: int


View: TypeAlias = Pictures | Points | Sounds
