"""Sound and music: waveforms, spectrograms, vocoders and synthesisers; performances and transcriptions."""
