r"""An autoencoder of phrases at 16 kHz: pieces of 2.048 s to 62.5 positions a second with 32 channels, for one GPU.

    python -m experiments.train --config=experiments/configs/latents/phrases_latent_16khz.py \
        --workdir=runs/phrases_latent_16khz

Not run here, but for its smoke test: no accelerator was at hand.
"""

from experiments.configs.latents import phrases_latent


def get_config():
    config = phrases_latent.get_config()
    config.data.update(name="soundfont_phrases/16khz", crop=32768)
    config.autoencoder.update(channels=128, multipliers=(1, 2, 4, 4), blocks=2, patch=4)
    config.autoencoder.update(factors=(4, 4, 4), latent_channels=32, dtype="bfloat16")
    config.training.update(steps=100_000, batch_size=32, learning_rate=3e-4, warmup_steps=2000)
    config.training.checkpoint_every = 5000
    return config
