"""The full path, for tests: a tiny model of the voices of twenty phrases.

    python -m experiments.train --config=experiments/configs/music/smoke_rolls.py --workdir=runs/rolls_smoke

Seconds; the music is noise.
"""

from experiments.configs.music import rolls_masked


def get_config():
    config = rolls_masked.get_config()
    config.data.train_split, config.data.test_split = "train[:20]", "test[:12]"
    config.network.depth = 1
    config.network.width = 16
    config.network.heads = 2
    config.training.steps = 6
    config.training.batch_size = 8
    config.training.warmup_steps = 2
    config.training.log_every = 2
    config.training.sample_every = 6
    config.training.checkpoint_every = 6
    config.sampling.steps = 4
    config.sampling.batch_size = 12
    config.evaluation.num_samples = 12
    config.evaluation.bound_times = 2
    return config
