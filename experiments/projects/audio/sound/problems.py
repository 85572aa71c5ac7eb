"""Inverse problems of sound: what each task observes, and distances of restored sounds."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.tasks.diffusion.inverse.tasks import Task
from scorekit import audio
from scorekit.guidance import operators
from scorekit.typing import Array

GAP, AROUND = 0.064, 0.064
"""Seconds that are missing, and that are compared on either side."""
CLIPPED_AT = 0.3
CUTOFF, RADIUS = 0.125, 32


class Problem(NamedTuple):
    """A task on sounds.

    Attributes:
      task: observation; its ``picture`` is the sound before restoration, as the model receives sounds.
      part: the samples that are compared.
    """

    task: Task
    part: slice = slice(None)


def _gap(x: Array, rate: int) -> Problem:
    length, hidden, around = x.shape[1], round(GAP * rate), round(AROUND * rate)
    first = (length - hidden) // 2
    keep = np.ones((length, 1), np.float32)
    keep[first : first + hidden] = 0.0
    task = Task(operators.mask(jnp.asarray(keep)), lambda y: y, keep)
    return Problem(task, slice(max(first - around, 0), first + hidden + around))


def _bandwidth(x: Array, rate: int) -> Problem:
    del x, rate
    kernel = jnp.asarray(operators.low_pass_kernel(CUTOFF, RADIUS), jnp.float32)
    return Problem(Task(operators.blur(kernel, "zero"), lambda y: y))


def _declip(x: Array, rate: int) -> Problem:
    del rate
    level = jnp.maximum(CLIPPED_AT * jnp.abs(x).max(axis=1, keepdims=True), 1e-3)
    return Problem(Task(operators.clip(level, jnp.abs(x) < level), lambda y: y))


PROBLEMS: dict[str, Callable[[Array, int], Problem]] = {"gap": _gap, "bandwidth": _bandwidth, "declip": _declip}


def distances(x: np.ndarray, truth: np.ndarray, part: slice, rate: int) -> tuple[float, float, float]:
    """Log-spectral distance, multi-resolution loss, and the energy of the error over the sound's in dB."""
    x, truth = x[:, part], truth[:, part]
    audible = np.max(np.abs(truth), axis=1) > 1e-3  # a sound that is silent there has nothing to restore
    x, truth = x[audible], truth[audible]
    error = np.sum(np.square(x - truth), axis=1) / np.sum(np.square(truth), axis=1)
    compiled = lambda distance: jax.jit(distance, static_argnums=2)(x, truth, rate)
    return (
        float(np.mean(compiled(audio.log_spectral_distance))),
        float(np.mean(compiled(audio.multi_resolution_stft_loss))),
        float(np.mean(10 * np.log10(np.maximum(error, 1e-12)))),
    )
