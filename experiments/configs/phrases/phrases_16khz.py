r"""The last model of a cascade: phrases at 16 kHz from their signal at 4 kHz, on pieces of 1.024 s. Meant for one GPU.

    python -m experiments.train --config=experiments/configs/phrases/phrases_1khz.py --workdir=runs/phrases_1khz \
        --config.data.name=soundfont_phrases/16khz --config.data.representation.factor=16
    python -m experiments.train --config=experiments/configs/phrases/phrases_4khz.py --workdir=runs/phrases_4khz \
        --config.data.name=soundfont_phrases/16khz --config.data.crop=16384 \
        --config.data.representation.name=low_rate --config.data.representation.factor=4 --config.data.map.factor=16
    python -m experiments.train --config=experiments/configs/phrases/phrases_16khz.py --workdir=runs/phrases_16khz
    python -m experiments.latents.cascade --stages=runs/phrases_1khz,runs/phrases_4khz,runs/phrases_16khz

The stages before are the same models as at 4 kHz, of the same set.

Not run here, but for its smoke test: no accelerator was at hand.
"""

from experiments.configs.phrases import phrases_4khz


def get_config():
    config = phrases_4khz.get_config()
    config.data.update(name="soundfont_phrases/16khz", crop=16384)
    config.network.update(channels=192, layers=30, cycle=10, patch=8, dtype="bfloat16")
    config.training.update(steps=200_000, batch_size=32, learning_rate=3e-4, warmup_steps=5000)
    config.training.update(sample_every=10_000, checkpoint_every=10_000)
    return config
