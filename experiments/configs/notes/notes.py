"""Single notes at 4 kHz, given instrument, pitch and velocity: log-magnitudes by a U-Net along the frequencies,
phases by Griffin and Lim.

    python -m experiments.train --config=experiments/configs/notes/notes.py --workdir=runs/notes

17 minutes on two cores: without guidance, 25 steps, the pitch of all held-out notes is right and the family of 0.75
(0.85 of real notes), with a Fréchet distance of 1.05 (docs/audio.md).
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.name = "soundfont_notes/4khz"
    config.data.peak = 0.9  # as the loudest are: velocity is nothing but loudness in this font
    config.data.representation.name = "log_magnitudes"
    config.data.representation.by_bins = True
    config.data.representation.dct_power = 0.4
    config.data.representation.log_std = 2.4
    config.data.vector.name = "pitch_velocity"
    config.data.map.name = "pulses"

    config.noise_factor = 4.0

    config.network.channels = 96
    config.network.multipliers = (1, 1, 1)
    config.network.patch = 2
    config.network.factors = (2, 2)
    config.network.grid = (16,)
    config.network.conditioning_layers = 1
    config.network.filters = 256

    config.loss.label_dropout = 0.0
    config.loss.vector_dropout = 0.0
    config.loss.map_dropout = 0.0
    config.loss.joint_dropout = 0.1

    config.training.steps = 13_000
    config.training.batch_size = 32
    config.training.optimizer = "muon"
    config.training.learning_rate = 2e-3
    config.training.warmup_steps = 200
    config.training.ema_decays = (0.998,)
    config.training.sample_every = 6500
    config.training.checkpoint_every = 3250

    config.sampling.ema = "0.998"
    config.sampling.guidance_scale = 1.0  # the conditions are learned well: guidance makes the set less like real notes
    config.sampling.batch_size = 64
    config.evaluation.num_samples = 512
    config.evaluation.guidance_scales = (1.0, 1.5)
    return config
