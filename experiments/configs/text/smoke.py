r"""The base of a cascade of captioned images, for tests: a tiny U-Net on a folder of your own.

    python -m experiments.train --config=experiments/configs/text/smoke.py --workdir=runs/smoke \
        --config.data.path=FOLDER

Seconds; the images are noise.
"""

from experiments.configs.images import smoke


def get_config():
    config = smoke.get_config()
    config.data.update(name="folder", path="pictures", image_size=8, image_mode="RGB")
    config.conditions.tokens.name = "captions"
    config.conditions.vector.name = "caption"
    config.network.update(multipliers=(1,), attention_resolutions=(), token_levels=(0,))
    config.loss.caption_dropout = 0.1
    config.training.update(steps=2, warmup_steps=1, sample_every=2, checkpoint_every=2)
    config.evaluation.update(num_samples=16, guidance_scales=(2.0,))
    return config
