r"""One level of the codes of configs/latents/phrases_levels.py, given the coarser ones, by masked diffusion."""

from experiments.configs.sequences import phrases_vq_masked


def get_config():
    config = phrases_vq_masked.get_config()
    config.data.latents = "runs/phrases_levels"
    config.data.representation.update(name="low_rate", factor=4)
    config.symbols.level = 1
    config.training.update(steps=300, sample_every=300)
    config.sampling.steps = 32
    config.evaluation.bound_times = 8
    return config
