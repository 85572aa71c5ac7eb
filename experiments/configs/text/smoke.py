r"""The base of a cascade of captioned images, for tests: a tiny U-Net on a folder of your own.

    python -m experiments.train --config=experiments/configs/text/smoke.py --workdir=runs/smoke \
        --config.data.path=FOLDER

Seconds; the images are noise.
"""

from experiments.configs.images import smoke


def get_config():
    config = smoke.get_config()
    config.data.name = "folder"
    config.data.path = "pictures"
    config.data.image_size = 8
    config.data.image_mode = "RGB"
    config.data.tokens.name = "captions"
    config.data.vector.name = "caption"
    config.network.multipliers = (1,)
    config.network.attention_resolutions = ()
    config.network.token_levels = (0,)
    config.loss.caption_dropout = 0.1
    config.training.update(steps=2, warmup_steps=1, sample_every=2, checkpoint_every=2)
    config.evaluation.num_samples = 16
    config.evaluation.guidance_scales = (2.0,)
    return config
