"""Problems through a synthesiser: which frames are observed, gradients of levels, and what a posterior keeps."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.projects.audio.sound import problems, synthesised
from experiments.tasks.diffusion.inverse import tasks
from scorekit.audio import ddsp

RATE, LENGTH = 4000, 2048
T = np.arange(LENGTH) / RATE
ENVELOPE = 0.5 * np.sin(np.pi * T / T[-1])
SOUNDS = jnp.asarray(np.stack([ENVELOPE * np.sin(2 * np.pi * f * T) for f in (220, 900)])[..., None], jnp.float32)
NOTES = ddsp.note_controls(LENGTH, RATE, partials=4, bands=5, hop=128)


def of(name, sounds=SOUNDS):
    return synthesised.by_levels(problems.PROBLEMS[name](sounds, RATE), sounds, RATE)


def test_levels_are_logarithms_of_amplitudes():
    found = np.asarray(synthesised.levels(jnp.asarray([np.sin(2 * np.pi * 250 * T), 0 * T], jnp.float32), RATE))
    assert found.shape == (2, 33, 129)
    assert found[0, 8:24].max(-1) == pytest.approx(0.0, abs=0.01)  # a sine of amplitude 1
    np.testing.assert_allclose(found[1], np.log(1e-3), rtol=1e-6)


def test_frames_that_touch_the_gap_are_not_observed():
    problem = of("gap")
    keep = problems.PROBLEMS["gap"](SOUNDS, RATE).task.keep
    assert keep is not None
    other = SOUNDS + 10.0 * (1.0 - keep)
    y = np.asarray(problem.task.operator(SOUNDS))
    np.testing.assert_array_equal(problem.task.operator(other), y)
    assert y.shape == (2, 33 - 8 + 1, 129)  # frames of 256 samples, a hop of 64, and a gap of 256
    first, last = np.flatnonzero(keep[:, 0] == 0)[[0, -1]]
    for n in (first - 1, last + 1):  # the samples beside the gap are seen
        touched = np.asarray(SOUNDS).copy()
        touched[:, n - 30 : n + 1] += 0.5 if n < first else 0.0
        touched[:, n : n + 31] += 0.0 if n < first else 0.5
        assert np.abs(np.asarray(problem.task.operator(jnp.asarray(touched))) - y).max() > 0.1
    np.testing.assert_array_equal(problem.task.picture(y), SOUNDS * keep)


@pytest.mark.parametrize("name", ["gap", "bandwidth", "declip", "phase"])
def test_what_is_lost_of_any_sound_is_not_observed(name):
    """Of sounds with other phases: only what the task leaves counts."""
    problem = of(name)
    y = problem.task.operator(SOUNDS)
    later = jnp.roll(SOUNDS, 3, 1)  # of both pitches no period
    assert tasks.consistency(problem.task, np.asarray(later), y) < 0.2
    assert tasks.consistency(problem.task, np.asarray(0.2 * SOUNDS), y) > 0.2
    tone = lambda f: (ENVELOPE * np.sin(2 * np.pi * f * T))[:, None].astype(np.float32)
    if name == "bandwidth":
        assert tasks.consistency(problem.task, np.asarray(SOUNDS + tone(400)), y) > 0.2
        assert tasks.consistency(problem.task, np.asarray(SOUNDS + tone(1500)), y) < 0.1
    if name == "declip":
        assert float(jnp.abs(problem.degraded(5.0 * later)).max()) == pytest.approx(0.15, rel=0.01)


@pytest.fixture(scope="module")
def notes():
    """Controls of three notes with partials, noise and a decay, and their sounds."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 16, 17)) * 0.3
    x[..., :7] = np.array([[-1, 1, 1, 1, -1, -1, 1], [-1, 1, 1, 1, 1, 1, -1], [1, -1, -1, -1, 1, -1, 1]])[:, None]
    x[..., 8:12] += 2.0 - 0.1 * np.arange(16)[:, None]
    x = x.astype(np.float32)
    return x, jax.jit(NOTES.decode)(x)[..., None]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gap", "bandwidth", "phase"])
def test_gradients_of_observed_levels_are_finite_differences(notes, name):
    """Along random directions of the controls, but for the bits of the pitch, which are rounded."""
    x, sound = notes
    problem = of(name, sound)
    task = synthesised.played(problem.task, NOTES.decode)
    direction = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    direction[..., :7] = 0.0
    slope, difference = jax.jit(
        lambda x, v, h: (
            jax.jvp(task.operator, (x,), (v,))[1],
            (task.operator(x + h * v) - task.operator(x - h * v)) / (2 * h),
        )
    )(x, direction, 3e-3)
    assert np.linalg.norm(slope - difference) < 0.02 * np.linalg.norm(difference)
    weights = np.random.default_rng(2).normal(size=slope.shape).astype(np.float32)
    pulled = jax.jit(lambda x, w: jax.vjp(task.operator, x)[1](w)[0])(x, weights)
    assert np.sum(np.asarray(pulled) * direction) == pytest.approx(float(np.sum(slope * weights)), rel=0.01)
    assert np.abs(np.asarray(pulled)[..., 8:]).max() > 0.1
    assert not np.asarray(pulled)[..., :7].any()


def test_pitch_and_loudness_are_those_of_what_is_played():
    pitch, amplitudes = np.array([57]), np.array([0.5, 0.2])
    n = np.arange(LENGTH)
    sine = sum(a * np.sin(2 * np.pi * 220 * k * n / RATE) for k, a in enumerate(amplitudes, 1))
    dataset: Any = SimpleNamespace(controls=NOTES.controls, sample_rate=RATE)
    z = jax.jit(NOTES.encode)(jnp.asarray([sine], jnp.float32), pitch)
    y = np.asarray(synthesised.pitch_and_loudness(dataset).operator(z))
    assert y.shape == (1, 16, 9)
    np.testing.assert_allclose(y[..., :8], z[..., :8])
    np.testing.assert_allclose(y[0, 2:-2, 8], np.log(np.sqrt(np.sum(amplitudes**2) / 2)), atol=0.02)
