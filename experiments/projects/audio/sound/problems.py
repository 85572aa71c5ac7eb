"""Inverse problems of sound: what each task observes, and distances of restored sounds."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

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
      degraded: effect on any other sound, whose samples are not those that were observed.
    """

    task: Task
    part: slice
    degraded: operators.Operator


def _gap(x: Array, rate: int) -> Problem:
    length, hidden, around = x.shape[1], round(GAP * rate), round(AROUND * rate)
    first = (length - hidden) // 2
    keep = np.ones((length, 1), np.float32)
    keep[first : first + hidden] = 0.0
    task = Task(operators.mask(jnp.asarray(keep)), lambda y: y, keep)
    return Problem(task, slice(max(first - around, 0), first + hidden + around), task.operator)


def _bandwidth(x: Array, rate: int) -> Problem:
    del x, rate
    kernel = jnp.asarray(operators.low_pass_kernel(CUTOFF, RADIUS), jnp.float32)
    blur = operators.blur(kernel, "zero")
    return Problem(Task(blur, lambda y: y), slice(None), blur)


def _declip(x: Array, rate: int) -> Problem:
    del rate
    level = jnp.maximum(CLIPPED_AT * jnp.abs(x).max(axis=1, keepdims=True), 1e-3)
    task = Task(operators.clip(level, jnp.abs(x) < level), lambda y: y)
    return Problem(task, slice(None), operators.clip(level, jnp.zeros(x.shape, bool)))


def _magnitudes(hop: int, window: Array, x: Array) -> Array:
    return audio.magnitude(audio.stft(x[..., 0], window, hop))


def _phase(x: Array, rate: int) -> Problem:
    """Magnitudes alone; before restoration, Griffin and Lim's phases."""
    window, hop, length = audio.hann(max(round(0.032 * rate), 4)), max(round(0.008 * rate), 1), x.shape[1]
    operator = jax.tree_util.Partial(functools.partial(_magnitudes, hop), jnp.asarray(window, jnp.float32))

    def picture(y):
        return np.asarray(audio.griffin_lim(jax.random.key(0), jnp.asarray(y), window, hop, length).x)[..., None]

    return Problem(Task(operator, picture, linear=False), slice(None), operators.mask(jnp.ones((length, 1))))


PROBLEMS: dict[str, Callable[[Array, int], Problem]] = {
    "gap": _gap,
    "bandwidth": _bandwidth,
    "declip": _declip,
    "phase": _phase,
}


TRAINED_FOR: dict[str, Mapping[str, Any]] = {"bandwidth": {"name": "low_passed", "cutoff": CUTOFF, "radius": RADIUS}}
"""The dense map, by its fields in ``config.conditions.map``, that shows a model what a task observes."""


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
