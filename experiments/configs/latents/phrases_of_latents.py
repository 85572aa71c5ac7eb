r"""A diffusion model of the latents of full phrases at 4 kHz, decoded to sound.

    python -m experiments.train --config=experiments/configs/latents/phrases_latent.py --workdir=runs/phrases_latent
    python -m experiments.train --config=experiments/configs/latents/phrases_of_latents.py \
        --workdir=runs/phrases_of_latents

3,000 steps.
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.name = "soundfont_phrases/4khz"
    config.data.latents = "runs/phrases_latent"
    config.data.representation.name = "waveform"
    config.data.representation.scale = 4.0
    config.network.channels = 48
    config.network.multipliers = (1, 2, 2)
    config.network.factors = (2, 2)
    config.network.attention_resolutions = (64,)
    config.network.heads = 4
    config.training.steps = 3000
    config.training.batch_size = 32
    config.training.learning_rate = 1e-3
    config.evaluation.bound_times = 4
    return config
