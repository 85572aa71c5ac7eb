r"""The digits as 16 codes of a VQ autoencoder, by masked diffusion, which reveals them one by one, in any order.

    python -m experiments.train --config=experiments/configs/latents/digits_latent.py --workdir=runs/digits_vq \
        --config.autoencoder.codes=64 --config.autoencoder.latent_channels=4
    python -m experiments.train --config=experiments/configs/sequences/digits_codes_masked.py \
        --workdir=runs/digits_codes_masked

Four and a half CPU minutes after two for the autoencoder: a classifier that is fitted to the samples is right for
97.6 % of the held-out digits, as with a continuous diffusion of the same codes (docs/autoregressive.md).
"""

from experiments.configs.sequences import digits_codes


def get_config():
    config = digits_codes.get_config()
    config.model = "masked"
    config.network.update(name="dit", patch=1)
    config.training.steps = 3000
    config.sampling.solver.name = "first_hitting"
    config.evaluation.guidance_scales = (1.0, 1.5)
    return config
