"""Audio: signals as arrays ``(..., length)``, their transforms, distances and features, and files.

:mod:`scorekit.audio.files` reads, writes and resamples on the host (``pip install 'scorekit[sound]'``); all other
modules need jax and numpy only. :mod:`scorekit.audio.representations` holds the representations of sounds for networks,
:mod:`scorekit.audio.structure` statistics of rhythm and harmony, :mod:`scorekit.audio.ddsp` a differentiable
synthesiser.

Args:
  key: PRNG key.
  x: signals ``(..., length)``, full scale [-1, 1].
  length: number of samples of the signal.
  sample_rate: sample rate in Hz.
  window: window ``(N,)``, concrete.
  hop: samples from one frame to the next.

Returns:
  Signals, spectra and features with the leading axes of the signals.
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.audio import ddsp, representations, structure
    from scorekit.audio.distances import log_spectral_distance, multi_resolution_stft_loss, spectral_convergence
    from scorekit.audio.excitation import harmonic_tones, pitch_velocity_features, pulse_train
    from scorekit.audio.files import Sound, read, resample, write
    from scorekit.audio.fourier import (
        frame,
        from_polar,
        hann,
        istft,
        magnitude,
        num_frames,
        overlap_add,
        phase,
        randomise_phase,
        spectrogram_images,
        stft,
    )
    from scorekit.audio.frequency import decode_spectrum, encode_spectrum
    from scorekit.audio.mel_features import LogMel, log_mel_frames, log_mel_statistics, make_log_mel
    from scorekit.audio.mel_spectrograms import (
        hz_to_mel,
        log_mel,
        magnitude_from_mel,
        match_mel,
        mel_envelope,
        mel_filter_bank,
        mel_spectrogram,
        mel_to_hz,
    )
    from scorekit.audio.music import chroma, correlation, onset_envelope, seam_roughness
    from scorekit.audio.pcm import (
        float_to_pcm,
        mu_law_compress,
        mu_law_decode,
        mu_law_encode,
        mu_law_expand,
        normalise_peak,
        pcm_to_float,
    )
    from scorekit.audio.phase_retrieval import GriffinLim, griffin_lim
    from scorekit.audio.rates import high_rate, low_rate
    from scorekit.audio.representations import Representation

__getattr__, __dir__ = attach(__name__)

__all__ = [
    "GriffinLim",
    "LogMel",
    "Representation",
    "Sound",
    "chroma",
    "correlation",
    "ddsp",
    "decode_spectrum",
    "encode_spectrum",
    "float_to_pcm",
    "frame",
    "from_polar",
    "griffin_lim",
    "hann",
    "harmonic_tones",
    "high_rate",
    "hz_to_mel",
    "istft",
    "log_mel",
    "log_mel_frames",
    "log_mel_statistics",
    "log_spectral_distance",
    "low_rate",
    "magnitude",
    "magnitude_from_mel",
    "make_log_mel",
    "match_mel",
    "mel_envelope",
    "mel_filter_bank",
    "mel_spectrogram",
    "mel_to_hz",
    "mu_law_compress",
    "mu_law_decode",
    "mu_law_encode",
    "mu_law_expand",
    "multi_resolution_stft_loss",
    "normalise_peak",
    "num_frames",
    "onset_envelope",
    "overlap_add",
    "pcm_to_float",
    "phase",
    "pitch_velocity_features",
    "pulse_train",
    "randomise_phase",
    "read",
    "representations",
    "resample",
    "seam_roughness",
    "spectral_convergence",
    "spectrogram_images",
    "stft",
    "structure",
    "write",
]
