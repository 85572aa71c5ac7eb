"""Phrases at 4 kHz from their piano roll and instrument: MIDI to audio, a second at a time.

    python -m experiments.train --config=experiments/configs/phrases/phrases.py --workdir=runs/phrases
    python -m experiments.audio.perform --workdir=runs/phrases

Sixteen CPU minutes: held-out phrases of four seconds have a correlation of 0.84 in chroma and 0.46 in onsets with the
rendered ones (docs/audio.md).
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.name = "soundfont_phrases/4khz"
    config.data.crop = 4096
    config.data.representation.name = "waveform"
    config.data.representation.scale = 4.0
    config.data.map.name = "tones"

    config.noise_factor = 2.0

    config.network.channels = 64
    config.network.multipliers = (1, 2, 2)
    config.network.patch = 16
    config.network.factors = (4, 4)

    config.loss.label_dropout = 0.0
    config.loss.map_dropout = 0.0
    config.loss.joint_dropout = 0.1

    config.training.steps = 4000
    config.training.batch_size = 32
    config.training.optimizer = "muon"
    config.training.learning_rate = 1e-3
    config.training.warmup_steps = 200
    config.training.sample_every = 2000
    config.training.checkpoint_every = 1000

    config.sampling.guidance_scale = 1.5
    config.sampling.batch_size = 32
    config.evaluation.num_samples = 100
    config.evaluation.guidance_scales = (1.0, 1.5)
    return config
