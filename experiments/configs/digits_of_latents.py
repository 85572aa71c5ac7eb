"""A diffusion model of the latents of the handwritten digits, decoded to pictures.

python -m experiments.train_latent --config=experiments/configs/digits_latent.py --workdir=runs/digits_latent
python -m experiments.train --config=experiments/configs/digits_of_latents.py --workdir=runs/digits_of_latents
"""

from experiments.configs import digits


def get_config():
    config = digits.get_config()
    config.data.latents = "runs/digits_latent"
    return config
