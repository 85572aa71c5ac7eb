"""Class-conditional mnist, 28 x 28 grey, through TFDS (downloaded on first use; needs the internet).

    python -m experiments.train --config=experiments/configs/images/mnist.py --workdir=runs/mnist

Meant for one GPU. Not run here: no accelerator was at hand. Muon, with its rate, is from ``fashion_small.py``; the
digits of ``digits.py`` needed half the examples of AdamW for the same bound.
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.name = "mnist"
    config.network.update(channels=64, blocks=2, multipliers=(1, 2, 2), attention_resolutions=(7,), heads=4)
    config.training.update(steps=10_000, optimizer="muon", learning_rate=2e-3, warmup_steps=500)
    config.training.update(sample_every=1000, checkpoint_every=1000)
    config.evaluation.num_samples = 5000
    return config
