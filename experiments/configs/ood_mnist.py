"""The reverse of ood_fashion: MNIST against Fashion-MNIST.

python -m experiments.ood_data
python -m experiments.ood --config=experiments/configs/ood_mnist.py --workdir=runs/ood_mnist
"""

from experiments.configs import ood_fashion


def get_config():
    config = ood_fashion.get_config()
    config.inside = "mnist"
    config.train.data.name = "mnist"
    config.far = ("fashion_mnist", "photos")
    return config
