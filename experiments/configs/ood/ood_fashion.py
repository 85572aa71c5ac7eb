"""Fashion-MNIST against MNIST, 28x28, where likelihood prefers the out-of-distribution set. Trains a small U-Net.

    python -m experiments.projects.ood.fetch
    python -m experiments.projects.ood.detect --config=experiments/configs/ood/ood_fashion.py --workdir=runs/ood_fashion

Fifteen minutes of one core, five of them for the scores: the likelihood has an AUROC of 0.213 against MNIST, score
norms 0.980 and input complexity 0.997 (docs/typicality.md).

``ood_fashion.py:mnist`` is the reverse, MNIST against Fashion-MNIST: the likelihood has an AUROC of 0.996, and every
score at least 0.99.
"""

from experiments.configs import base
from experiments.configs.ood import ood_digits


def get_config(argument=""):
    base.check_argument(argument, "mnist")
    config = ood_digits.get_config()
    config.in_distribution = argument or "fashion_mnist"
    config.near = ("mirrored", "shifted")
    config.far = ("fashion_mnist" if argument else "mnist", "photos")
    config.side = 28
    config.bins = 256
    config.examples = 500
    config.batch_size = 100
    config.probes = 1
    config.rank = 60
    network = config.train
    network.data.set = config.in_distribution
    network.loss.label_dropout = 1.0  # the scores use no labels
    network.network.update(patch=2, channels=24)
    network.training.update(steps=5000, batch_size=64, learning_rate=2e-3, sample_every=10_000)
    network.evaluation.num_samples = 100
    return config
