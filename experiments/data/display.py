"""Samples as a person sees or hears them: images, points in a plane, or sounds, from which reports are made; what to
draw for a picture of a run, and metrics with what they mean.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np


class Pictures(NamedTuple):
    """Images ``(N, H, W, C)`` in [-1, 1], C = 1 or 3."""

    images: np.ndarray


class Points(NamedTuple):
    """Points ``(N, 2)``."""

    points: np.ndarray


class Sounds(NamedTuple):
    """Sounds ``(N, L)`` or ``(N, channels, L)`` at full scale 1; ``sample_rate`` in Hz."""

    sounds: np.ndarray
    sample_rate: int


View: TypeAlias = Pictures | Points | Sounds


class Scorer(NamedTuple):
    """Metrics of real test data, metrics of ``(samples, labels)``, and what they mean."""

    real: dict[str, float]
    samples: Callable[[np.ndarray, np.ndarray], dict[str, float]]
    caption: str


class Preview(NamedTuple):
    """Samples to draw for a picture of the run: their labels, and rows of the picture.

    Attributes:
      labels: ``(N,)``.
      rows: a label for each row of the image: first the labels of the samples, then the labels of ``reference``.
      reference: real examples to show with the samples, or None.
    """

    labels: np.ndarray
    rows: list[Any] | None = None
    reference: dict[str, np.ndarray] | None = None


class FrequencyAxis(NamedTuple):
    """How frequencies are printed: ``f`` cycles per sample as ``f * factor`` in ``unit``."""

    unit: str
    short: str
    factor: float = 1.0

    def show(self, frequency: float) -> str:
        """The frequency as text for tables and legends."""
        return f"{frequency * self.factor:.2f}" if self.factor == 1 else f"{frequency * self.factor:,.0f}"

    @property
    def positions(self) -> str:
        """What a period is counted in."""
        return "samples" if self.factor != 1 else f"{self.unit.removeprefix('cycles per ')}s"
