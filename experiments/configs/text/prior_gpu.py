r"""The prior with a larger network, for one accelerator; 60,000 steps.

    python -m experiments.train --config=experiments/configs/text/prior_gpu.py --workdir=runs/prior_gpu \
        --config.data.embeddings.encoder=runs/contrastive_gpu

Not run here: no accelerator was at hand.
"""

from experiments.configs.text import prior
from experiments.configs.text.emoji_16_gpu import trained_longer


def get_config():
    config = prior.get_config()
    config.data.embeddings.encoder = "runs/contrastive_gpu"
    config.network.update(features=2048, blocks=8)
    config = trained_longer(config)
    config.training.batch_size = 1024
    return config
