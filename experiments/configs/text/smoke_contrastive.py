r"""Encoders of images and captions, for tests: on a folder of your own.

    python -m experiments.train --config=experiments/configs/text/smoke_contrastive.py \
        --workdir=runs/smoke_contrastive --config.data.path=FOLDER

Seconds; the embeddings are noise.
"""

from experiments.configs import base


def get_config():
    config = base.get_config("dual_encoder")
    config.data.update(name="folder", path="pictures", image_size=8, image_mode="RGB")
    config.dual_encoder.update(features=4, channels=8, multipliers=(1,))
    config.training.update(steps=2, warmup_steps=1, batch_size=8, checkpoint_every=2)
    return config
