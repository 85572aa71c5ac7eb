"""Class-conditional mnist, 28 x 28 grey, through TFDS (downloaded on first use; needs the internet).

    python -m experiments.train --config=experiments/configs/images/mnist.py --workdir=runs/mnist

``fashion_mnist``, the clothes of fashion_mnist with these settings:

    python -m experiments.train --config=experiments/configs/images/mnist.py:fashion_mnist --workdir=runs/fashion_mnist

Meant for one GPU. Not run here: no accelerator was at hand.
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "fashion_mnist")
    config = base.get_config()
    config.data.set = argument or "mnist"
    config.network.update(channels=64, blocks=2, multipliers=(1, 2, 2), attention_resolutions=(7,), heads=4)
    config.training.update(steps=20_000, learning_rate=5e-4, warmup_steps=1000)
    config.training.update(sample_every=2000, checkpoint_every=2000)
    config.evaluation.num_samples = 5000
    return config
