"""Mel spectrograms: scales and filters, inversion, log-mel features of networks, and statistics of clips."""

from scorekit.audio.mel.features import LogMel, make_log_mel
from scorekit.audio.mel.inverse import apply_gains, magnitude_from_mel, match_mel, mel_envelope
from scorekit.audio.mel.spectrograms import hz_to_mel, log_mel, mel_filter_bank, mel_spectrogram, mel_to_hz
from scorekit.audio.mel.statistics import log_mel_frames, log_mel_statistics

__all__ = [
    "LogMel",
    "apply_gains",
    "hz_to_mel",
    "log_mel",
    "log_mel_frames",
    "log_mel_statistics",
    "magnitude_from_mel",
    "make_log_mel",
    "match_mel",
    "mel_envelope",
    "mel_filter_bank",
    "mel_spectrogram",
    "mel_to_hz",
]
