"""The notes of ``notes.py`` as spectrograms, log-magnitude and instantaneous frequency, by the image U-Net.

python -m experiments.train --config=experiments/configs/notes_spectrogram.py --workdir=runs/notes_spectrogram
"""

from experiments.configs import notes


def get_config():
    config = notes.get_config()
    config.data.form.name = "spectrogram"
    config.network.channels = 48
    config.network.multipliers = (1, 2, 2)
    config.network.patch = 4
    config.network.factors = (2, 2)
    config.training.steps = 1500
    config.training.sample_every = 1000
    config.training.checkpoint_every = 500
    return config
