"""A trained transcriber, applied to sounds of any length, and measured on phrases whose notes are known."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import Batch, in_blocks
from experiments.models.run_files import check_weights, restore
from experiments.models.samples import check_samples
from experiments.projects.audio.transcription import note_metrics, transcriber
from experiments.projects.audio.transcription.transcriber import Keys
from experiments.training import check_average
from scorekit import audio
from scorekit.audio import Sound
from scorekit.data.phrases import FRAME_RATE, Note
from scorekit.typing import PyTree

FILE = "transcriber.json"
"""File in the folder of a run: the sample rate of its training sounds, and in the end the chosen threshold."""
SILENCE = 1e-4
"""Sounds whose peak is below this, 80 dB under full scale, have no notes."""
THRESHOLDS = tuple(round(0.1 + 0.05 * i, 2) for i in range(13))
"""Thresholds of onsets that are tried: 0.1 to 0.7."""
_PEAK = 0.9
_PIECE = 256
"""Frames of a piece of a long sound."""
_BATCH = 4


class Trained(NamedTuple):
    """A transcriber with what it has learned.

    Attributes:
      built: the network and its spectrograms.
      predict: sounds ``(B, L)`` to probabilities and velocities, :class:`Keys` of numpy arrays.
      onset_threshold: least probability of an onset; None before one is chosen.
    """

    built: transcriber.Transcriber
    predict: Callable[[np.ndarray], Keys]
    onset_threshold: float | None

    @property
    def context(self) -> int:
        """Frames that are computed on either side of a piece of a long sound: the reach of the network, made even."""
        reach = self.built.spectrogram.reach + self.built.module.reach
        return reach + reach % 2


def open_transcriber(config: Config, workdir: Path, step: int | None = None) -> Trained:
    """The transcriber in the folder of a run, from the newest checkpoint or the checkpoint of ``step``."""
    check_average(config, "evaluation.ema")
    check_weights(config, workdir, step)
    kept = json.loads((workdir / FILE).read_text())
    threshold = config.evaluation.onset_threshold
    if threshold is None and "onset_threshold" not in kept:
        raise ConfigError(
            f"--workdir={workdir}: the training has not ended, which chooses the threshold of onsets; finish it, or "
            f"transcribe with --config.evaluation.onset_threshold=…"
        )
    built = transcriber.build_transcriber(config, kept["sample_rate"])
    like = jax.eval_shape(lambda: transcriber.init_params(built, jax.random.key(0)))
    _, params = restore(f"--workdir={workdir}", workdir, step, config.evaluation.ema, like)
    return trained(built, params, kept["onset_threshold"] if threshold is None else threshold)


def trained(built: transcriber.Transcriber, params: PyTree, onset_threshold: float | None) -> Trained:
    """A transcriber with these parameters and this threshold of onsets, None before one is chosen."""

    @jax.jit
    def predict(sounds):
        keys = built.module.apply(params, built.spectrogram.encode(sounds))
        assert isinstance(keys, Keys)
        return Keys(jax.nn.sigmoid(keys.onset), jax.nn.sigmoid(keys.frame), keys.velocity)

    in_batches = lambda sounds: Keys(*in_blocks(predict, sounds, min(len(sounds), _BATCH)))
    return Trained(built, in_batches, onset_threshold)


def transcribe(model: Trained, sound: Sound) -> tuple[list[Note], str]:
    """The notes of a recording, and a sentence about it if it has none.

    Channels are averaged, the sound is resampled for the network, and its peak is scaled to the peak of the network's
    training sounds.
    """
    built = model.built
    x = np.asarray(sound.x, np.float32)
    x = x.mean(axis=0) if x.ndim == 2 else x
    if len(x) * FRAME_RATE < sound.sample_rate:
        given = f"{len(x)} samples at {sound.sample_rate} Hz"
        raise ValueError(f"sound must last at least {1000 / FRAME_RATE:g} ms, a frame, got {given}")
    if not np.all(np.isfinite(x)):
        raise ValueError(f"sound must be finite, got {np.sum(~np.isfinite(x))} samples that are not")
    if sound.sample_rate != built.sample_rate:
        x = audio.resample(x, sound.sample_rate, built.sample_rate)
    peak = np.abs(x).max(initial=0.0)
    if peak < SILENCE:
        return [], f"silence: the largest sample is below {SILENCE:g} of full scale, so there are no notes"
    keys = _in_pieces(model, x * np.float32(_PEAK / peak))
    notes = decode(model, Keys(*(each[None] for each in keys)))[0]
    return notes, "" if notes else "no onset of a note was found"


def _in_pieces(model: Trained, x: np.ndarray) -> Keys:
    """Predictions ``(T, pitches)`` of a sound of any length, as if computed in one piece with silence around it."""
    context, hop = model.context, model.built.spectrogram.hop
    frames = audio.num_frames(len(x), hop)
    count = -(-frames // _PIECE)
    size = (_PIECE + 2 * context) * hop
    padded = np.zeros((count * _PIECE + 2 * context) * hop, np.float32)
    padded[context * hop : context * hop + len(x)] = x
    pieces = np.stack([padded[start : start + size] for start in _PIECE * hop * np.arange(count)])
    middle = slice(context, context + _PIECE)
    return Keys(*(each[:, middle].reshape(-1, each.shape[-1])[:frames] for each in model.predict(pieces)))


def decode(model: Trained, keys: Keys, onset_threshold: float | None = None) -> list[list[Note]]:
    """The notes of every sound, with the thresholds of the transcriber or another one of onsets."""
    onset = model.onset_threshold if onset_threshold is None else onset_threshold
    assert onset is not None
    check_samples(np.asarray(keys.onset), "the transcriber", "probabilities")
    return [note_metrics.decode(*each, onset) for each in zip(*keys, strict=True)]


class Measured(NamedTuple):
    """The transcription of phrases, and how it compares with what was played, a row for each."""

    played: list[list[Note]]
    transcribed: list[list[Note]]
    rows: list[dict[str, float]]


def measure(model: Trained, part: Batch, *, noise: float | None = None) -> Measured:
    """Transcribes phrases, with white noise at a signal-to-noise ratio in decibels if one is given."""
    x = np.array(audio.pcm_to_float(jnp.asarray(part["x"])))
    if noise is not None:
        rms = np.sqrt(np.mean(x**2, axis=1, keepdims=True)) * 10 ** (-noise / 20)
        x += (rms * np.random.default_rng(0).normal(size=x.shape)).astype(np.float32)
    return compare(part["roll"], decode(model, model.predict(x)))


def compare(rolls: np.ndarray, transcribed: list[list[Note]]) -> Measured:
    """How transcriptions compare with the rolls ``(N, T, 128)`` that were played."""
    played = [note_metrics.played_notes(roll) for roll in rolls]
    rows = [note_metrics.scores(*each, rolls.shape[1]) for each in zip(played, transcribed, strict=True)]
    return Measured(played, transcribed, rows)


def choose_threshold(model: Trained, training: Batch) -> Trained:
    """The transcriber with the threshold of the largest mean onset F1 on these phrases, the first of equals.

    They are training phrases: no held-out phrase has a part in the choice.
    """
    keys = model.predict(np.asarray(audio.pcm_to_float(jnp.asarray(training["x"]))))
    values = {}
    for threshold in THRESHOLDS:
        rows = compare(training["roll"], decode(model, keys, threshold)).rows
        values[threshold] = float(np.mean([row["onset F1"] for row in rows]))
    return model._replace(onset_threshold=max(values, key=lambda threshold: values[threshold]))
