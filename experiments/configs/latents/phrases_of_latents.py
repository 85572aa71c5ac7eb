r"""A diffusion model of the latents of full phrases at 4 kHz, decoded to sound.

    python -m experiments.train --config=experiments/configs/latents/phrases_latent.py --workdir=runs/phrases_latent
    python -m experiments.train --config=experiments/configs/latents/phrases_of_latents.py \
        --workdir=runs/phrases_of_latents

3,000 steps.

``phrases_of_latents.py:16khz``: of ``phrases_latent.py:16khz`` in ``runs/phrases_latent_16khz``, for one GPU. Not run
here, but for its smoke test: no accelerator was at hand.
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "16khz")
    config = base.get_config()
    config.data.update(name="phrases", set="soundfont_phrases/4khz")
    config.latents = "runs/phrases_latent"
    config.data.representation.update(name="waveform", scale=4.0)
    config.network.update(channels=48, multipliers=(1, 2, 2), factors=(2, 2), attention_resolutions=(64,), heads=4)
    config.training.update(steps=3000, batch_size=32, learning_rate=1e-3)
    config.evaluation.bound_times = 4
    if argument == "16khz":
        config.data.set = "soundfont_phrases/16khz"
        config.latents = "runs/phrases_latent_16khz"
        config.network.update(channels=256, blocks=2, multipliers=(1, 2, 2))
        config.network.update(attention_resolutions=(128, 64), heads=8, dtype="bfloat16")
        config.training.update(steps=200_000, batch_size=128, learning_rate=3e-4, warmup_steps=5000)
        config.training.update(sample_every=10_000, checkpoint_every=10_000)
        config.evaluation.bound_times = 32
    return config
