r"""Drifting on the digits: a generator of one evaluation, from the weights of the denoiser of ``digits.py``.

    python -m experiments.train --config=experiments/configs/images/digits.py --workdir=runs/digits
    python -m experiments.export --workdir=runs/digits --out=weights/digits
    python -m experiments.train --config=experiments/configs/images/drifting_digits.py \
        --workdir=runs/drifting_digits --config.init_from=weights/digits

50 CPU seconds of training, by ``benchmarks.few_steps``: class accuracy 0.989, accuracy score 0.985,
recall 0.75 and energy distance 0.0035; from random weights 0.989, 0.933, 0.42 and 0.042 (docs/few_steps.md).
"""

from experiments.configs.images import digits


def get_config():
    config = digits.get_config()
    config.loss.flow_map.name = "drifting"
    config.guidance = ("conditional",)
    config.sampling.solver.name = "flow_map"
    config.sampling.grid.name = "uniform"
    config.sampling.update(guidance_scale=1.0, steps=1)
    config.training.update(steps=350, batch_size=256)  # both densities are estimated from a batch
    config.evaluation.guidance_scales = (1.0,)
    return config
