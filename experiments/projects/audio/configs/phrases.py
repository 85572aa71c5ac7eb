r"""Phrases at 4 kHz from their piano roll and instrument: MIDI to audio, a second at a time.

    python -m experiments.train --config=experiments/projects/audio/configs/phrases.py --workdir=runs/phrases
    python -m experiments.projects.audio.sound.perform --workdir=runs/phrases

Sixteen CPU minutes: held-out phrases of four seconds have a correlation of 0.84 in chroma and 0.46 in onsets with the
rendered ones (the project's README).

``magnitudes``, as frames of log-magnitudes; phases by Griffin and Lim:

    python -m experiments.train --config=experiments/projects/audio/configs/phrases.py:magnitudes \
        --workdir=runs/phrases_magnitudes
    python -m experiments.projects.audio.sound.perform --workdir=runs/phrases_magnitudes

Fifteen CPU minutes: a transcriber finds three of four notes, an onset F1 of 0.732 (the project's README).
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "magnitudes")
    config = base.get_config()
    config.data.update(name="phrases", set="soundfont_phrases/4khz", crop=4096)
    config.data.representation.update(name="waveform", scale=4.0)
    config.conditions.map.name = "tones"
    config.noise_factor = 2.0
    config.network.update(channels=64, multipliers=(1, 2, 2), patch=16, factors=(4, 4))
    config.loss.update(label_dropout=0.0, map_dropout=0.0, joint_dropout=0.1)
    config.training.update(steps=4000, batch_size=32, optimizer="muon", learning_rate=1e-3, warmup_steps=200)
    config.training.update(sample_every=2000, checkpoint_every=1000)
    config.sampling.update(guidance_scale=1.5, batch_size=32)
    config.evaluation.update(num_samples=100, guidance_scales=(1.0, 1.5))
    if argument == "magnitudes":
        config.data.representation.update(name="log_magnitudes", by_frames=True, floor=0.03)
        config.data.representation.update(log_mean=-1.4, log_std=1.6)
        config.conditions.map.name = "piano_roll"  # a row for each frame
        config.network.update(channels=128, multipliers=(1, 2), patch=1, factors=(2,))
        config.training.update(steps=3000, sample_every=3000)
        config.sampling.guidance_scale = 1.0  # more makes notes harder to tell apart
        config.evaluation.guidance_scales = (1.0,)
    return config
