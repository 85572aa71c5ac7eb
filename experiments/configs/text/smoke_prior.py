r"""A prior of embeddings, for tests: on a folder of your own, with the encoders of smoke_contrastive.

    python -m experiments.train --config=experiments/configs/text/smoke_prior.py --workdir=runs/smoke_prior \
        --config.data.path=FOLDER --config.conditions.embeddings.encoder=runs/smoke_contrastive

Seconds; the embeddings are noise.
"""

from experiments.configs.text import smoke


def get_config():
    config = smoke.get_config()
    config.conditions.tokens.name = "none"
    config.conditions.embeddings.update(encoder="runs/smoke_contrastive", as_examples=True)
    config.network.update(name="mlp", features=16, blocks=1)
    config.preconditioning.sigma_data = 1.0
    config.loss.target.name = "x0"
    config.loss.weighting.name = "x0"
    config.loss.caption_dropout = None
    return config
