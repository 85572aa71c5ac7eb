r"""A student of a trained model: 1 to 4 steps without guidance in place of many steps with guidance.

    CONFIG=experiments/configs/distil.py
    python -m experiments.train --config=$CONFIG:runs/digits,progressive --workdir=runs/digits_fast
    python -m experiments.train --config=$CONFIG:runs/digits,matching --workdir=runs/digits_1 \
        --config.distillation.steps=1 --config.sampling.guidance_scale=1 --config.training.steps=3000
    python -m experiments.train --config=$CONFIG:runs/digits,lagrangian --workdir=runs/digits_map \
        --config.distillation.steps=1 --config.distillation.guidance_max=4

The argument is the folder of the teacher's run and the method. The config is the teacher's, guided as it is sampled,
with a section ``distillation`` (:mod:`experiments.tasks.flow_maps.students`) and the training of the method. The
student is a run like any other, for ``experiments.sample`` and ``experiments.evaluate``.

150 CPU seconds of training at guidance scale 2, batches of 64: one step has class accuracy 1.000 and accuracy score
0.978 (lagrangian) or 0.975 (matching, progressive), 25 steps of the teacher 1.000 and 0.978
(docs/measurements/few_steps.md).
"""

from experiments import tasks
from experiments.cli import flags
from experiments.cli.config import ConfigError
from experiments.tasks.flow_maps import task


def get_config(argument=""):
    teacher, _, method = argument.rpartition(",")
    if not teacher:
        raise ConfigError("--config=experiments/configs/distil.py: must be followed by :<folder of a run>,<method>")
    with flags.named("config.distillation.teacher"):
        of_teacher = tasks.saved(teacher, "diffusion")
    return task.config_to_train(teacher, of_teacher, method)
