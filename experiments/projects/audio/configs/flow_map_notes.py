r"""Notes in 1, 2 or 4 steps: improved MeanFlow from the weights of a teacher, ``notes.py:spectrogram`` trained shortly.

    python -m experiments.train --config=experiments/projects/audio/configs/flow_map_notes.py:teacher \
        --workdir=runs/notes_teacher
    python -m experiments.export --workdir=runs/notes_teacher --out=weights/notes_teacher
    python -m experiments.train --config=experiments/projects/audio/configs/flow_map_notes.py \
        --workdir=runs/notes_mean_flow --config.init_from=weights/notes_teacher

200 steps after 4.5 CPU minutes for the teacher: of the teacher in 25 steps, the pitch of 0.979 of the notes is right
and the family of 0.40, with a Fréchet distance of 4.23 (docs/flow_maps.md).

``consistency``, by consistency tuning:

    python -m experiments.train --config=experiments/projects/audio/configs/flow_map_notes.py:consistency \
        --workdir=runs/notes_consistency --config.init_from=weights/notes_teacher

300 steps after 4.5 CPU minutes for the teacher (docs/flow_maps.md).
"""

from experiments.configs import base
from experiments.projects.audio.configs import notes


def get_config(argument=""):
    base.check_argument(argument, "teacher", "consistency")
    config = notes.get_config("spectrogram")
    config.preconditioning.noise.name = "clock"  # bounded along a path, as the losses of flow maps need it
    config.training.update(steps=600, warmup_steps=100)
    config.training.update(ema_decays=(0.99,), sample_every=5000, checkpoint_every=250)
    config.sampling.ema = "0.99"
    config.evaluation.update(num_samples=64, bound_times=4, guidance_scales=(1.0,))
    if argument == "teacher":
        return config
    base.flow_map(config, steps=2)
    config.loss.flow_map.update(name="improved_mean_flow", diagonal=0.5, power=0.5)
    config.sampling.grid.t_max = 0.99
    config.training.update(steps=200, learning_rate=5e-4, warmup_steps=20, checkpoint_every=100)
    config.evaluation.step_counts = (1, 2, 4)
    if argument == "consistency":
        config.loss.flow_map.update(name="consistency_tuning", base=1.5)
        config.loss.times.update(name="log_normal_sigma", mean=0.5, std=1.5)
        config.sampling.solver.gamma = 1.0
        config.sampling.grid.t_max = 0.9  # the largest noise level that is trained often
        config.training.steps = 300  # as much time as improved MeanFlow takes
    return config
