"""A noise-conditional classifier of the handwritten digits, and beside it one that has seen clean scans only.

python -m experiments.train --config=experiments/configs/images/digits_classifier.py \\
    --workdir=runs/classifier
"""

from experiments.configs import base


def get_config():
    config = base.get_config("classifier")
    config.data.name = "sklearn_digits"
    config.classifier.channels = 16
    config.training.steps = 1500
    config.training.batch_size = 128
    config.training.learning_rate = 2e-3
    config.training.weight_decay = 0.05
    return config
