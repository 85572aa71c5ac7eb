r"""Phrases at 4 kHz from themselves below 500 Hz: bandwidth extension by a conditional model.

    python -m experiments.train --config=experiments/configs/phrases/phrases_wide.py --workdir=runs/phrases_wide
    python -m experiments.train --config=experiments/configs/phrases/phrases_bridge.py --workdir=runs/phrases_bridge
    python -m experiments.projects.audio.sound.restore_sounds --workdir=runs/phrases_wide --task=bandwidth \
        --condition=null \
        --steps=10 --trained=runs/phrases_wide,runs/phrases_bridge

Four CPU minutes each: held-out sounds in 10 steps with a log-spectral distance of 17.3 dB, 14.6 by the bridge and 21.3
by ``replacement``, the best of the methods for inverse problems; 32.0 before (docs/audio.md).
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.update(name="phrases", set="soundfont_phrases/4khz", crop=4096, label="none")
    config.data.representation.update(name="waveform", scale=4.0)
    config.conditions.map.name = "low_passed"
    config.network.update(channels=48, multipliers=(1, 2, 2), patch=16, factors=(4, 4))
    config.loss.label_dropout = 0.0
    config.loss.map_dropout = 0.2  # without the map it is the prior of the methods for inverse problems
    config.training.update(steps=1500, batch_size=32, optimizer="muon", learning_rate=1e-3)
    config.training.update(ema_decays=(0.995,), sample_every=1500, checkpoint_every=500)
    config.sampling.update(ema="0.995", guidance_scale=1.0, batch_size=32)
    config.evaluation.update(num_samples=64, bound_times=4, guidance_scales=(1.0,))
    return config
