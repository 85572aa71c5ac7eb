"""A trained transcriber, applied to sounds of any length, and measured on phrases whose notes are known."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError, fill_missing
from experiments.configs import base_transcriber
from experiments.data.dataset import Batch, in_blocks
from experiments.models import transcriber
from experiments.models.finite import check_samples
from experiments.models.onsets_and_frames import Keys
from experiments.models.restoring import restore
from experiments.models.runs import config_of
from experiments.models.weights import check_weights
from experiments.music import decoding
from scorekit import audio
from scorekit.audio import Sound
from scorekit.data.phrases import FRAME_RATE, Note
from scorekit.typing import PyTree

FILE = "transcriber.json"
"""In the folder of a run: the sample rate of the sounds that it was trained on."""
SILENCE = 1e-4
"""Sounds whose peak is below this, 80 dB under full scale, have no notes."""
_PEAK = 0.9
_PIECE, _CONTEXT = 256, 64
"""Frames of a piece of a long sound, and of what is computed on either side; the network looks less far."""
_BATCH = 4


class Trained(NamedTuple):
    """A transcriber with what it has learned.

    Attributes:
      built: the network and its spectrograms.
      predict: sounds ``(B, L)`` to probabilities and velocities, :class:`Keys` of numpy arrays.
      options: the section ``evaluation`` of its config.
    """

    built: transcriber.Transcriber
    predict: Callable[[np.ndarray], Keys]
    options: Config


def saved(workdir: str | Path | None) -> Config:
    """The config of the run of a transcriber.

    Raises:
      ConfigError: if there is none in ``workdir``.
    """
    config: Config = config_of(workdir)
    if "transcriber" not in config:
        raise ConfigError(f"--workdir={workdir}: must be a run of experiments.music.train_transcriber")
    return fill_missing(config, base_transcriber.get_config())


def open_transcriber(config: Config, workdir: Path, step: int | None = None) -> Trained:
    """The transcriber in the folder of a run, from the newest checkpoint or that of ``step``.

    Raises:
      ConfigError: if it has no checkpoint, or one that was trained with another config.
    """
    transcriber.check(config)
    check_weights(config, workdir, step)
    sample_rate = json.loads((workdir / FILE).read_text())["sample_rate"]
    built = transcriber.build_transcriber(config, sample_rate)
    like = jax.eval_shape(lambda: transcriber.init_params(built, jax.random.key(0)))
    _, params = restore(f"--workdir={workdir}", workdir, step, config.evaluation.ema, like)
    return trained(built, params, config)


def trained(built: transcriber.Transcriber, params: PyTree, config: Config) -> Trained:
    """A transcriber with these parameters."""

    @jax.jit
    def predict(sounds):
        keys = built.module.apply(params, built.spectrogram.encode(sounds))
        assert isinstance(keys, Keys)
        return Keys(jax.nn.sigmoid(keys.onset), jax.nn.sigmoid(keys.frame), keys.velocity)

    return Trained(built, lambda sounds: Keys(*in_blocks(predict, sounds, min(len(sounds), _BATCH))), config.evaluation)


def transcribe(found: Trained, sound: Sound) -> tuple[list[Note], str]:
    """The notes of a recording, and a sentence about it if it has none.

    Channels are averaged, the sample rate is changed to that of the network, and the peak to that of its training
    sounds.

    Raises:
      ValueError: for a sound that is shorter than a frame or not finite.
    """
    built = found.built
    x = np.asarray(sound.x, np.float32)
    x = x.mean(axis=0) if x.ndim == 2 else x
    if len(x) * FRAME_RATE < sound.sample_rate:
        raise ValueError(f"sound must last at least {1000 / FRAME_RATE:g} ms, a frame, got {len(x)} samples "
                         f"at {sound.sample_rate} Hz")  # fmt: skip
    if not np.all(np.isfinite(x)):
        raise ValueError(f"sound must be finite, got {np.sum(~np.isfinite(x))} samples that are not")
    if sound.sample_rate != built.sample_rate:
        x = audio.resample(x, sound.sample_rate, built.sample_rate)
    peak = np.abs(x).max(initial=0.0)
    if peak < SILENCE:
        return [], f"silence: the largest sample is below {SILENCE:g} of full scale, so there are no notes"
    keys = _in_pieces(found, x * np.float32(_PEAK / peak))
    notes = _decode(found, Keys(*(each[None] for each in keys)))[0]
    return notes, "" if notes else "no onset of a note was found"


def _in_pieces(found: Trained, x: np.ndarray) -> Keys:
    """Predictions ``(T, pitches)`` of a sound of any length, as of the whole of it with silence around it."""
    hop, frames = found.built.spectrogram.hop, audio.num_frames(len(x), found.built.spectrogram.hop)
    count = -(-frames // _PIECE)
    size = (_PIECE + 2 * _CONTEXT) * hop
    padded = np.zeros((count * _PIECE + 2 * _CONTEXT) * hop, np.float32)
    padded[_CONTEXT * hop : _CONTEXT * hop + len(x)] = x
    pieces = np.stack([padded[start : start + size] for start in _PIECE * hop * np.arange(count)])
    middle = slice(_CONTEXT, _CONTEXT + _PIECE)
    return Keys(*(each[:, middle].reshape(-1, each.shape[-1])[:frames] for each in found.predict(pieces)))


def _decode(found: Trained, keys: Keys) -> list[list[Note]]:
    options = found.options
    check_samples(np.asarray(keys.onset), "the transcriber", "probabilities")
    return [
        decoding.decode(*each, found.built.lowest, options.onset_threshold, options.frame_threshold)
        for each in zip(*keys, strict=True)
    ]


class Measured(NamedTuple):
    """The transcription of phrases, and how it compares with what was played, a row for each."""

    played: list[list[Note]]
    found: list[list[Note]]
    rows: list[dict[str, float]]


def measure(found: Trained, part: Batch, *, noise: float | None = None) -> Measured:
    """Transcribes phrases, with white noise at a signal-to-noise ratio in decibels if one is given."""
    x = np.array(audio.pcm_to_float(jnp.asarray(part["x"])))
    if noise is not None:
        rms = np.sqrt(np.mean(x**2, axis=1, keepdims=True)) * 10 ** (-noise / 20)
        x += (rms * np.random.default_rng(0).normal(size=x.shape)).astype(np.float32)
    notes = _decode(found, found.predict(x))
    lowest, highest = found.built.lowest, found.built.lowest + found.built.module.pitches - 1
    played = [decoding.played_notes(np.asarray(roll), lowest, highest) for roll in part["roll"]]
    frames = part["roll"].shape[1]
    return Measured(played, notes, [decoding.scores(a, b, frames) for a, b in zip(played, notes, strict=True)])
