"""An autoencoder of phrases at 4 kHz: pieces of 1.024 s to a latent of 62.5 positions a second with 16 channels.

    python -m experiments.train --config=experiments/configs/latents/phrases_latent.py --workdir=runs/phrases_latent

Trained on random pieces; full phrases are encoded and decoded by the same convolutions. Discrete, each position one of
1,024 vectors of 16 numbers: --config.autoencoder.codes=1024

With 256 codes, five CPU minutes: Fréchet distances of decoded held-out phrases to the held-out ones are 0.011 in
rhythm, 0.272 in harmony and 60.0 in timbre (docs/discrete.md).
"""

from experiments.configs import base


def get_config():
    config = base.get_config("autoencoder")
    config.data.name = "soundfont_phrases/4khz"
    config.data.representation.update(name="waveform", scale=4.0)
    config.data.crop = 4096
    config.autoencoder.update(channels=32, multipliers=(1, 2, 4), patch=4, factors=(4, 4), latent_channels=16)
    config.training.update(steps=2000, batch_size=16, learning_rate=1e-3)
    config.loss.kl = 1e-3
    return config
