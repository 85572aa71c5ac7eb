r"""A decoder of embeddings, for tests: on a folder of your own, with the encoders of smoke_contrastive.

    python -m experiments.train --config=experiments/configs/text/smoke_decoder.py --workdir=runs/smoke_decoder \
        --config.data.path=FOLDER --config.conditions.embeddings.encoder=runs/smoke_contrastive

Seconds; the images are noise.
"""

from experiments.configs.text import smoke


def get_config():
    config = smoke.get_config()
    config.conditions.vector.name = "embedding"
    config.conditions.embeddings.encoder = "runs/smoke_contrastive"
    config.loss.update(caption_dropout=None, tokens_dropout=0.5)
    return config
