r"""Emoji of 16 x 16 pixels from their captions: the base of a cascade.

    python -m experiments.train --config=experiments/projects/text/configs/emoji.py --workdir=runs/emoji_16
    python -m experiments.projects.text.draw --stages=runs/emoji_16 --caption="red heart" --style=noto

Captions are encoded on first use, in about a minute.

35 CPU minutes: an evaluator finds the caption among the closest five for 52 % of the images of seen captions and 49 %
of held-out ones, at guidance scale 3 (the project's README).

``32``, the second stage: 32 x 32 pixels from a copy of 16 x 16 and the caption. The network is an efficient U-Net: most
of its channels are at low resolutions, it has no self-attention, and it attends to the caption at the lowest
resolution. The copy is corrupted by noise of a level from 0 to 0.5, which conditions the network: images drawn by the
first stage are not as clean as the copies of real images.

    python -m experiments.train --config=experiments/projects/text/configs/emoji.py:32 --workdir=runs/emoji_32
    python -m experiments.projects.text.draw --stages=runs/emoji_16,runs/emoji_32 --caption="red heart" --style=noto

18 CPU minutes: the caption is among the closest five for 49 % of the images of seen captions and 48 % of held-out ones
(the project's README).

``64``, the last stage: 64 x 64 pixels from a copy of 32 x 32. It is trained on random squares of 32 x 32 pixels, with
the network of the second stage at the same cost of a step, and draws full images.

    python -m experiments.train --config=experiments/projects/text/configs/emoji.py:64 --workdir=runs/emoji_64
    python -m experiments.projects.text.draw --stages=runs/emoji_16,runs/emoji_32,runs/emoji_64 \
        --caption="red heart" --style=noto

19 CPU minutes: the caption is among the closest five for 44 % of the images of held-out captions, with noise 0.1 on the
copies (the project's README).

``decoder``, as in DALL·E 2, of the embedding of an image, which a prior draws. All conditions are dropped in a tenth of
the examples, the tokens of the caption in half of the others.

    python -m experiments.train --config=experiments/projects/text/configs/contrastive.py --workdir=runs/contrastive
    python -m experiments.train --config=experiments/projects/text/configs/emoji.py:decoder --workdir=runs/decoder
    python -m experiments.projects.text.draw --prior=runs/prior --stages=runs/decoder,runs/emoji_32 \
        --caption="red heart"

33 CPU minutes: with the prior, the caption is among the closest five for 77 % of the images of seen captions
(the project's README).
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "32", "64", "decoder")
    config = base.get_config()
    config.data.update(name="captioned", image_size=16)
    config.conditions.tokens.name = "captions"
    config.conditions.vector.name = "caption"
    config.network.update(channels=32, multipliers=(1, 2), attention_resolutions=(8,), heads=4)
    config.loss.caption_dropout = 0.1
    config.loss.label_dropout = 0.0  # a single class
    config.loss.vector_dropout = 0.0
    config.training.update(steps=10_000, batch_size=32)
    config.training.optimizer = "muon"  # to the loss that AdamW has at 1e-3 in less than half its steps
    config.training.update(learning_rate=2e-3, warmup_steps=200)
    config.sampling.guidance_scale = 3.0
    config.evaluation.update(num_samples=500, guidance_scales=(1.0, 3.0))
    if argument == "decoder":
        config.conditions.vector.name = "embedding"
        config.conditions.embeddings.encoder = "runs/contrastive"
        config.loss.tokens_dropout = 0.5
    elif argument:
        config.data.image_size = 32
        config.conditions.map.update(name="average_pool", factor=2)
        config.noise_factor = 2.0
        config.network.update(channels=16, multipliers=(1, 2, 4, 6), attention_resolutions=(), token_levels=(3,))
        config.loss.update(map_noise=0.5, map_dropout=0.0)
        config.sampling.update(keep_map=True, map_noise=0.1)
        config.training.steps = 4000
        config.sampling.update(guidance_scale=1.0, batch_size=100)
        config.evaluation.update(num_samples=200, guidance_scales=(1.0,))
    if argument == "64":
        config.data.update(image_size=64, image_crop=32)
        config.noise_factor = 4.0
        config.sampling.batch_size = 50
    return config
