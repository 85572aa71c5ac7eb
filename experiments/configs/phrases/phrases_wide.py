r"""Phrases at 4 kHz from themselves below 500 Hz: bandwidth extension by a conditional model.

    python -m experiments.train --config=experiments/configs/phrases/phrases_wide.py --workdir=runs/phrases_wide
    python -m experiments.train --config=experiments/configs/phrases/phrases_bridge.py --workdir=runs/phrases_bridge
    python -m experiments.audio.restore_sounds --workdir=runs/phrases_wide --task=bandwidth --condition=null \
        --steps=10 --trained=runs/phrases_wide,runs/phrases_bridge

Four CPU minutes each: held-out sounds in 10 steps with a log-spectral distance of 17.3 dB, 14.6 by the bridge and 21.3
by ``replacement``, the best of the methods for inverse problems; 32.0 before (docs/audio.md).
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.name = "soundfont_phrases/4khz"
    config.data.crop = 4096
    config.data.label = "none"
    config.data.representation.name = "waveform"
    config.data.representation.scale = 4.0
    config.data.map.name = "low_passed"

    config.network.channels = 48
    config.network.multipliers = (1, 2, 2)
    config.network.patch = 16
    config.network.factors = (4, 4)

    config.loss.label_dropout = 0.0
    config.loss.map_dropout = 0.2  # without the map it is the prior of the methods for inverse problems

    config.training.steps = 1500
    config.training.batch_size = 32
    config.training.optimizer = "muon"
    config.training.learning_rate = 1e-3
    config.training.ema_decays = (0.995,)
    config.training.sample_every = 1500
    config.training.checkpoint_every = 500

    config.sampling.ema = "0.995"
    config.sampling.guidance_scale = 1.0
    config.sampling.batch_size = 32
    config.evaluation.num_samples = 64
    config.evaluation.bound_times = 4
    config.evaluation.guidance_scales = (1.0,)
    return config
