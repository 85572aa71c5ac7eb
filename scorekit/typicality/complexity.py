"""Input complexity: the code length of a general-purpose compressor; host functions, with numpy and zlib.

Source: Serrà et al. 2020 (https://arxiv.org/abs/1909.11480).
"""

import zlib

import numpy as np


def code_length(x: np.ndarray) -> np.ndarray:
    """The code length of each image in bits, ``(B,)``, with the row filters of PNG and zlib: a bound on its complexity.

    Each image is compressed with each of the five filters of PNG (none, left, above, average, Paeth), applied to all
    rows, at level 9 of zlib; the shortest code length is returned.

    Args:
      x: images ``(B, H, W, C)``, uint8, not empty.

    >>> flat, noise = np.zeros((1, 16, 16, 1)), np.random.default_rng(0).integers(0, 256, (1, 16, 16, 1))
    >>> [bool(code_length(image.astype(np.uint8))[0] > 1000) for image in (flat, noise)]
    [False, True]
    """
    x = np.asarray(x)
    if x.dtype != np.uint8 or x.ndim != 4 or not x.size:
        raise ValueError(f"x must be uint8 with shape (B, H, W, C), got {x.dtype} with shape {x.shape}")
    here = x.astype(np.int16)
    padded = np.pad(here, ((0, 0), (1, 0), (1, 0), (0, 0)))
    left, above, corner = padded[:, 1:, :-1], padded[:, :-1, 1:], padded[:, :-1, :-1]
    predictions = (np.zeros_like(here), left, above, (left + above) // 2, _paeth(left, above, corner))
    filtered = [(here - p).astype(np.uint8) for p in predictions]
    shortest = [
        min(len(zlib.compress(image.tobytes(), 9)) for image in images) for images in zip(*filtered, strict=True)
    ]
    return 8.0 * np.asarray(shortest, float)


def _paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """The one of the three that is nearest to ``left + above - corner``; the first one in a tie."""
    near_left, near_above = np.abs(above - corner), np.abs(left - corner)
    near_corner = np.abs(left + above - 2 * corner)
    use_left = (near_left <= near_above) & (near_left <= near_corner)
    return np.where(use_left, left, np.where(near_above <= near_corner, above, corner))
