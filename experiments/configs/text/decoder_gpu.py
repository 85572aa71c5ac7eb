r"""The decoder of embeddings with the network of emoji_16_gpu, for one accelerator; 60,000 steps.

    python -m experiments.train --config=experiments/configs/text/decoder_gpu.py --workdir=runs/decoder_gpu \
        --config.data.embeddings.encoder=runs/contrastive_gpu

Not run here: no accelerator was at hand.
"""

from experiments.configs.text import decoder
from experiments.configs.text.emoji_16_gpu import grown


def get_config():
    config = grown(decoder.get_config())
    config.data.embeddings.encoder = "runs/contrastive_gpu"
    return config
