r"""A diffusion model of the latents of full phrases at 16 kHz. Meant for one GPU.

    python -m experiments.train --config=experiments/configs/latents/phrases_latent_16khz.py \
        --workdir=runs/phrases_latent_16khz
    python -m experiments.train --config=experiments/configs/latents/phrases_of_latents_16khz.py \
        --workdir=runs/phrases_of_latents_16khz

Not run here, but for its smoke test: no accelerator was at hand.
"""

from experiments.configs.latents import phrases_of_latents


def get_config():
    config = phrases_of_latents.get_config()
    config.data.name = "soundfont_phrases/16khz"
    config.data.latents = "runs/phrases_latent_16khz"
    config.network.channels = 256
    config.network.blocks = 2
    config.network.multipliers = (1, 2, 2)
    config.network.attention_resolutions = (128, 64)
    config.network.heads = 8
    config.network.dtype = "bfloat16"
    config.training.steps = 200_000
    config.training.batch_size = 128
    config.training.learning_rate = 3e-4
    config.training.warmup_steps = 5000
    config.training.sample_every = 10_000
    config.training.checkpoint_every = 10_000
    config.evaluation.bound_times = 32
    return config
