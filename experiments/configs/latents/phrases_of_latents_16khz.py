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
    config.data.update(name="soundfont_phrases/16khz", latents="runs/phrases_latent_16khz")
    config.network.update(channels=256, blocks=2, multipliers=(1, 2, 2))
    config.network.update(attention_resolutions=(128, 64), heads=8, dtype="bfloat16")
    config.training.update(steps=200_000, batch_size=128, learning_rate=3e-4, warmup_steps=5000)
    config.training.update(sample_every=10_000, checkpoint_every=10_000)
    config.evaluation.bound_times = 32
    return config
