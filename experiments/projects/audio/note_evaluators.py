"""Evaluators of notes, independent of the model: Praat tracks the pitch, a support vector machine predicts the family.

The pitch is found by Praat's autocorrelation (Boersma 1993) through praat-parselmouth. The family is predicted by an
SVC from log-mel statistics of real training notes, without their pitch. The SVC is fitted to every note with and
without white noise, so that hiss alone does not change the family: Fréchet distances measure how clean a sound is.
Compare with the metrics of real held-out notes.

Args:
  x: sounds ``(N, length)``, full scale [-1, 1].
  sample_rate: samples a second.
  tracked: MIDI pitches ``(N,)`` from :func:`track_pitch`; NaN counts as wrong.
  pitch, label, family, labels: labels of the notes, ``(N,)``.
"""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.dataset import in_blocks
from scorekit import audio

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

PITCH_RANGE_HZ = (50.0, 1200.0)
"""The range of the fundamental for Praat: MIDI 32 to 86. The lower end sets its window, three periods or 60 ms."""
PITCH_STEP = 0.01
"""Seconds from one estimate to the next."""
CENTS = 50.0
"""A pitch is correct within this distance of the label."""
CLEAR = 0.9
"""An instrument has a clear pitch if Praat agrees with the label on this share of its real training notes."""
FAMILY_FLOOR_DB = -60.0
"""Quieter parts, relative to the peak of a note, are ignored by the family classifier."""
HISS_DB = (-70.0, -25.0)
"""Standard deviation of the white noise that notes are augmented with, relative to their peak."""
FIT_LIMIT = 5000
"""Most notes that an evaluator is fitted to."""
ATTACK = 4
"""Frames (of 16 ms) at the beginning of a note that have features of their own."""


def track_pitch(x: np.ndarray, sample_rate: float) -> np.ndarray:
    """The median MIDI pitch of each sound over the frames that Praat finds voiced, ``(N,)``; NaN where none is.

    >>> n = np.arange(4000)
    >>> a = 0.3 * np.sin(2 * np.pi * 440 / 4000 * n) + 0.2 * np.sin(2 * np.pi * 880 / 4000 * n)
    >>> track_pitch(np.stack([a, 0 * a]), 4000).round(2)
    array([69., nan])
    """
    try:
        import parselmouth
    except ImportError as error:
        raise ImportError("tracking pitch needs praat-parselmouth: pip install 'scorekit[audio]'") from error
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or not np.all(np.isfinite(x)):
        raise ValueError(f"x must be finite and (N, length), got {x.shape}, {np.sum(~np.isfinite(x))} not finite")
    low, high = PITCH_RANGE_HZ
    pitches = np.full(len(x), np.nan)
    for i, sound in enumerate(x):
        if not np.any(sound):
            continue  # Praat raises an error for silence
        track = parselmouth.Sound(sound, sample_rate).to_pitch_ac(PITCH_STEP, low, pitch_ceiling=high)
        voiced = track.selected_array["frequency"]
        voiced = voiced[voiced > 0]
        if len(voiced):
            pitches[i] = 69.0 + 12.0 * np.log2(np.median(voiced) / 440.0)
    return pitches


def right_pitch(tracked: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Whether each tracked pitch is within 50 cents of the label.

    >>> right_pitch(np.array([60.4, 60.6, 72.0, np.nan]), 60).tolist()
    [True, False, False, False]
    """
    return np.abs(np.asarray(tracked, np.float64) - pitch) <= CENTS / 100.0


def clear_classes(tracked: np.ndarray, pitch: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The classes (instruments), ascending, of whose notes at least nine in ten are tracked within 50 cents.

    >>> clear_classes(np.array([60.0, 61.0, 50.0, 73.0]), np.array([60, 61, 62, 61]), np.array([3, 3, 7, 7]))
    array([3])
    """
    right = right_pitch(tracked, pitch)
    return np.array([k for k in np.unique(label) if np.mean(right[label == k]) >= CLEAR], int)


def family_features(x: np.ndarray, sample_rate: float) -> np.ndarray:
    """The features of the family classifier, independent of loudness: ``(N, 192)``.

    Of :func:`scorekit.audio.log_mel_frames` of each sound brought to a peak of 1, down to -60 dB: the mean and the
    standard deviation over time, the mean of the first 64 ms, and the mean absolute change from frame to frame.
    """
    run = lambda block: _family_features(jnp.asarray(block), sample_rate)
    return in_blocks(run, np.asarray(x, np.float32), min(500, len(x)))


@functools.partial(jax.jit, static_argnums=1)
def _family_features(x, sample_rate: float):
    peak = jnp.max(jnp.abs(x), axis=-1, keepdims=True)
    frames = audio.log_mel_frames(x / jnp.maximum(peak, 1e-6), sample_rate, floor_db=FAMILY_FLOOR_DB)
    change = jnp.abs(jnp.diff(frames, axis=-2))
    means = frames.mean(-2), frames.std(-2), frames[..., :ATTACK, :].mean(-2), change.mean(-2)
    return jnp.concatenate(means, axis=-1)


def fit_family_classifier(x: np.ndarray, family: np.ndarray, sample_rate: float) -> "Pipeline":
    """A support vector machine of 80 principal components of :func:`family_features` of notes, also with noise."""
    from sklearn.decomposition import PCA  # takes a second, which programs without notes need not wait
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if len(np.unique(family)) < 2:
        raise ValueError(f"family must hold at least two families, got {np.unique(family)}")
    rng, peak = np.random.default_rng(0), np.abs(x).max(axis=1, keepdims=True)
    hiss = peak * 10.0 ** (rng.uniform(*HISS_DB, size=peak.shape) / 20.0) * rng.standard_normal(x.shape)
    features = np.concatenate([family_features(x, sample_rate), family_features(x + hiss, sample_rate)])
    family = np.concatenate([family, family])
    components = min(80, *features.shape)
    classifier = make_pipeline(
        StandardScaler(), PCA(components, random_state=0), SVC(C=30.0, gamma=1.0 / features.shape[1])
    )
    return classifier.fit(features, family)


class NoteEvaluators(NamedTuple):
    """The evaluators of a set of notes; build them with :func:`fit_note_evaluators`.

    Attributes:
      sample_rate: samples a second.
      clear: instruments of clear pitch; only notes of these count for the pitch.
      family: the family classifier.
    """

    sample_rate: float
    clear: np.ndarray
    family: "Pipeline"


def fit_note_evaluators(x: np.ndarray, labels: Mapping[str, np.ndarray], sample_rate: float) -> NoteEvaluators:
    """Evaluators fitted to real training notes; of more than 5,000, a fixed random subset is used."""
    chosen = np.random.default_rng(0).permutation(len(x))[:FIT_LIMIT]
    pitch, instrument, family = (np.asarray(labels[name])[chosen] for name in ("pitch", "instrument", "family"))
    clear = clear_classes(track_pitch(x[chosen], sample_rate), pitch, instrument)
    return NoteEvaluators(sample_rate, clear, fit_family_classifier(x[chosen], family, sample_rate))


def evaluate_notes(evaluators: NoteEvaluators, x: np.ndarray, labels: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How well sounds match their labels.

    Returns:
      ``pitch``: the fraction within 50 cents of the notes of instruments of clear pitch (NaN if there are none).
      ``family``: the fraction whose predicted family is right.
    """
    clear = np.isin(labels["instrument"], evaluators.clear)
    tracked, pitch = track_pitch(x[clear], evaluators.sample_rate), np.asarray(labels["pitch"])[clear]
    right = float(np.mean(right_pitch(tracked, pitch))) if len(tracked) else np.nan
    predicted = evaluators.family.predict(family_features(x, evaluators.sample_rate))
    return {"pitch": right, "family": float(np.mean(predicted == labels["family"]))}
