r"""The digits as 16 codes of a VQ autoencoder, in raster order: an autoregressive transformer of the codes.

    python -m experiments.train --config=experiments/configs/latents/digits_latent.py --workdir=runs/digits_vq \
        --config.autoencoder.codes=64 --config.autoencoder.latent_channels=4
    python -m experiments.train --config=experiments/configs/sequences/digits_codes.py --workdir=runs/digits_codes

Samples and metrics are of decoded digits; "codes of test data, decoded" shows what the autoencoder alone loses. 1,000
steps after two CPU minutes for the autoencoder.

``masked``, by masked diffusion, which reveals the codes one by one, in any order:

    python -m experiments.train --config=experiments/configs/sequences/digits_codes.py:masked \
        --workdir=runs/digits_codes_masked

4.5 CPU minutes after two for the autoencoder: a classifier that is fitted to the samples is right for 97.6 % of the
held-out digits, as with a continuous diffusion of the same codes (docs/hierarchy.md).
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "masked")
    config = base.get_config("sequence")
    config.data.update(set="sklearn_digits")
    config.latents = "runs/digits_vq"
    config.symbols.name = "codes"
    config.network.update(depth=3, width=64, heads=4)
    config.training.update(steps=1000, batch_size=128, learning_rate=2e-3)
    if argument == "masked":
        config.model = "masked"
        config.network.update(name="dit", patch=1)
        config.training.steps = 3000
        config.sampling.solver.name = "first_hitting"
        config.evaluation.guidance_scales = (1.0, 1.5)
    return config
