"""Inverse problems through a synthesiser: its controls are unknown, its sound is observed.

Controls have no phases, and noise is another draw, so that no controls explain a recording sample by sample. Levels are
observed instead: logarithms of the magnitudes of frames. Logarithms, because they are nearly linear in the levels of
the partials, which are modelled, and because quiet partials carry timbre. Levels have the floor of the controls, below
which nothing is played.
"""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from experiments.data.sounds import Sounds
from experiments.projects.audio.sound.problems import Problem
from experiments.tasks.diffusion.inverse.tasks import Task
from scorekit import audio
from scorekit.audio import ddsp
from scorekit.guidance.operators import Operator
from scorekit.typing import Array

WINDOW, FLOOR = 0.064, 1e-3
"""Seconds of a frame, two periods of the lowest notes, and the least magnitude; a sine of amplitude 1 has 1."""
CEILING = "held out, analysed and played"
"""The name of what no model of controls can be better than."""


def levels(sound: Array, rate: int) -> Array:
    """``log(|STFT| + FLOOR)`` of sounds ``(B, L)``, ``(B, frames, bins)``; a hop is a quarter of the window."""
    size = _size(rate)
    window = audio.hann(size)
    return jnp.log(audio.magnitude(audio.stft(sound, window / (0.5 * window.sum()), size // 4)) + FLOOR)


def by_levels(problem: Problem, sound: Array, rate: int) -> Problem:
    """The problem of sounds ``(B, L, 1)``, with the levels observed of frames that a mask leaves whole."""
    seen = np.ones(sound.shape[1]) if problem.task.keep is None else problem.task.keep[:, 0]
    size = _size(rate)
    before, after = size // 2, size - size // 2
    hidden = audio.frame(jnp.pad(1.0 - seen, (before, after + size // 4)), size, size // 4)
    count = audio.num_frames(len(seen), size // 4)
    whole = np.flatnonzero(~np.asarray(hidden)[:count].any(-1))
    operator = Partial(functools.partial(_observe, rate), problem.degraded, whole)
    picture = problem.task.picture(np.asarray(problem.task.operator(sound)))
    return problem._replace(task=Task(operator, lambda y: picture, linear=False, nearly_linear=True))


def played(task: Task, play: Callable[[Array], Array]) -> Task:
    """The task of by_levels, where the controls are restored that ``play`` turns into sounds ``(B, L)``."""
    return task._replace(operator=Partial(functools.partial(_observe_played, play), task.operator))


def pitch_and_loudness(dataset: Sounds) -> Task:
    """The parts of controls ``(B, frames, C)`` that timbre transfer keeps: pitch and loudness."""
    operator = Partial(functools.partial(_pitch_and_loudness, dataset))
    return Task(operator, lambda y: y, linear=False, nearly_linear=True)


def _size(rate: int) -> int:
    return max(round(WINDOW * rate), 4)


def _observe(rate: int, degraded: Operator, frames: Array, sound: Array) -> Array:
    return levels(degraded(sound)[..., 0], rate)[:, frames]


def _observe_played(play: Callable[[Array], Array], operator: Operator, x: Array) -> Array:
    return operator(play(x)[..., None])


def _pitch_and_loudness(dataset: Sounds, x: Array) -> Array:
    loudness = ddsp.loudness(*dataset.controls(x), dataset.sample_rate)
    return jnp.concatenate([x[..., : ddsp.PITCH_CHANNELS], loudness[..., None]], -1)
