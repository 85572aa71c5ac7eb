"""Class-conditional fashion_mnist, 28 x 28 grey, through TFDS (downloaded on first use; needs the internet).

    python -m experiments.train --config=experiments/configs/images/fashion_mnist.py --workdir=runs/fashion_mnist

The settings of mnist, meant for one GPU. Not run here: no accelerator was at hand.
"""

from experiments.configs.images import mnist


def get_config():
    config = mnist.get_config()
    config.data.name = "fashion_mnist"
    return config
