"""Single notes at 4 kHz, told their instrument, pitch and velocity: compressed spectra, by a U-Net of their frames.

python -m experiments.train --config=experiments/configs/notes.py --workdir=runs/notes
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.name = "soundfont_notes/4khz"
    config.data.form.name = "compressed"
    config.data.vector.name = "pitch_velocity"
    config.data.map.name = "pulses"

    config.network.channels = 128
    config.network.multipliers = (1, 2)
    config.network.factors = (4,)

    config.loss.target.name = "x0"
    config.loss.weighting.name = "x0"
    config.loss.label_dropout = 0.0
    config.loss.vector_dropout = 0.0
    config.loss.map_dropout = 0.0
    config.loss.joint_dropout = 0.1

    config.training.steps = 3600
    config.training.batch_size = 32
    config.training.learning_rate = 1e-3
    config.training.warmup_steps = 200
    config.training.sample_every = 2000
    config.training.checkpoint_every = 1000

    config.sampling.batch_size = 64
    config.evaluation.num_samples = 512
    config.evaluation.guidance_scales = (1.0, 2.0)
    return config
