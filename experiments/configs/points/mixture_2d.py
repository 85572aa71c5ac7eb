r"""A ring of eight Gaussians in the plane, whose density is known: an exact answer alongside every number.

    python -m experiments.train --config=experiments/configs/points/mixture_2d.py --workdir=runs/mixture_2d

CPU seconds: an energy distance of -0.0009 in 25 steps, of the data themselves -0.0010 (docs/measurements/few_steps.md).

``shortcut``, a shortcut model, which samples in 1, 2 or 4 steps:

    python -m experiments.train --config=experiments/configs/points/mixture_2d.py:shortcut --workdir=runs/shortcut_2d

One CPU minute: class accuracy 0.9985 and an energy distance of -0.0002 in one step, 1 and -0.0003 in two
(docs/measurements/flow_maps.md).

``consistency``, consistency tuning of the denoiser, in 1 or 2 steps:

    python -m experiments.train --config=experiments/configs/points/mixture_2d.py --workdir=runs/mixture_2d
    python -m experiments.export --workdir=runs/mixture_2d --out=weights/mixture_2d
    python -m experiments.train --config=experiments/configs/points/mixture_2d.py:consistency \
        --workdir=runs/consistency_2d --config.init_from=weights/mixture_2d

CPU seconds: an energy distance of 0.0001 in one step and -0.0009 in two, where the denoiser has 0.0063 and 0.0055
(docs/measurements/flow_maps.md).

``coupled``, a rectified flow from noise that optimal transport pairs with the points:

    python -m experiments.train --config=experiments/configs/points/mixture_2d.py:coupled --workdir=runs/coupled_2d

Two CPU minutes: a straightness of 0.004, of independent pairs 0.498; an energy distance of 0.0038 in two Euler steps
(docs/couplings.md).
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "shortcut", "consistency", "coupled")
    config = base.get_config()
    config.data.name = "ring"
    config.network.update(name="mlp", features=64)
    config.training.update(steps=2000, batch_size=512, sample_every=1000, checkpoint_every=1000)
    config.sampling.batch_size = 2000
    config.evaluation.num_samples = 4000
    if argument == "shortcut":
        base.shortcut(config)
        config.training.learning_rate = 2e-3
    elif argument == "consistency":
        config.loss.flow_map.name = "consistency_tuning"
        config.loss.times.name = "log_normal_sigma"
        base.flow_map(config, steps=2)
        config.sampling.solver.gamma = 1.0
        config.sampling.grid.t_max = 0.95  # the largest noise level that is trained often
        config.evaluation.step_counts = (1, 2, 4)
    elif argument == "coupled":
        base.unconditional(base.coupled(config))  # the classes are the modes: the flow chooses them
        config.training.learning_rate = 2e-3
    return config
