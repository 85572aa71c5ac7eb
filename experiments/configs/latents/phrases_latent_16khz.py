r"""An autoencoder of phrases at 16 kHz: pieces of 2.048 s to 62.5 positions a second with 32 channels, for one GPU.

    python -m experiments.train --config=experiments/configs/latents/phrases_latent_16khz.py \
        --workdir=runs/phrases_latent_16khz

Not run here, but for its smoke test: no accelerator was at hand.
"""

from experiments.configs.latents import phrases_latent


def get_config():
    config = phrases_latent.get_config()
    config.data.name = "soundfont_phrases/16khz"
    config.data.crop = 32768
    config.autoencoder.channels = 128
    config.autoencoder.multipliers = (1, 2, 4, 4)
    config.autoencoder.blocks = 2
    config.autoencoder.patch = 4
    config.autoencoder.factors = (4, 4, 4)
    config.autoencoder.latent_channels = 32
    config.autoencoder.dtype = "bfloat16"
    config.training.steps = 100_000
    config.training.batch_size = 32
    config.training.learning_rate = 3e-4
    config.training.warmup_steps = 2000
    config.training.checkpoint_every = 5000
    return config
