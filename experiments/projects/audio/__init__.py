"""Sound and music: waveforms, spectrograms, vocoders and synthesisers; scores, performances and transcriptions."""
