r"""Notes in 1, 2 or 4 steps by consistency tuning from the weights of ``flow_map_notes_teacher.py``.

    python -m experiments.train --config=experiments/configs/notes/consistency_notes.py \
        --workdir=runs/notes_consistency --config.init_from=weights/notes_teacher

300 steps after 4.5 CPU minutes for the teacher (docs/flow_maps.md).
"""

from experiments.configs.notes import flow_map_notes


def get_config():
    config = flow_map_notes.get_config()
    config.loss.flow_map.update(name="consistency_tuning", base=1.5)
    config.loss.times.update(name="log_normal_sigma", mean=0.5, std=1.5)
    config.sampling.solver.gamma = 1.0
    config.sampling.grid.t_max = 0.9  # the largest noise level that is trained often
    config.training.steps = 300  # as much time as improved MeanFlow takes
    return config
