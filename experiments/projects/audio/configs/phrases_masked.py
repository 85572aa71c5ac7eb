r"""Phrases of 4.096 s at 4 kHz as 256 codes of a VQ autoencoder, revealed in any order by masked diffusion.

    python -m experiments.train --config=experiments/projects/audio/configs/phrases_latent.py \
        --workdir=runs/phrases_vq \
        --config.autoencoder.codes=256
    python -m experiments.train --config=experiments/projects/audio/configs/phrases_masked.py \
        --workdir=runs/phrases_vq_masked
    python -m experiments.projects.audio.music.evaluate_phrases --runs=runs/phrases_vq_masked,runs/phrases_vq_rounded

The last command compares it with ``phrases_of_latents.py``, a continuous diffusion of the code vectors by a
network of the same sizes.

10 to 12 CPU minutes after five for the autoencoder: at most 6.03 ± 0.06 bits a code; Fréchet distances to held-out
phrases of 1.18 in rhythm, 0.388 in harmony and 80.2 in timbre (the project's README).

``level``, one level of the codes of ``phrases_latent.py:levels``, given the coarser ones; the last command draws sounds
from the first level down. One level: --config.latents=runs/phrases_one_level

    python -m experiments.train --config=experiments/projects/audio/configs/phrases_latent.py:levels \
        --workdir=runs/phrases_levels
    python -m experiments.train --config=experiments/projects/audio/configs/phrases_masked.py:level \
        --workdir=runs/phrases_levels_1
    python -m experiments.train --config=experiments/projects/audio/configs/phrases_masked.py:level \
        --workdir=runs/phrases_levels_2 --config.symbols.level=2 --config.sampling.coarser=runs/phrases_levels_1
    python -m experiments.sample --workdir=runs/phrases_levels_2 --num=8

The third level is trained like the second.

One CPU minute a level without its report: at most 7.26 ± 0.10, 7.01 ± 0.07 and 6.38 ± 0.09 bits a code of the three
levels (the project's README).
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "level")
    config = base.get_config("sequence")
    config.data.update(name="phrases", set="soundfont_phrases/4khz")
    config.latents = "runs/phrases_vq"
    config.data.representation.update(name="waveform", scale=4.0)
    config.symbols.name = "codes"
    config.model = "masked"
    config.network.update(name="dit", patch=1, depth=3, width=96, heads=4)
    config.training.update(steps=1500, batch_size=16, learning_rate=1e-3, sample_every=1000)
    config.sampling.update(steps=64, batch_size=20, guidance_scale=1.0)
    if argument == "level":
        config.latents = "runs/phrases_levels"
        config.data.representation.update(name="low_rate", factor=4)
        config.symbols.level = 1
        config.training.update(steps=200, sample_every=200)
        config.sampling.steps = 32
        config.evaluation.bound_times = 8
    return config
