r"""The digits against photographs with one Gaussian, whose denoiser and density are exact: no training.

    python -m experiments.ood.detect --config=experiments/configs/ood/ood_digits_gaussian.py \
        --workdir=runs/ood_digits_gaussian

Seconds (docs/typicality.md): in the tests, with 120 images of each set, score norms and density of states have an AUROC
above 0.97 against photographs (tests/experiments/ood/test_detect.py).
"""

from experiments.configs.ood import ood_digits


def get_config():
    config = ood_digits.get_config()
    config.kind = "gaussian"
    return config
