r"""A vocoder of two steps: consistency tuning from the weights of ``vocoder.py``.

    python -m experiments.train --config=experiments/configs/notes/vocoder.py --workdir=runs/vocoder
    python -m experiments.export --workdir=runs/vocoder --out=weights/vocoder
    python -m experiments.train --config=experiments/configs/notes/vocoder_student.py --workdir=runs/vocoder_student \
        --config.init_from=weights/vocoder

Two CPU minutes after twelve for the teacher. With an earlier teacher of 600 updates, held-out notes in two steps: a
log-spectral distance of 9.76 dB and an STFT loss of 0.900. That is closer than 60 iterations of Griffin-Lim (10.74 dB,
0.922), but not as close as the students of ``distil.py`` or improved MeanFlow (docs/flow_maps.md, "Sounds").

``vocoder_student.py:mean_flow`` is trained by improved MeanFlow. Three CPU minutes: 8.93 dB and 0.781.
"""

from experiments.configs import base
from experiments.configs.notes import vocoder


def get_config(argument=""):
    base.check_argument(argument, "mean_flow")
    config = vocoder.get_config()
    config.data.representation.iterations = 30
    config.loss.flow_map.update(name="consistency_tuning", base=1.5)
    config.loss.times.update(name="log_normal_sigma", mean=0.0, std=1.5)
    config.guidance = ("conditional",)
    config.sampling.solver.update(name="flow_map", gamma=1.0)
    config.sampling.grid.update(name="uniform", t_max=0.95)  # the largest noise level that is trained often
    config.sampling.steps = 2
    config.training.update(steps=150, batch_size=16, warmup_steps=20, learning_rate=5e-4)
    config.training.checkpoint_every = 100
    config.evaluation.update(num_samples=64, step_counts=(1, 2, 4))
    if argument == "mean_flow":
        config.loss.flow_map.update(name="improved_mean_flow", diagonal=0.5, power=0.5)
        config.loss.times.update(name="uniform")
        config.sampling.solver.gamma = None
        config.sampling.grid.t_max = 0.99
        config.training.steps = 180
    return config
