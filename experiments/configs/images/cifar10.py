"""Class-conditional CIFAR-10, 32 x 32 colour, through TFDS (downloaded on first use; needs the internet).

    python -m experiments.train --config=experiments/configs/images/cifar10.py --workdir=runs/cifar10

Meant for one GPU or TPU host. Not run here: no accelerator was at hand.
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.set = "cifar10"
    config.network.update(channels=128, blocks=2, multipliers=(1, 2, 2))
    config.network.update(attention_resolutions=(16, 8), heads=4)
    config.network.update(dtype="bfloat16", attention="fused")
    config.training.update(steps=200_000, batch_size=256, learning_rate=3e-4, warmup_steps=5000)
    config.training.update(ema_decays=(0.999, 0.9999), log_every=100, sample_every=10_000, checkpoint_every=10_000)
    config.sampling.update(ema="0.9999", steps=40)
    config.evaluation.num_samples = 10_000
    return config
