r"""A vocoder of two steps: improved MeanFlow from the weights of ``vocoder.py``.

    python -m experiments.train --config=experiments/configs/notes/vocoder.py --workdir=runs/vocoder
    python -m experiments.export --workdir=runs/vocoder --out=weights/vocoder
    python -m experiments.train --config=experiments/configs/notes/vocoder_mean_flow.py \
        --workdir=runs/vocoder_mean_flow --config.init_from=weights/vocoder

Three CPU minutes after twelve for the teacher. Held-out notes in two steps: a log-spectral distance of 8.93 dB and an
STFT loss of 0.781, by 60 iterations of Griffin-Lim 10.74 dB and 0.922 (docs/flow_maps.md, "Sounds").
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
