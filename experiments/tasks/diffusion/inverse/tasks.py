"""Inverse problems on images: the observation of each task."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import ConfigError
from scorekit.guidance import operators
from scorekit.typing import Array, Key, PyTree


class Task(NamedTuple):
    """The observation of a task.

    Attributes:
      operator: ``x0 -> y``.
      shown: ``y -> image`` of the shape of x0, for display.
      keep: the mask, where the operator is one.
      linear: whether it is linear, at least piecewise.
    """

    operator: operators.Operator
    shown: Callable[[np.ndarray], np.ndarray]
    keep: np.ndarray | None = None
    linear: bool = True


def _hidden(rows: slice, columns: slice, shape) -> Task:
    keep = np.ones((*shape[:2], 1), np.float32)
    keep[rows, columns] = 0.0
    return Task(operators.mask(jnp.asarray(keep)), lambda y: y, keep)


def _middle(shape: Sequence[int]) -> Task:
    """The middle, half as high and half as wide, is hidden."""
    rows, columns = (slice(side // 4, -(side // 4)) for side in shape[:2])
    return _hidden(rows, columns, shape)


def _super_resolution(shape: Sequence[int]) -> Task:
    """Means over 2 x 2 pixels."""
    if any(size % 2 for size in shape[:2]):
        raise ConfigError(f"--task=super_resolution: needs images of even sizes, not {shape[0]} x {shape[1]}")
    return Task(operators.average_pool(2), lambda y: y.repeat(2, axis=1).repeat(2, axis=2))


def _deblur(shape: Sequence[int]) -> Task:
    """A Gaussian blur of an eighth of the height."""
    std = shape[0] / 8
    return Task(operators.blur(operators.gaussian_kernel(std, int(np.ceil(2 * std)))), lambda y: y)


def _identity(x: PyTree) -> PyTree:
    return x


def _colourise(shape: Sequence[int]) -> Task:
    """The luminance."""
    if shape[-1] != 3:
        raise ConfigError(f"--task=colourise: needs images of 3 channels, these have {shape[-1]}")
    return Task(operators.grayscale(), lambda y: np.repeat(y[..., None], 3, axis=-1))


def _saturated(x: PyTree) -> PyTree:
    """Contrast so strong that black and white saturate; not linear."""
    return jax.tree.map(lambda leaf: jnp.tanh(4.0 * leaf), x)


TASKS: dict[str, Callable[[Sequence[int]], Task]] = {
    "inpaint": _middle,
    "half": lambda shape: _hidden(slice(shape[0] // 2, None), slice(None), shape),
    "super_resolution": _super_resolution,
    "deblur": _deblur,
    "denoise": lambda shape: Task(jax.tree_util.Partial(_identity), lambda y: y),
    "colourise": _colourise,
    "saturate": lambda shape: Task(jax.tree_util.Partial(_saturated), lambda y: y, linear=False),
}


def observe(key: Key, task: Task, x: Array, noise_std: float) -> Array:
    """``y = A(x) + noise_std z``, without noise where a mask hides the data."""
    y = task.operator(x)
    noise = noise_std * jax.random.normal(key, y.shape)
    return y + (noise if task.keep is None else noise * task.keep)


def consistency(task: Task, x: np.ndarray, y: Array) -> float:
    """The RMS of ``y - A(x)``: near ``noise_std`` where the reconstruction explains the observation."""
    gap = np.asarray(y - task.operator(jnp.asarray(x)))
    if task.keep is not None:
        gap = gap[np.broadcast_to(task.keep > 0, gap.shape)]
    return float(np.sqrt(np.mean(np.square(gap))))
