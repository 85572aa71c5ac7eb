"""The full path, for tests: a tiny model of the voices of twenty phrases.

    python -m experiments.train --config=experiments/configs/music/smoke_rolls.py --workdir=runs/rolls_smoke

Seconds; the music is noise.
"""

from experiments.configs.music import rolls_masked


def get_config():
    config = rolls_masked.get_config()
    config.data.train_split, config.data.test_split = "train[:20]", "test[:12]"
    config.network.update(depth=1, width=16, heads=2)
    config.training.update(steps=6, batch_size=8, warmup_steps=2)
    config.training.update(log_every=2, sample_every=6, checkpoint_every=6)
    config.sampling.update(steps=4, batch_size=12)
    config.evaluation.update(num_samples=12, bound_times=2)
    return config
