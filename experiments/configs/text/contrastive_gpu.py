"""The encoders of emoji and captions with a larger network of images, for one accelerator; 10,000 steps.

    python -m experiments.train --config=experiments/configs/text/contrastive_gpu.py --workdir=runs/contrastive_gpu

Not run here: no accelerator was at hand.
"""

from experiments.configs.text import contrastive


def get_config():
    config = contrastive.get_config()
    config.dual_encoder.channels = 96
    config.dual_encoder.blocks = 2
    config.dual_encoder.dtype = "bfloat16"

    config.training.steps = 10_000
    config.training.batch_size = 1024
    config.training.learning_rate = 1e-3
    config.training.warmup_steps = 500
    config.training.checkpoint_every = 1000
    return config
