r"""A diffusion model of the latents of full phrases at 4 kHz, decoded to sound.

    python -m experiments.train --config=experiments/projects/audio/configs/phrases_latent.py \
        --workdir=runs/phrases_latent
    python -m experiments.train --config=experiments/projects/audio/configs/phrases_of_latents.py \
        --workdir=runs/phrases_of_latents

3,000 steps; not measured here.

``rounded``, of code vectors, to which samples are rounded before they are decoded, by a transformer of the sizes of
``phrases_masked.py``, which models the codes as codes:

    python -m experiments.train --config=experiments/projects/audio/configs/phrases_latent.py \
        --workdir=runs/phrases_vq \
        --config.autoencoder.codes=256
    python -m experiments.train --config=experiments/projects/audio/configs/phrases_of_latents.py:rounded \
        --workdir=runs/phrases_vq_rounded

10 to 12 CPU minutes after five for the autoencoder: Fréchet distances to held-out phrases of 1.47 in rhythm, 0.399 in
harmony and 80.3 in timbre (docs/discrete.md).

``16khz``, of ``phrases_latent.py:16khz``, for one GPU:

    python -m experiments.train --config=experiments/projects/audio/configs/phrases_latent.py:16khz \
        --workdir=runs/phrases_latent_16khz
    python -m experiments.train --config=experiments/projects/audio/configs/phrases_of_latents.py:16khz \
        --workdir=runs/phrases_of_latents_16khz

Not run here: no accelerator was at hand.
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "rounded", "16khz")
    config = base.get_config()
    config.data.update(name="phrases", set="soundfont_phrases/4khz")
    config.data.representation.update(name="waveform", scale=4.0)
    config.evaluation.bound_times = 4
    if argument == "rounded":
        config.latents = "runs/phrases_vq"
        config.network.update(name="dit", patch=1, depth=3, width=96, heads=4)
        config.training.update(steps=1500, batch_size=16, learning_rate=1e-3, sample_every=1000)
        config.sampling.update(batch_size=20, guidance_scale=1.0)
        return config
    config.latents = "runs/phrases_latent"
    config.network.update(channels=48, multipliers=(1, 2, 2), factors=(2, 2), attention_resolutions=(64,), heads=4)
    config.training.update(steps=3000, batch_size=32, learning_rate=1e-3)
    if argument == "16khz":
        config.data.set = "soundfont_phrases/16khz"
        config.latents = "runs/phrases_latent_16khz"
        config.network.update(channels=256, blocks=2, attention_resolutions=(128, 64), heads=8, dtype="bfloat16")
        config.training.update(steps=200_000, batch_size=128, learning_rate=3e-4, warmup_steps=5000)
        config.training.update(sample_every=10_000, checkpoint_every=10_000)
        config.evaluation.bound_times = 32
    return config
