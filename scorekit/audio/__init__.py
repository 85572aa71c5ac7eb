"""Audio: signals as arrays ``(..., length)``, their transforms, distances and features, and files.

:mod:`scorekit.audio.files` reads, writes and resamples on the host (``pip install 'scorekit[sound]'``); all other
modules need jax and numpy only. :mod:`scorekit.audio.representations` holds the representations of sounds for networks,
:mod:`scorekit.audio.structure` statistics of rhythm and harmony, :mod:`scorekit.audio.ddsp` a differentiable
synthesiser.
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.audio import ddsp as ddsp
    from scorekit.audio import representations as representations
    from scorekit.audio import structure as structure
    from scorekit.audio.constant_q_transform import ConstantQ as ConstantQ
    from scorekit.audio.constant_q_transform import constant_q as constant_q
    from scorekit.audio.constant_q_transform import constant_q_frame as constant_q_frame
    from scorekit.audio.constant_q_transform import inverse_constant_q as inverse_constant_q
    from scorekit.audio.distances import log_spectral_distance as log_spectral_distance
    from scorekit.audio.distances import multi_resolution_stft_loss as multi_resolution_stft_loss
    from scorekit.audio.distances import spectral_convergence as spectral_convergence
    from scorekit.audio.excitation import harmonic_tones as harmonic_tones
    from scorekit.audio.excitation import pitch_velocity_features as pitch_velocity_features
    from scorekit.audio.excitation import pulse_train as pulse_train
    from scorekit.audio.files import Sound as Sound
    from scorekit.audio.files import read as read
    from scorekit.audio.files import resample as resample
    from scorekit.audio.files import write as write
    from scorekit.audio.fourier import frame as frame
    from scorekit.audio.fourier import from_polar as from_polar
    from scorekit.audio.fourier import hann as hann
    from scorekit.audio.fourier import istft as istft
    from scorekit.audio.fourier import magnitude as magnitude
    from scorekit.audio.fourier import num_frames as num_frames
    from scorekit.audio.fourier import overlap_add as overlap_add
    from scorekit.audio.fourier import phase as phase
    from scorekit.audio.fourier import randomise_phase as randomise_phase
    from scorekit.audio.fourier import spectrogram_images as spectrogram_images
    from scorekit.audio.fourier import stft as stft
    from scorekit.audio.frequency import decode_spectrum as decode_spectrum
    from scorekit.audio.frequency import encode_spectrum as encode_spectrum
    from scorekit.audio.mel_features import LogMel as LogMel
    from scorekit.audio.mel_features import log_mel_frames as log_mel_frames
    from scorekit.audio.mel_features import log_mel_statistics as log_mel_statistics
    from scorekit.audio.mel_features import make_log_mel as make_log_mel
    from scorekit.audio.mel_spectrograms import hz_to_mel as hz_to_mel
    from scorekit.audio.mel_spectrograms import log_mel as log_mel
    from scorekit.audio.mel_spectrograms import magnitude_from_mel as magnitude_from_mel
    from scorekit.audio.mel_spectrograms import mel_envelope as mel_envelope
    from scorekit.audio.mel_spectrograms import mel_filter_bank as mel_filter_bank
    from scorekit.audio.mel_spectrograms import mel_spectrogram as mel_spectrogram
    from scorekit.audio.mel_spectrograms import mel_to_hz as mel_to_hz
    from scorekit.audio.music import chroma as chroma
    from scorekit.audio.music import correlation as correlation
    from scorekit.audio.music import onset_envelope as onset_envelope
    from scorekit.audio.music import seam_roughness as seam_roughness
    from scorekit.audio.pcm import float_to_pcm as float_to_pcm
    from scorekit.audio.pcm import mu_law_compress as mu_law_compress
    from scorekit.audio.pcm import mu_law_decode as mu_law_decode
    from scorekit.audio.pcm import mu_law_encode as mu_law_encode
    from scorekit.audio.pcm import mu_law_expand as mu_law_expand
    from scorekit.audio.pcm import normalise_peak as normalise_peak
    from scorekit.audio.pcm import pcm_to_float as pcm_to_float
    from scorekit.audio.phase_retrieval import GriffinLim as GriffinLim
    from scorekit.audio.phase_retrieval import griffin_lim as griffin_lim
    from scorekit.audio.rates import high_rate as high_rate
    from scorekit.audio.rates import low_rate as low_rate
    from scorekit.audio.representations import Representation as Representation

__getattr__, __dir__ = attach(__name__)
