"""A transcriber from a config: its network, its loss, and the augmentation of the sounds that it is trained on."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from experiments import data
from experiments.cli.config import Config, require
from experiments.cli.fields import NON_NEGATIVE, POSITIVE, Field, Section
from experiments.data.phrases import Phrases
from experiments.models.onsets_and_frames import Keys, OnsetsAndFrames, PitchSpectrogram, pitch_spectrogram
from experiments.models.run_files import EVALUATED, check_average
from scorekit import audio
from scorekit.arguments import Between, Count, Each
from scorekit.data.phrases import FRAME_RATE, SECONDS
from scorekit.typing import Array, Key, PyTree

NUM_SAMPLES, SHOWN = 100, 4
_KNOTS = 6
"""Of the random filter, evenly over the pitches."""


class Transcriber(NamedTuple):
    """What a config describes, for sounds of one sample rate."""

    module: OnsetsAndFrames
    spectrogram: PitchSpectrogram
    lowest: int
    sample_rate: int


FIELDS = Section(
    transcriber=Section(
        lowest=Field(36, Count(16, 111), "The lowest key that is transcribed, a MIDI pitch."),
        highest=Field(84, Count(16, 111), "The highest key."),
        channels=Field(32, Count(1, 2**16), "Of the hidden layers, for each key and pair of frames."),
        blocks=Field(3, Count(0, 1024), "Residual blocks before the heads."),
        windows=Field((0.512, 0.128), Each(Between(1 / FRAME_RATE, SECONDS), least=1), """
            Windows of the spectrograms, in seconds: a long one separates keys, a short one places onsets. At least a
            frame, 16 ms, and at most a phrase."""),
    ),
    loss=Section(
        onset=Field(2.0, POSITIVE, "Weight of the cross-entropy of onsets; that of active keys has weight 1."),
        velocity=Field(5.0, NON_NEGATIVE, "Weight of the squared error of the velocities of onsets, over 127."),
    ),
    augmentation=Section(
        gain=Field(20.0, NON_NEGATIVE, "Sounds are attenuated by up to so many decibels."),
        noise=Field(15.0, Between(-60, 60), """
            The lowest signal-to-noise ratio of white noise that is added, in decibels; the highest is 60."""),
        filter=Field(3.0, NON_NEGATIVE, """
            Standard deviation of the random gains of a filter, in decibels; it is smooth over pitch."""),
        delay=Field(0.25, NON_NEGATIVE, "Sounds begin after up to so many seconds of silence."),
    ),
    evaluation=Section(
        onset_threshold=Field(None, Between(0, 1, "both"), """
            A note begins where the probability of an onset has a maximum of at least this value; null: the one that is
            best on training phrases, which the run chooses at its end."""),
        frame_threshold=Field(0.5, Between(0, 1, "both"), """
            A note ends where the probability of its key being active falls below this value."""),
        num_samples=Field(None, Count(2, 10**8), f"""
            Held-out phrases that are transcribed, and training phrases for the threshold; None is {NUM_SAMPLES}."""),
        shown=Field(None, Count(1, 10**6), f"Phrases with audio widgets; None is {SHOWN}."),
        ema=EVALUATED.but("0.99"),
    ),
)  # fmt: skip
"""The sections of a transcriber's config beside ``data`` and ``training``."""


def check(config: Config) -> None:
    """Validates relations between fields; compiles nothing."""
    require(issubclass(data.kind_of(config), Phrases), "data.name", config.data.name, "a data set of phrases")
    crop = config.data.crop
    require(crop is None, "data.crop", crop, "None: where a sound is cut, a key that is down would count as struck")
    representation = config.data.representation.name
    require(representation is None, "data.representation.name", representation,
            "None: a transcriber has a spectrogram of its own, transcriber.windows")  # fmt: skip
    lowest, highest = config.transcriber.lowest, config.transcriber.highest
    require(lowest <= highest, "transcriber.lowest", lowest, f"at most transcriber.highest={highest}")
    check_average(config, "evaluation.ema")


def build_transcriber(config: Config, sample_rate: int) -> Transcriber:
    """Puts the parts of the config together."""
    options = config.transcriber
    lowest, highest = options.lowest, options.highest
    hop = round(sample_rate / FRAME_RATE)
    return Transcriber(
        OnsetsAndFrames(highest - lowest + 1, options.channels, options.blocks),
        pitch_spectrogram(sample_rate, hop, lowest, highest, tuple(options.windows)),
        lowest,
        sample_rate,
    )


def init_params(built: Transcriber, key: Key) -> PyTree:
    """The initial parameters."""
    x = built.spectrogram.encode(jnp.zeros((1, 4 * built.spectrogram.hop)))
    return jax.jit(built.module.init)(key, x)


def make_prepare(built: Transcriber, config: Config) -> Callable[[Key, Mapping[str, Any]], dict[str, Array]]:
    """``(key, batch) -> batch``: augmented spectrograms and the keys of the roll, ``velocity / 127``."""
    hop, options = built.spectrogram.hop, config.augmentation
    most = round(options.delay * FRAME_RATE)

    def delayed(x: Array, steps: Array) -> Array:
        padded = jnp.pad(x, [(most, 0), (0, 0)])
        return jax.lax.dynamic_slice_in_dim(padded, most - steps, len(x))

    def prepare(key, batch):
        for_delay, for_gain, for_snr, for_noise, for_filter = jax.random.split(key, 5)
        sound = audio.pcm_to_float(jnp.asarray(batch["x"]))
        num, length = sound.shape
        roll = jnp.asarray(batch["roll"], jnp.float32)[..., built.lowest : built.lowest + built.module.pitches] / 127.0
        delay = jax.random.randint(for_delay, (num,), 0, most + 1)
        blocks = sound.reshape(num, length // hop, hop)
        sound, roll = jax.vmap(delayed)(blocks, delay).reshape(num, length), jax.vmap(delayed)(roll, delay)
        gain = -jax.random.uniform(for_gain, (num, 1), maxval=options.gain)
        snr = jax.random.uniform(for_snr, (num, 1), minval=options.noise, maxval=60.0)
        rms = jnp.sqrt(jnp.mean(sound**2, axis=1, keepdims=True))
        noise = rms * decibels(-snr) * jax.random.normal(for_noise, sound.shape)
        x = built.spectrogram.encode(decibels(gain) * (sound + noise))
        knots = options.filter * jax.random.normal(for_filter, (num, _KNOTS))
        at = jnp.linspace(0.0, _KNOTS - 1.0, x.shape[2])
        gains = jax.vmap(lambda knot: jnp.interp(at, jnp.arange(_KNOTS), knot))(knots)
        return {"x": x + built.spectrogram.step(gains)[:, None, :, None], "roll": roll}

    return prepare


def decibels(level: Array) -> Array:
    """The factor of an amplitude."""
    return 10.0 ** (level / 20.0)


def onsets(roll: Array) -> Array:
    """Where notes begin in rolls ``(B, T, pitches)``, as booleans: a key is struck again where its velocity changes."""
    before = jnp.pad(roll, [(0, 0), (1, 0), (0, 0)])[:, :-1]
    return (roll > 0) & (roll != before)


def make_loss(built: Transcriber, config: Config):
    """``(params, prepared batch) -> (loss of each example, its terms)``, in nats for each frame.

    The frames beside an onset have the target 1/2.
    """
    weights = config.loss

    def loss(params, batch):
        keys = cast(Keys, built.module.apply(params, batch["x"]))
        roll = batch["roll"]
        start = onsets(roll).astype(jnp.float32)
        padded = jnp.pad(start, [(0, 0), (1, 1), (0, 0)])
        near = jnp.maximum(start, 0.5 * jnp.maximum(padded[:, :-2], padded[:, 2:]))
        summed = lambda terms: jnp.mean(jnp.sum(terms, axis=2), axis=1)
        onset = summed(optax.sigmoid_binary_cross_entropy(keys.onset, near))
        frame = summed(optax.sigmoid_binary_cross_entropy(keys.frame, (roll > 0).astype(jnp.float32)))
        velocity = summed(start * jnp.square(keys.velocity - roll))
        value = weights.onset * onset + frame + weights.velocity * velocity
        return value, {"train/onset": onset, "train/frame": frame, "train/velocity": velocity}

    return loss
