"""Encoders that no generator is trained with, to measure pictures by: another seed and another width.

python -m experiments.train --config=experiments/configs/text/contrastive_evaluator.py \
    --workdir=runs/contrastive_evaluator
"""

from experiments.configs.text import contrastive


def get_config():
    config = contrastive.get_config()
    config.seed = 1
    config.dual_encoder.channels = 24
    return config
