"""The digits against photographs with one Gaussian, whose denoiser and density are exact: no training, seconds.

python -m experiments.ood.detect --config=experiments/configs/ood/ood_digits_gaussian.py \\
    --workdir=runs/ood_digits_gaussian
"""

from experiments.configs.ood import ood_digits


def get_config():
    config = ood_digits.get_config()
    config.kind = "gaussian"
    return config
