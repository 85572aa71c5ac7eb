"""How well notes that are rendered by another instrument keep their pitch and loudness, and which family they have."""

import jax.numpy as jnp
import numpy as np

from experiments.data.dataset import Batch
from experiments.projects.audio import note_evaluators
from scorekit import audio

FAMILY = 8
"""Instruments of a family of General MIDI."""
LOUDNESS_WINDOW = 0.064
"""Seconds of a frame whose loudness is compared."""


def compare(
    evaluators: note_evaluators.NoteEvaluators,
    sounds: dict[str, np.ndarray],
    batch: Batch,
    targets: np.ndarray,
    rate: int,
) -> tuple[dict[str, dict[str, float | None]], str]:
    """Metrics by the name of the sounds, and a caption: whether the pitch is kept, of notes with a clear pitch on both
    sides, and the predicted family."""
    clear = np.isin(batch["label"], evaluators.clear) & np.isin(targets, evaluators.clear)
    true = sounds["held out"]
    rows = {}
    for name, x in sounds.items():
        family = evaluators.family.predict(note_evaluators.family_features(x, rate))
        pitch = note_evaluators.right_pitch(note_evaluators.track_pitch(x[clear], rate), batch["pitch"][clear])
        other = name != "held out"
        same = float(np.mean(audio.log_spectral_distance(x, true, rate))) if other else None
        alike = loudness_correlation(x, true, rate) if other else None
        rows[name] = {
            "pitch kept": float(np.mean(pitch)) if len(pitch) else None,
            "own family predicted": float(np.mean(family == batch["label"] // FAMILY)),
            "target family predicted": float(np.mean(family == targets // FAMILY)),
            "LSD to the note (dB)": same,
            "correlation of loudness": alike,
        }
    caption = (
        f"{len(true)} notes; pitch of the {int(clear.sum())} whose instruments, own and target, have a clear pitch"
    )
    return rows, caption


def loudness_correlation(x: np.ndarray, y: np.ndarray, rate: int) -> float | None:
    """The mean correlation of the loudness ``log(RMS + 0.001)`` of frames of two sets of sounds ``(N, L)``.

    Notes of constant loudness do not count.
    """
    size = round(LOUDNESS_WINDOW * rate)
    frames = [np.asarray(audio.frame(jnp.asarray(sound), size, size // 2)) for sound in (x, y)]
    levels = [np.log(np.sqrt(np.mean(each**2, -1)) + 1e-3) for each in frames]
    clear = np.sqrt(np.prod([level.var(-1) for level in levels], axis=0)) > 1e-6
    return float(np.asarray(audio.correlation(*levels))[clear].mean()) if clear.any() else None
