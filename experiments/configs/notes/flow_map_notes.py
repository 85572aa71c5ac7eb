r"""Notes in 1, 2 or 4 steps: improved MeanFlow from the weights of ``flow_map_notes_teacher.py``.

    python -m experiments.train --config=experiments/configs/notes/flow_map_notes.py --workdir=runs/notes_mean_flow \
        --config.init_from=weights/notes_teacher

200 steps after 4.5 CPU minutes for the teacher (docs/flow_maps.md).
"""

from experiments.configs.notes import flow_map_notes_teacher


def get_config():
    config = flow_map_notes_teacher.get_config()
    config.loss.flow_map.update(name="improved_mean_flow", diagonal=0.5, power=0.5)
    config.guidance = ("conditional",)
    config.sampling.solver.name = "flow_map"
    config.sampling.grid.update(name="uniform", t_max=0.99)
    config.sampling.steps = 2
    config.training.update(steps=200, learning_rate=5e-4, warmup_steps=20, checkpoint_every=100)
    config.evaluation.step_counts = (1, 2, 4)
    return config
