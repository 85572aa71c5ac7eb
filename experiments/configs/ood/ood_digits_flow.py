r"""The digits against other sets with an invertible flow, whose density is exact.

    python -m experiments.train --config=experiments/configs/images/digits_flow.py --workdir=runs/digits_flow
    python -m experiments.ood.detect --config=experiments/configs/ood/ood_digits_flow.py \
        --workdir=runs/ood_digits_flow --config.run=runs/digits_flow

A minute and a half for the flow, a minute for the scores: the likelihood has an AUROC of 0.92 against mirrored digits,
0.980 against MNIST and 0.921 against Fashion-MNIST (docs/typicality.md).
"""

from experiments.configs.ood import ood_digits


def get_config():
    config = ood_digits.get_config()
    config.kind = "flow"
    return config
