"""Sizes of pictures: a smaller copy by averaging squares, and random squares to train on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.cli.config import require
from experiments.data.captions import draws
from experiments.data.dataset import Batch


class Resized:
    """A source of pictures in which each value is the mean of a square, rounded.

    Args:
      source: of pictures of one shape.
      size: height and width; None leaves pictures as they are.
    """

    def __init__(self, source: Any, size: int | None):
        side, width, channels = source.shape
        fits = size is None or (side == width and side % size == 0)
        require(fits, "data.image_size", size, f"a divisor of the side of square pictures, {side} x {width} here")
        self._source, self._factor = source, 1 if size is None else side // size
        self.shape = (side // self._factor, width // self._factor, channels)
        self.name, self.bins, self.num_classes = source.name, source.bins, source.num_classes

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Mapping[str, Any]]:
        examples = self._source.__getitems__(list(indices))
        if self._factor == 1:
            return examples
        return [{**example, "x": pooled(example["x"], self._factor)} for example in examples]


def pooled(x: np.ndarray, factor: int) -> np.ndarray:
    """The means over squares of ``factor`` values a side, rounded.

    >>> pooled(np.array([[[0], [2]], [[4], [7]]], np.uint8), 2)
    array([[[3]]], dtype=uint8)
    """
    height, width, channels = x.shape
    split = x.reshape(height // factor, factor, width // factor, factor, channels)
    return split.mean((1, 3)).round().astype(x.dtype)


def check_crop(crop: int | None, shape: tuple[int, ...]) -> None:
    """Validates ``config.data.image_crop`` for pictures of this shape."""
    allowed = f"at most the side of the pictures, {shape[0]} x {shape[1]} here"
    require(crop is None or crop <= min(shape[:2]), "data.image_crop", crop, allowed)


def centred(part: Batch, crop: int | None) -> Batch:
    """A set with the middle square of each picture."""
    if crop is None:
        return part
    top, left = ((side - crop) // 2 for side in part["x"].shape[1:3])
    return {**part, "x": part["x"][:, top : top + crop, left : left + crop]}


def cropped(batch: Batch, crop: int | None, *, seed: int, step: int, first_row: int) -> Batch:
    """A batch with a random square of each picture, a function of seed, step and row of the global batch."""
    if crop is None:
        return batch
    x = batch["x"]
    tops, lefts = (draws(seed, step, first_row, len(x), 1 + i, x.shape[1 + i] - crop + 1) for i in range(2))
    squares = [one[i : i + crop, j : j + crop] for one, i, j in zip(x, tops, lefts, strict=True)]
    return {**batch, "x": np.stack(squares)}
