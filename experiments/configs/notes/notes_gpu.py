"""The notes of ``notes.py`` at 16 kHz, by a network of 31 million parameters, for one GPU.

    python -m experiments.train --config=experiments/configs/notes/notes_gpu.py --workdir=runs/notes_gpu

Not run here: no accelerator was at hand.
"""

from experiments.configs.notes import notes


def get_config():
    config = notes.get_config()
    config.data.name = "soundfont_notes/16khz"
    config.data.representation.fft_size = 1024
    config.data.representation.hop = 256
    config.data.representation.floor = 0.04  # windows of four times the length: four times the magnitudes
    config.data.representation.log_mean = -1.6

    config.network.channels = 320
    config.network.blocks = 2
    config.network.attention_resolutions = (64,)
    config.network.heads = 8
    config.network.dtype = "bfloat16"

    config.training.steps = 60_000
    config.training.batch_size = 128
    config.training.learning_rate = 3e-4
    config.training.warmup_steps = 1000
    config.training.ema_decays = (0.9995,)
    config.training.sample_every = 10_000
    config.training.checkpoint_every = 5000

    config.sampling.ema = "0.9995"
    config.sampling.batch_size = 256
    return config
