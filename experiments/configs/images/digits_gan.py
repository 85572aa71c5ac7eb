"""A generator of digits in one step from discriminators of random windows alone, with the network of ``digits.py``.

    python -m experiments.train --config=experiments/configs/images/digits_gan.py --workdir=runs/digits_gan

Two minutes on two busy cores: realistic and not diverse. The class of all samples is right, with a precision of 0.88, a
recall of 0.00 and an accuracy score of 0.872 (the diffusion model has 0.993, 0.94, 0.87 and 0.983).
"""

from experiments.configs.images import digits


def get_config():
    config = digits.get_config()
    config.loss.update(label_dropout=0.0)
    config.loss.flow_map.update(name="adversarial", windows=(4, 8), depth=1, penalty=0.3)
    config.guidance = ("conditional",)
    config.sampling.solver.name = "flow_map"
    config.sampling.grid.name = "uniform"
    config.sampling.update(guidance_scale=1.0, steps=1, ema="0.98")
    config.training.update(steps=700, batch_size=64, learning_rate=4e-4, betas=(0.5, 0.99), final_fraction=1.0)
    config.training.update(ema_decays=(0.98,))
    config.evaluation.guidance_scales = (1.0,)
    return config
