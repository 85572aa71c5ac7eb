"""A vocoder of two steps: improved MeanFlow from the weights of ``vocoder.py``, three minutes of CPU time.

Closer to held-out notes by both distances than 60 iterations of Griffin-Lim: docs/flow_maps.md, "Sounds".

python -m experiments.train --config=experiments/configs/notes/vocoder_mean_flow.py --workdir=runs/vocoder_mean_flow \\
    --config.init_from=weights/vocoder
"""

from experiments.configs.notes import vocoder_student


def get_config():
    config = vocoder_student.get_config()
    config.loss.flow_map.update(name="improved_mean_flow", diagonal=0.5, power=0.5, base=None)
    config.loss.times.update(name="uniform", mean=None, std=None)
    config.sampling.solver.gamma = None
    config.sampling.grid.t_max = 0.99
    config.training.steps = 180
    return config
