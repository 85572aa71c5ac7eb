r"""The digits as 16 codes of a VQ autoencoder, in raster order: an autoregressive transformer of the codes.

    python -m experiments.train --config=experiments/configs/latents/digits_latent.py --workdir=runs/digits_vq \
        --config.autoencoder.codes=64 --config.autoencoder.latent_channels=4
    python -m experiments.train --config=experiments/configs/sequences/digits_codes.py --workdir=runs/digits_codes

Samples and metrics are of decoded digits; "codes of test data, decoded" shows what the autoencoder alone loses.
Masked diffusion of the codes: digits_codes_masked.py.

1,000 steps after two CPU minutes for the autoencoder (docs/autoregressive.md).
"""

from experiments.configs import base


def get_config():
    config = base.get_config("sequence")
    config.data.update(set="sklearn_digits")
    config.latents = "runs/digits_vq"
    config.symbols.name = "codes"
    config.network.update(depth=3, width=64, heads=4)
    config.training.update(steps=1000, batch_size=128, learning_rate=2e-3)
    return config
