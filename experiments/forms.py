"""In what form a network sees a sound: as the waveform, as a spectrogram that can be inverted, or evened out."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict, config_dict

from experiments.config import Config, call, numbers_of, resolve
from experiments.mels import LogMel, log_mel
from scorekit import audio
from scorekit.typing import Array

Conditions = Mapping[str, Any]


class Form(NamedTuple):
    """Two functions: ``(B, L)`` at full scale 1 to what the network sees, and back by what the network was told.

    The latter are conditions by their names, as :func:`experiments.model.conditions` gives them; None where none are
    known, which all forms but ``equalised`` can do with.
    """

    to_model: Callable[[Array], Array]
    to_sound: Callable[[Array, Conditions | None], Array]


def waveform(scale: float = 1.0) -> Form:
    """Samples times ``scale``, ``(B, L, 1)``. Music is quiet: RMS 0.2 at full scale 1."""
    return Form(lambda sound: scale * sound[..., None], lambda x, _: x[..., 0] / scale)


def spectrogram(
    length: int, fft_size: int = 256, hop: int = 64, floor: float = 1e-3, centre: float = -3.0, spread: float = 3.0
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
    """
    if length % hop or fft_size % 2:
        raise ValueError(f"hop must divide the {length} samples and fft_size be even, got {hop} and {fft_size}")
    window = audio.hann(fft_size)

    def to_model(sound):
        channels = audio.encode_spectrum(audio.stft(sound, window, hop)[..., :-1, :-1], floor)
        return jnp.stack([(channels[..., 0] - centre) / spread, channels[..., 1]], axis=-1)

    def to_sound(x, _):
        channels = jnp.stack([x[..., 0] * spread + centre, x[..., 1]], axis=-1)
        spectrum = jnp.pad(audio.decode_spectrum(channels, floor), [(0, 0), (0, 1), (0, 1)])
        return audio.istft(spectrum, window, hop, length)

    return Form(to_model, to_sound)


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
    if length % hop or fft_size % 2:
        raise ValueError(f"hop must divide the {length} samples and fft_size be even, got {hop} and {fft_size}")
    if not 0 < power <= 1:
        raise ValueError(f"power must be in (0, 1], got {power}")
    window = audio.hann(fft_size)
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


def equalised(mel: LogMel | None, scale: float = 16.0, raised: float = 0.1) -> Form:
    """The waveform with its loudness evened out over time and frequency, ``(B, L, 1)``, for networks told the mel.

    Gains ``scale / (E + raised)`` by frames, where ``E`` is the envelope that the mel spectrogram tells
    (:func:`scorekit.audio.mel_envelope`); on the way back their inverse, and gains that bring the sound to this mel
    spectrogram. An error of the network is then as far below the sound in a quiet place as in a loud one.

    Args:
      mel: what the network is told; ``data.map`` must be ``log_mel``.
      scale: that brings music to unit order.
      raised: added to the envelope, in magnitudes of the transform: a sine of amplitude 1 has ``fft_size / 4``.
    """
    if mel is None:
        raise ValueError("name must be another, or data.map.name log_mel, got equalised")
    bank, window, hop = mel

    def to_model(sound):
        level = audio.mel_envelope(mel.mel(mel.told(sound)), bank) + raised
        return audio.apply_gains(sound, scale / level, window, hop)[..., None]

    def to_sound(x, given):
        if given is None:
            raise ValueError("given must hold the dense_map that the network was told, got None")
        told = mel.mel(jnp.asarray(given["dense_map"].value))
        back = audio.apply_gains(x[..., 0], (audio.mel_envelope(told, bank) + raised) / scale, window, hop)
        return audio.match_mel(back, told, bank, window, hop)

    return Form(to_model, to_sound)


FORMS: Mapping[str, Callable] = {
    "compressed": compressed,
    "equalised": equalised,
    "low_rate": low_rate,
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
    told = "map" in config.data and config.data.map.name == "log_mel"
    mel = call(config, "data.map", "data.map.name=log_mel", log_mel, sample_rate=sample_rate) if told else None
    return resolve(config, "data.form", FORMS, length=length, mel=mel)


def spectrogram_images(sounds: np.ndarray) -> np.ndarray:
    """Sounds ``(N, L)`` as pictures ``(N, bins, frames, 1)`` in [-1, 1]: 80 dB, low frequencies at the bottom."""
    size = max(64, 2 ** round(np.log2(sounds.shape[1] / 16)))
    level = 20 * jnp.log10(audio.magnitude(audio.stft(jnp.asarray(sounds), audio.hann(size), size // 4)) + 1e-9)
    return np.asarray(jnp.clip((level - 20 * np.log10(size / 4)) / 40 + 1, -1, 1)).transpose(0, 2, 1)[:, ::-1, :, None]
