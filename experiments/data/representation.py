"""In what form a network sees a sound: as the waveform, as a spectrum that can be inverted, or beside its mel."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from ml_collections import ConfigDict, config_dict

from experiments.cli.config import Config, call, numbers_of, resolve
from experiments.mels import SOFT, LogMel, log_mel
from scorekit import audio
from scorekit.typing import Array, ArrayLike

Conditions = Mapping[str, Any]


class Form(NamedTuple):
    """Two functions: ``(B, L)`` at full scale 1 to what the network sees, and back by what the network was told.

    The latter are conditions by their names, as :func:`experiments.models.model.conditions` gives them; None where none are
    known, which all forms but ``magnitudes`` can do with.
    """

    to_model: Callable[[Array], Array]
    to_sound: Callable[[Array, Conditions | None], Array]


def waveform(scale: float = 1.0) -> Form:
    """Samples times ``scale``, ``(B, L, 1)``. Music is quiet: RMS 0.2 at full scale 1."""
    return Form(lambda sound: scale * sound[..., None], lambda x, _: x[..., 0] / scale)


def spectrogram(
    length: int,
    fft_size: int = 256,
    hop: int = 64,
    floor: float = 1e-3,
    centre: float = -3.0,
    spread: float = 3.0,
    by_bins: bool = False,
) -> Form:
    """Log-magnitude and instantaneous frequency as an image of two channels, ``(B, L / hop, fft_size / 2, 2)``.

    The last frame, whose window is half outside the sound, and the bin of half the sample rate are left out and read as
    silence; ``(log(|X| + floor) - centre) / spread`` is of unit order.

    Args:
      length: L, a multiple of ``hop``.
      fft_size: even.
      hop: samples from one frame to the next.
      floor: of the magnitudes of the transform, which are those of a sine of amplitude 1 times ``fft_size / 4``.
      centre: of the logarithms.
      spread: of the logarithms.
      by_bins: give a signal of bins in place of the image, ``(B, fft_size / 2, 2 L / hop)``: see
        :func:`log_magnitudes`.
    """
    window = _window(length, fft_size, hop)

    def to_model(sound):
        channels = audio.encode_spectrum(audio.stft(sound, window, hop)[..., :-1, :-1], floor)
        return jnp.stack([(channels[..., 0] - centre) / spread, channels[..., 1]], axis=-1)

    def to_sound(x, _):
        channels = jnp.stack([x[..., 0] * spread + centre, x[..., 1]], axis=-1)
        spectrum = jnp.pad(audio.decode_spectrum(channels, floor), [(0, 0), (0, 1), (0, 1)])
        return audio.istft(spectrum, window, hop, length)

    form = Form(to_model, to_sound)
    return _by_bins(form, 2) if by_bins else form


def compressed(length: int, fft_size: int = 256, hop: int = 64, power: float = 0.5, scale: float = 1.2) -> Form:
    """The short-time Fourier transform with its magnitudes compressed, ``(B, L / hop, fft_size)``: a signal of frames.

    ``scale |X|^power exp(i arg X)``, real parts of the bins and then imaginary ones, with the phase of each bin counted
    from that of its centre frequency, so that steady partials turn slowly from frame to frame. A residue of noise at
    ``-d`` dB in what the network sees is at ``-d / power`` dB in the sound. The last frame, half outside the sound, and
    the bin of half the sample rate are left out and read as silence.

    Args:
      length: L, a multiple of ``hop``.
      fft_size: even.
      hop: samples from one frame to the next.
      power: of the magnitudes; 1 is the transform itself.
      scale: that brings music to unit order.

    Source: Richter et al. 2023, "Speech enhancement and dereverberation with diffusion-based generative models", eq. 20
    (https://arxiv.org/abs/2208.05830).
    """
    window = _window(length, fft_size, hop)
    if not 0 < power <= 1:
        raise ValueError(f"power must be in (0, 1], got {power}")
    turns = np.arange(length // hop)[:, None] * hop * np.arange(fft_size // 2) / fft_size % 1.0
    centres = np.exp(2j * np.pi * turns).astype(np.complex64)

    def to_model(sound):
        spectrum = audio.stft(sound, window, hop)[..., :-1, :-1] / centres
        small = scale * spectrum * (audio.magnitude(spectrum) + 1e-9) ** (power - 1.0)
        return jnp.concatenate([small.real, small.imag], axis=-1)

    def to_sound(x, _):
        small = jax.lax.complex(*jnp.split(x / scale, 2, axis=-1))
        spectrum = small * audio.magnitude(small) ** (1.0 / power - 1.0) * centres
        return audio.istft(jnp.pad(spectrum, [(0, 0), (0, 1), (0, 1)]), window, hop, length)

    return Form(to_model, to_sound)


def low_rate(length: int, factor: int = 4, scale: float = 1.0) -> Form:
    """Samples times ``scale`` at ``1 / factor`` of the sample rate, ``(B, L / factor, 1)``: the first of a cascade.

    Back at the full rate nothing is left above half the low one.
    """
    if factor < 1 or length % factor:
        raise ValueError(f"factor must divide the {length} samples, got {factor}")
    return Form(
        lambda sound: scale * audio.low_rate(sound, factor)[..., None],
        lambda x, _: audio.high_rate(x[..., 0], factor) / scale,
    )


def magnitudes(mel: LogMel | None, iterations: int = 60) -> Form:
    """What the magnitudes have that the mel spectrogram does not tell, an image of ``(B, L / hop, fft_size / 2, 1)``.

    ``log((|X| + f) / (E + f))`` with ``f = 3e-4`` and ``E`` the envelope that the mel spectrogram tells
    (:func:`scorekit.audio.mel_envelope`), by frames and bins without the last of each. On the way back, phases by
    Griffin and Lim.

    Args:
      mel: what the network is told; ``data.map`` must be ``mel_magnitudes``.
      iterations: of Griffin and Lim.
    """
    if mel is None:
        raise ValueError("name must be another, or data.map.name mel_magnitudes, got magnitudes")

    def to_model(sound):
        size = audio.magnitude(audio.stft(sound, mel.window, mel.hop))[..., :-1, :-1]
        return (jnp.log(size + SOFT) - jnp.log(mel.envelope(mel.told(sound)) + SOFT))[..., None]

    def to_sound(x, given):
        if given is None:
            raise ValueError("given must hold the dense_map that the network was told, got None")
        level = mel.log_envelope(jnp.asarray(given["dense_map"].value))
        size = jnp.maximum(jnp.exp(x[..., 0] + level) - SOFT, 0.0)
        return _from_magnitudes(size, mel.window, mel.hop, iterations)

    return Form(to_model, to_sound)


def log_magnitudes(
    length: int,
    fft_size: int = 256,
    hop: int = 64,
    floor: float = 1e-2,
    centre: float = -3.0,
    spread: float = 1.8,
    iterations: int = 60,
    by_bins: bool = False,
    emphasis: float | None = None,
) -> Form:
    """Log-magnitudes of the short-time Fourier transform, an image of ``(B, L / hop, fft_size / 2, 1)``.

    ``(log(|X| + floor) - centre) / spread``, without the last frame, half outside the sound, and the bin of half the
    sample rate. Quiet partials weigh as much as loud ones down to the floor, 76 dB below a sine of amplitude 1. On the
    way back, phases by Griffin and Lim.

    Args:
      length: L, a multiple of ``hop``.
      fft_size: even.
      hop: samples from one frame to the next.
      floor: of the magnitudes of the transform, which are those of a sine of amplitude 1 times ``fft_size / 4``.
      centre: of the logarithms.
      spread: of the logarithms.
      iterations: of Griffin and Lim.
      by_bins: give a signal of bins in place of the image, ``(B, fft_size / 2, L / hop)``. Its places are frequencies,
        and the channels of each its course in time. Sounds of one length that begin together, as notes do, are learned
        at a fraction of the cost so.
      emphasis: with ``by_bins``, channel k is coefficient k of the cosine transform of that course (orthonormal DCT-II)
        times ``(k + 1)**emphasis``: fast changes are small, and weigh more so. None: the course as it is.
    """
    if emphasis is not None and not by_bins:
        raise ValueError(f"emphasis must be left out without by_bins, got {emphasis}")
    window = _window(length, fft_size, hop)

    def to_model(sound):
        size = audio.magnitude(audio.stft(sound, window, hop))[..., :-1, :-1]
        return ((jnp.log(size + floor) - centre) / spread)[..., None]

    def to_sound(x, _):
        size = jnp.maximum(jnp.exp(x[..., 0] * spread + centre) - floor, 0.0)
        return _from_magnitudes(size, window, hop, iterations)

    form = Form(to_model, to_sound)
    form = _by_bins(form, 1) if by_bins else form
    return form if emphasis is None else _cosines(form, length // hop, emphasis)


def _by_bins(form: Form, channels: int) -> Form:
    """A form of images ``(B, frames, bins, channels)`` as one of signals ``(B, bins, frames channels)``."""

    def to_model(sound):
        image = form.to_model(sound)
        return jnp.swapaxes(image, -3, -2).reshape(*image.shape[:-3], image.shape[-2], -1)

    def to_sound(x, given):
        return form.to_sound(jnp.swapaxes(x.reshape(*x.shape[:-1], -1, channels), -3, -2), given)

    return Form(to_model, to_sound)


def _cosines(form: Form, channels: int, emphasis: float) -> Form:
    """The cosine transform of the channels of a form, coefficient k times ``(k + 1)**emphasis``."""
    there = np.asarray(scipy.fft.dct(np.eye(channels), norm="ortho")) * np.arange(1, channels + 1) ** emphasis
    product = partial(jnp.matmul, precision="highest")
    there, back = (np.asarray(matrix, np.float32) for matrix in (there, np.linalg.inv(there)))
    return Form(
        lambda sound: product(form.to_model(sound), there),
        lambda x, given: form.to_sound(product(x, back), given),
    )


def _window(length: int, fft_size: int, hop: int) -> np.ndarray:
    """Hann's, of a transform whose frames are whole numbers of hops."""
    if length % hop or fft_size % 2:
        raise ValueError(f"hop must divide the {length} samples and fft_size be even, got {hop} and {fft_size}")
    return audio.hann(fft_size)


def _from_magnitudes(size: Array, window: ArrayLike, hop: int, iterations: int) -> Array:
    """The sound of magnitudes that lack the last frame, which is taken to be as the one before, and the last bin."""
    length = size.shape[-2] * hop
    size = jnp.pad(jnp.pad(size, [(0, 0), (0, 1), (0, 0)], mode="edge"), [(0, 0), (0, 0), (0, 1)])
    return audio.griffin_lim(jax.random.key(0), size, window, hop, length, iterations=iterations).x


FORMS: Mapping[str, Callable] = {
    "compressed": compressed,
    "log_magnitudes": log_magnitudes,
    "low_rate": low_rate,
    "magnitudes": magnitudes,
    "spectrogram": spectrogram,
    "waveform": waveform,
}


def section() -> ConfigDict:
    """The fields of ``config.data.form``, all unset: a config that was saved before they existed is read as before."""
    found = numbers_of(*FORMS.values(), offered=("length", "mel"))
    with found.unlocked():
        found.name = config_dict.placeholder(str)
    return found


def build_form(config: Config, length: int, sample_rate: int) -> Form:
    """The form that the whole ``config`` names, the waveform by default, for sounds of this length."""
    if config.data.form.name is None:
        return waveform()
    told = "map" in config.data and config.data.map.name == "mel_magnitudes"
    mel = call(config, "data.map", "data.map.name=mel_magnitudes", log_mel, sample_rate=sample_rate) if told else None
    return resolve(config, "data.form", FORMS, length=length, mel=mel)


def spectrogram_images(sounds: np.ndarray) -> np.ndarray:
    """Sounds ``(N, L)`` as pictures ``(N, bins, frames, 1)`` in [-1, 1]: 80 dB, low frequencies at the bottom."""
    size = max(64, 2 ** round(np.log2(sounds.shape[1] / 16)))
    level = 20 * jnp.log10(audio.magnitude(audio.stft(jnp.asarray(sounds), audio.hann(size), size // 4)) + 1e-9)
    return np.asarray(jnp.clip((level - 20 * np.log10(size / 4)) / 40 + 1, -1, 1)).transpose(0, 2, 1)[:, ::-1, :, None]
