"""The digits by masked diffusion: the 17 grey values of 8 x 8 pixels, revealed in any order by a transformer.

    python -m experiments.train --config=experiments/configs/sequences/digits_masked.py --workdir=runs/digits_masked

Uniform noise: --config.model=uniform

Thirteen CPU minutes: at most 1.785 bits a pixel of held-out digits (docs/autoregressive.md).
"""

from experiments.configs.sequences import digits_pixels


def get_config():
    config = digits_pixels.get_config()
    config.model = "masked"
    config.network.update(name="dit", patch=1)
    config.training.update(steps=1500, weight_decay=0.0, checkpoint_every=500)
    return config
