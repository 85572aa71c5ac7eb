"""A vocoder at 8 kHz: from the log-mel spectrogram of a note to its waveform, evened out by what the mel tells.

python -m experiments.train --config=experiments/configs/vocoder.py --workdir=runs/vocoder
python -m experiments.vocode --workdir=runs/vocoder
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.name = "soundfont_notes/8khz"
    config.data.label = "none"
    config.data.crop = 2048
    config.data.form.name = "equalised"
    config.data.map.name = "log_mel"

    config.network.name = "wavenet"
    config.network.channels = 64
    config.network.layers = 12
    config.network.cycle = 6
    config.network.patch = 8

    config.loss.label_dropout = 0.0
    config.loss.map_dropout = 0.0

    config.training.steps = 5000
    config.training.batch_size = 16
    config.training.learning_rate = 1e-3
    config.training.warmup_steps = 200
    config.training.sample_every = 2500
    config.training.checkpoint_every = 1000

    config.sampling.steps = 6
    config.sampling.guidance_scale = 1.0
    config.sampling.batch_size = 16
    config.evaluation.guidance_scales = (1.0,)
    return config
