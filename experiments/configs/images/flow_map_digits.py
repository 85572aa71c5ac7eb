r"""A shortcut model of the digits of ``digits.py``, class-conditional, which samples in 1, 2 or 4 steps.

    python -m experiments.train --config=experiments/configs/images/flow_map_digits.py --workdir=runs/flow_map_digits
    python -m experiments.sample --workdir=runs/flow_map_digits --config.sampling.steps=4

150 CPU seconds of training in batches of 64, by ``benchmarks.few_steps``: class accuracy 0.990 and
accuracy score 0.975 in one step (docs/few_steps.md).

Instead, the flow map of the teacher of ``digits.py``, distilled in 4 minutes:

    python -m experiments.train --config=experiments/configs/images/digits.py --workdir=runs/digits
    python -m experiments.train --config=experiments/configs/distil.py:runs/digits,lagrangian \
        --workdir=runs/digits_map --config.distillation.steps=1 --config.sampling.guidance_scale=1 \
        --config.training.optimizer=muon --config.training.batch_size=64 --config.training.steps=2000

One step: class accuracy 0.995, classification accuracy score 0.980, recall 0.72, energy distance -0.0004
(docs/few_steps.md).
"""

from experiments.configs.images import digits


def get_config():
    return shortcut(digits.get_config())


def shortcut(config):
    """A shortcut model of the data of a config."""
    config.schedule.name = "rectified_flow"
    config.preconditioning.noise.name = "clock"
    config.loss.target.name = "velocity"
    config.loss.flow_map.name = "shortcut"
    config.guidance = ("conditional",)
    config.sampling.solver.name = "flow_map"
    config.sampling.grid.name = "uniform"
    config.sampling.update(guidance_scale=1.0, steps=1)
    config.evaluation.update(guidance_scales=(1.0,), step_counts=(1, 2, 4))
    return config
