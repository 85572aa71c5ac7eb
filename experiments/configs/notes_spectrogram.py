"""The notes of ``notes.py`` as log-magnitude and instantaneous frequency, which need no search for phases.

python -m experiments.train --config=experiments/configs/notes_spectrogram.py --workdir=runs/notes_spectrogram
"""

from experiments.configs import notes


def get_config():
    config = notes.get_config()
    config.data.form.update({"name": "spectrogram", "hop": 64, "oversampling": None})
    config.training.steps = 3200  # of twice as many frames
    return config
