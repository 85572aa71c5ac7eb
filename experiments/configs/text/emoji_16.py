r"""Emoji of 16 x 16 pixels from their captions: the base of a cascade.

    python -m experiments.train --config=experiments/configs/text/emoji_16.py --workdir=runs/emoji_16
    python -m experiments.projects.text.draw --stages=runs/emoji_16 --caption="red heart" --style=noto

10,000 steps of 0.19 s of one CPU core, 35 minutes with samples and metrics. Captions are encoded on first use, in about
a minute. An evaluator finds the caption among the closest five for 52 % of the images of seen captions and 49 % of
held-out ones, at guidance scale 3 (docs/text_to_image.md).

``emoji_16.py:decoder`` is a decoder as in DALL·E 2, of the embedding of an image, which a prior draws. All conditions
are dropped in a tenth of the examples, the tokens of the caption in half of the others:

    python -m experiments.train --config=experiments/configs/text/emoji_16.py:decoder --workdir=runs/decoder \
        --config.conditions.embeddings.encoder=runs/contrastive
    python -m experiments.projects.text.draw --prior=runs/prior --stages=runs/decoder,runs/emoji_32 \
        --caption="red heart"

33 CPU minutes: with the prior, an evaluator finds the caption among the closest five for 77 % of the images of seen
captions at guidance scale 3.
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "decoder")
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
    return config
