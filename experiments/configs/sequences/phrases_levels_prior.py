r"""One level of the codes of configs/latents/phrases_levels.py, given the coarser ones, by masked diffusion.

    python -m experiments.train --config=experiments/configs/sequences/phrases_levels_prior.py \
        --workdir=runs/phrases_levels_1
    python -m experiments.train --config=experiments/configs/sequences/phrases_levels_prior.py \
        --workdir=runs/phrases_levels_2 --config.symbols.level=2 --config.sampling.coarser=runs/phrases_levels_1
    python -m experiments.train --config=experiments/configs/sequences/phrases_levels_prior.py \
        --workdir=runs/phrases_levels_3 --config.symbols.level=3 --config.sampling.coarser=runs/phrases_levels_2
    python -m experiments.sample --workdir=runs/phrases_levels_3 --num=8

The last command draws sounds from the first level down. One level: --config.latents=runs/phrases_one_level

One CPU minute a level without its report: at most 7.26 ± 0.10, 7.01 ± 0.07 and 6.38 ± 0.09 bits a code of the three
levels (docs/hierarchy.md).
"""

from experiments.configs.sequences import phrases_vq_masked


def get_config():
    config = phrases_vq_masked.get_config()
    config.latents = "runs/phrases_levels"
    config.data.representation.update(name="low_rate", factor=4)
    config.symbols.level = 1
    config.training.update(steps=200, sample_every=200)
    config.sampling.steps = 32
    config.evaluation.bound_times = 8
    return config
