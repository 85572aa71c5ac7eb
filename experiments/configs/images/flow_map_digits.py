r"""The digits of ``digits.py`` in 1, 2 or 4 steps, class-conditional: a shortcut model.

    python -m experiments.train --config=experiments/configs/images/flow_map_digits.py --workdir=runs/flow_map_digits

2.5 CPU minutes in batches of 64, by ``benchmarks.few_steps``: class accuracy 0.990 and accuracy score 0.975 in one step
(docs/measurements/few_steps.md).

``drifting``, a generator of one evaluation from the weights of the denoiser of ``digits.py``:

    python -m experiments.train --config=experiments/configs/images/digits.py --workdir=runs/digits
    python -m experiments.export --workdir=runs/digits --out=weights/digits
    python -m experiments.train --config=experiments/configs/images/flow_map_digits.py:drifting \
        --workdir=runs/digits_drifting --config.init_from=weights/digits

50 CPU seconds after four minutes for the denoiser, by ``benchmarks.few_steps``: class accuracy 0.989, accuracy score
0.985, recall 0.75 and energy distance 0.0035; from random weights 0.989, 0.933, 0.42 and 0.042
(docs/measurements/few_steps.md).

``gan``, a generator from discriminators of random windows alone, with the network of ``digits.py``:

    python -m experiments.train --config=experiments/configs/images/flow_map_digits.py:gan --workdir=runs/digits_gan

Two CPU minutes: realistic and not diverse. The class of all samples is right, with a precision of 0.88, a recall of
0.00 and an accuracy score of 0.872 (the diffusion model has 0.993, 0.94, 0.87 and 0.983).
"""

from experiments.configs import base
from experiments.configs.images import digits


def get_config(argument=""):
    base.check_argument(argument, "drifting", "gan")
    config = digits.get_config()
    if not argument:
        return base.shortcut(config)
    base.flow_map(config, steps=1)
    if argument == "drifting":
        config.loss.flow_map.name = "drifting"
        config.training.update(steps=350, batch_size=256)  # both densities are estimated from a batch
        return config
    config.loss.update(label_dropout=0.0)
    config.loss.flow_map.update(name="adversarial", windows=(4, 8), depth=1, penalty=0.3)
    config.sampling.ema = "0.98"
    config.training.update(steps=700, batch_size=64, learning_rate=4e-4, betas=(0.5, 0.99), final_fraction=1.0)
    config.training.update(ema_decays=(0.98,))
    return config
