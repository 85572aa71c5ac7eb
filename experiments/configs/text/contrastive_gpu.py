"""The encoders of emoji and captions with a larger network of images, for one accelerator; 10,000 steps.

    python -m experiments.train --config=experiments/configs/text/contrastive_gpu.py --workdir=runs/contrastive_gpu

Not run here: no accelerator was at hand.
"""

from experiments.configs.text import contrastive


def get_config():
    config = contrastive.get_config()
    config.dual_encoder.update(channels=96, blocks=2, dtype="bfloat16")
    config.training.update(steps=10_000, batch_size=1024, learning_rate=1e-3, warmup_steps=500)
    config.training.checkpoint_every = 1000
    return config
