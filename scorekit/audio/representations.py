"""Representations of sounds for networks: the waveform, and invertible or magnitude-only spectra.

Each factory returns a :class:`Representation`, a pair of pure functions from sounds ``(B, L)`` at full scale [-1, 1] to
the array that a network models, scaled to unit order, and back. Spectra leave out the last frame, whose window is
half outside the sound, and the Nyquist bin, so that their sizes are powers of two; both count as silence on the way
back. Where only magnitudes are modelled, phases are found by Griffin and Lim's iteration.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Finite, NonNegativeInt, Positive, PositiveFraction, PositiveInt, checked
from scorekit.audio import rates
from scorekit.audio._checks import MAGNITUDE_OFFSET
from scorekit.audio.fourier import hann, istft, magnitude, stft
from scorekit.audio.frequency import decode_spectrum, encode_spectrum
from scorekit.audio.mel_features import LogMel
from scorekit.audio.mel_spectrograms import mel_envelope
from scorekit.audio.phase_retrieval import griffin_lim
from scorekit.typing import Array, ArrayLike, Number

__all__ = ["Representation", "compressed", "log_magnitudes", "low_rate", "magnitudes", "spectrogram", "waveform"]


class Representation(NamedTuple):
    """An encoder and a decoder of sounds.

    Attributes:
      encode: function of sounds ``(B, L)`` at full scale 1 that returns the network's input; the analysis of
        :func:`.note_controls` takes pitches as well.
      decode: function of ``(x, dense_map=None)`` that returns sounds ``(B, L)``. ``dense_map`` is the array that the
        network was conditioned on; only :func:`magnitudes` needs it.
      controls: if a synthesiser decodes, as in :func:`.note_controls`, the function from the network's output to the
        controls of the synthesiser; else None.

    >>> quiet = Representation(*waveform(scale=2.0))
    >>> quiet.decode(quiet.encode(jnp.array([[0.25, -0.25]]))).tolist()
    [[0.25, -0.25]]
    """

    encode: Callable[..., Array]
    decode: Callable[..., Array]
    controls: Callable[[ArrayLike], tuple[Array, Array, Array]] | None = None


@checked
def waveform(scale: Positive[float] = 1.0) -> Representation:
    """Samples times ``scale``, ``(B, L, 1)``. Music is quiet: its RMS is about 0.2 at full scale 1.

    Args:
      scale: factor that brings sounds to unit order.

    >>> waveform(5.0).encode(jnp.zeros((2, 1024))).shape
    (2, 1024, 1)
    """
    return Representation(
        lambda sound: scale * jnp.asarray(sound)[..., None], lambda x, dense_map=None: x[..., 0] / scale
    )


@checked
def low_rate(length: PositiveInt, factor: PositiveInt = 4, scale: Positive[float] = 1.0) -> Representation:
    """Samples times ``scale`` at ``1 / factor`` of the sample rate, ``(B, L / factor, 1)``: first stage of a cascade.

    Decoded sounds have no energy above half the low sample rate.

    Args:
      length: number L of samples, a multiple of ``factor``.
      factor: ratio of the sample rates.
      scale: factor that brings sounds to unit order.

    >>> low_rate(1024, factor=4).encode(jnp.zeros((2, 1024))).shape
    (2, 256, 1)
    """
    if length % factor:
        raise ValueError(f"factor must divide the {length} samples, got {factor}")
    return Representation(
        lambda sound: scale * rates.low_rate(sound, factor)[..., None],
        lambda x, dense_map=None: rates.high_rate(x[..., 0], factor) / scale,
    )


@checked
def spectrogram(
    length: PositiveInt,
    fft_size: int = 256,
    hop: PositiveInt = 64,
    floor: Positive[float] = 1e-3,
    log_mean: Finite[float] = -3.0,
    log_std: Positive[float] = 3.0,
    by_bins: bool = False,
) -> Representation:
    """Log-magnitude and instantaneous frequency as an image of two channels, ``(B, L / hop, fft_size / 2, 2)``.

    ``(log(|X| + floor) - log_mean) / log_std`` and the second channel of :func:`scorekit.audio.encode_spectrum`.

    Args:
      length: number L of samples, a multiple of ``hop``.
      fft_size: length of the Fourier transform, even.
      hop: samples from one frame to the next.
      floor: number added to STFT magnitudes; a sine of amplitude 1 has the magnitude ``fft_size / 4``.
      log_mean: typical mean of the log-magnitudes.
      log_std: typical standard deviation of the log-magnitudes.
      by_bins: signal along frequency, ``(B, fft_size / 2, 2 L / hop)``, instead of the image: see
        :func:`log_magnitudes`.

    >>> spectrogram(1024).encode(jnp.zeros((2, 1024))).shape
    (2, 16, 128, 2)

    Source: Engel et al. 2019, "GANSynth: adversarial neural audio synthesis" (arXiv:1902.08710).
    """
    window = _window(length, fft_size, hop)

    def encode(sound):
        channels = encode_spectrum(stft(sound, window, hop)[..., :-1, :-1], floor)
        return jnp.stack([(channels[..., 0] - log_mean) / log_std, channels[..., 1]], axis=-1)

    def decode(x, dense_map=None):
        channels = jnp.stack([x[..., 0] * log_std + log_mean, x[..., 1]], axis=-1)
        spectrum = jnp.pad(decode_spectrum(channels, floor), [(0, 0), (0, 1), (0, 1)])
        return istft(spectrum, window, hop, length)

    image = Representation(encode, decode)
    return _by_bins(image, 2) if by_bins else image


@checked
def compressed(
    length: PositiveInt,
    fft_size: int = 256,
    hop: PositiveInt = 64,
    power: PositiveFraction[float] = 0.5,
    scale: Positive[float] = 1.2,
) -> Representation:
    """The complex spectrum with compressed magnitudes as a signal of frames, ``(B, L / hop, fft_size)``.

    ``scale |X|^power exp(i arg X)``: the real parts of the bins, then the imaginary ones. The phase of a bin is
    relative to the phase of its centre frequency, so that steady partials rotate slowly from frame to frame. A residual
    noise of ``-d`` dB in the representation becomes a noise of ``-d / power`` dB in the sound.

    Args:
      length: number L of samples, a multiple of ``hop``.
      fft_size: length of the Fourier transform, even.
      hop: samples from one frame to the next.
      power: exponent of the magnitudes; 1 is the plain spectrum.
      scale: factor that brings sounds to unit order.

    >>> compressed(1024).encode(jnp.zeros((2, 1024))).shape
    (2, 16, 256)

    Source: Richter et al. 2023, "Speech enhancement and dereverberation with diffusion-based generative models"
    (https://arxiv.org/abs/2208.05830).
    """
    window = _window(length, fft_size, hop)
    turns = np.arange(length // hop)[:, None] * hop * np.arange(fft_size // 2) / fft_size % 1.0
    carriers = np.exp(2j * np.pi * turns).astype(np.complex64)

    def encode(sound):
        spectrum = stft(sound, window, hop)[..., :-1, :-1] / carriers
        small = scale * spectrum * (magnitude(spectrum) + 1e-9) ** (power - 1.0)
        return jnp.concatenate([small.real, small.imag], axis=-1)

    def decode(x, dense_map=None):
        small = jax.lax.complex(*jnp.split(x / scale, 2, axis=-1))
        spectrum = small * magnitude(small) ** (1.0 / power - 1.0) * carriers
        return istft(jnp.pad(spectrum, [(0, 0), (0, 1), (0, 1)]), window, hop, length)

    return Representation(encode, decode)


@checked
def magnitudes(mel: LogMel, iterations: NonNegativeInt = 60, match_envelope: bool = False) -> Representation:
    """Magnitudes relative to the envelope of the mel spectrogram, an image of ``(B, L / hop, fft_size / 2, 1)``.

    ``log((|X| + f) / (E + f))`` with ``f = 3e-4`` and ``E`` the envelope :meth:`LogMel.envelope`: the part of the
    magnitudes that the mel spectrogram, on which the network is conditioned, does not hold. ``decode`` needs that
    condition as its ``dense_map``, the array of two images of :meth:`LogMel.images`.

    Args:
      mel: features that the network is conditioned on.
      iterations: number of steps of Griffin and Lim's algorithm.
      match_envelope: scaling of the magnitudes when decoding, by ``(E + f) / (E' + f)`` with their own envelope E', so
        that they have the mel spectrogram of the condition.

    >>> from scorekit.audio import make_log_mel
    >>> mel = make_log_mel(8000)
    >>> representation, sound = magnitudes(mel, iterations=2), jnp.zeros((2, 1024))
    >>> x = jax.jit(representation.encode)(sound)
    >>> x.shape, jax.jit(representation.decode)(x, mel.images(mel.encode(sound))).shape
    ((2, 16, 128, 1), (2, 1024))
    """

    def encode(sound):
        size = magnitude(stft(sound, mel.window, mel.hop))[..., :-1, :-1]
        envelope = mel.envelope(mel.encode(sound))
        return (jnp.log(size + MAGNITUDE_OFFSET) - jnp.log(envelope + MAGNITUDE_OFFSET))[..., None]

    def decode(x, dense_map=None):
        if dense_map is None:
            raise ValueError("dense_map must be the images of the mel spectrogram (LogMel.images), got None")
        wanted = mel.log_envelope(jnp.asarray(dense_map))
        size = jnp.maximum(jnp.exp(x[..., 0] + wanted) - MAGNITUDE_OFFSET, 0.0)
        if match_envelope:
            own = mel_envelope(jnp.matmul(size, mel.bank[:-1], precision="highest"), mel.bank)[..., :-1]
            size = size * jnp.exp(wanted) / (own + MAGNITUDE_OFFSET)
        return _from_magnitudes(size, mel.window, mel.hop, iterations)

    return Representation(encode, decode)


@checked
def log_magnitudes(
    length: PositiveInt,
    fft_size: int = 256,
    hop: PositiveInt = 64,
    floor: Positive[float] = 1e-2,
    log_mean: Finite[float] = -3.0,
    log_std: Positive[float] = 1.8,
    iterations: NonNegativeInt = 60,
    by_bins: bool = False,
    dct_power: Finite[float] | None = None,
    by_frames: bool = False,
) -> Representation:
    """Log-magnitudes of the short-time Fourier transform, an image of ``(B, L / hop, fft_size / 2, 1)``.

    ``(log(|X| + floor) - log_mean) / log_std``. Quiet partials weigh as much as loud ones down to the floor, 76 dB
    below a sine of amplitude 1.

    Args:
      length: number L of samples, a multiple of ``hop``.
      fft_size: length of the Fourier transform, even.
      hop: samples from one frame to the next.
      floor: number added to STFT magnitudes; a sine of amplitude 1 has the magnitude ``fft_size / 4``.
      log_mean: typical mean of the log-magnitudes.
      log_std: typical standard deviation of the log-magnitudes.
      iterations: number of steps of Griffin and Lim's algorithm.
      by_bins: signal along frequency, ``(B, fft_size / 2, L / hop)``, instead of the image: its positions are frequency
        bins, and the channels of each are its temporal envelope. Sounds of one length that start together, as notes do,
        are learned at a fraction of the cost.
      dct_power: exponent of a weighted DCT, only with ``by_bins``: each temporal envelope is replaced by its
        orthonormal DCT-II, coefficient k weighted by ``(k + 1)**dct_power``: rapid changes have small coefficients,
        which positive powers amplify. None: no transform.
      by_frames: signal along time, ``(B, L / hop, fft_size / 2)``, instead of the image, not with ``by_bins``: its
        positions are frames, and the channels of each are its bins, as causal networks and levels of frames need it.

    >>> jax.jit(log_magnitudes(1024, by_bins=True, dct_power=0.5).encode)(jnp.zeros((2, 1024))).shape
    (2, 128, 16)
    """
    if dct_power is not None and not by_bins:
        raise ValueError(f"dct_power must be None without by_bins, got {dct_power}")
    if by_bins and by_frames:
        raise ValueError("by_frames must be False with by_bins: positions are frames or bins, got True")
    window = _window(length, fft_size, hop)

    def encode(sound):
        size = magnitude(stft(sound, window, hop))[..., :-1, :-1]
        x = (jnp.log(size + floor) - log_mean) / log_std
        return x if by_frames else x[..., None]

    def decode(x, dense_map=None):
        x = x if by_frames else x[..., 0]
        return _from_magnitudes(jnp.maximum(jnp.exp(x * log_std + log_mean) - floor, 0.0), window, hop, iterations)

    found = Representation(encode, decode)
    found = _by_bins(found, 1) if by_bins else found
    return found if dct_power is None else _weighted_dct(found, length // hop, dct_power)


def _by_bins(image: Representation, channels: int) -> Representation:
    """A representation by images ``(B, frames, bins, channels)`` as one by signals ``(B, bins, frames channels)``."""

    def encode(sound):
        x = image.encode(sound)
        return jnp.swapaxes(x, -3, -2).reshape(*x.shape[:-3], x.shape[-2], -1)

    def decode(x, dense_map=None):
        return image.decode(jnp.swapaxes(x.reshape(*x.shape[:-1], -1, channels), -3, -2), dense_map)

    return Representation(encode, decode)


def _weighted_dct(signal: Representation, channels: int, power: Number) -> Representation:
    """A representation whose channels are replaced by their DCT, coefficient k times ``(k + 1)**power``."""
    forward = _dct_matrix(channels) * np.arange(1, channels + 1) ** power
    forward, inverse = (np.asarray(matrix, np.float32) for matrix in (forward, np.linalg.inv(forward)))
    product = partial(jnp.matmul, precision="highest")
    return Representation(
        lambda sound: product(signal.encode(sound), forward),
        lambda x, dense_map=None: signal.decode(product(x, inverse), dense_map),
    )


def _dct_matrix(size: int) -> np.ndarray:
    """The orthonormal DCT-II as a matrix that multiplies rows: ``x @ matrix``."""
    n, k = np.arange(size)[:, None], np.arange(size)
    return np.where(k == 0, np.sqrt(1 / size), np.sqrt(2 / size)) * np.cos(np.pi * (2 * n + 1) * k / (2 * size))


def _window(length: int, fft_size: int, hop: int) -> np.ndarray:
    """A Hann window, of a sound that is an integer number of hops long."""
    if length % hop or fft_size % 2:
        raise ValueError(f"hop must divide the {length} samples and fft_size be even, got {hop} and {fft_size}")
    return hann(fft_size)


def _from_magnitudes(size: Array, window: ArrayLike, hop: int, iterations: int) -> Array:
    """The sound of magnitudes without their last frame, which repeats the one before, and without the Nyquist bin."""
    length = size.shape[-2] * hop
    size = jnp.pad(jnp.pad(size, [(0, 0), (0, 1), (0, 0)], mode="edge"), [(0, 0), (0, 0), (0, 1)])
    return griffin_lim(jax.random.key(0), size, window, hop, length, iterations=iterations).x
