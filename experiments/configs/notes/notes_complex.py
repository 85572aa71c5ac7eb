"""The notes of ``notes.py`` with their phases: compressed complex spectra, by a U-Net of their frames.

    python -m experiments.train --config=experiments/configs/notes/notes_complex.py --workdir=runs/notes_complex

3,600 steps. An earlier network, without the linear skip and trained with AdamW: the pitch of 0.97 of the notes is
right and the family of 0.09, without guidance (docs/audio.md).
"""

from experiments.configs.notes import notes


def get_config():
    config = notes.get_config()
    config.data.representation.name = "compressed"
    config.noise_factor = 1.0
    config.network.update(channels=128, multipliers=(1, 2), patch=1, factors=(4,), grid=(8,))
    config.loss.target.name = "x0"
    config.loss.weighting.name = "x0"
    config.training.update(steps=3600, batch_size=32, learning_rate=1e-3, ema_decays=(0.999,))
    config.sampling.ema = "0.999"
    return config
