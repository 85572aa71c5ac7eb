r"""A diffusion model of the latents of full phrases at 4 kHz, decoded to sound.

    python -m experiments.train --config=experiments/configs/latents/phrases_latent.py --workdir=runs/phrases_latent
    python -m experiments.train --config=experiments/configs/latents/phrases_of_latents.py \
        --workdir=runs/phrases_of_latents

3,000 steps.
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.update(name="soundfont_phrases/4khz", latents="runs/phrases_latent")
    config.data.representation.update(name="waveform", scale=4.0)
    config.network.update(channels=48, multipliers=(1, 2, 2), factors=(2, 2), attention_resolutions=(64,), heads=4)
    config.training.update(steps=3000, batch_size=32, learning_rate=1e-3)
    config.evaluation.bound_times = 4
    return config
