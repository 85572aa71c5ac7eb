"""A vocoder at 8 kHz: the magnitudes of a note from its mel spectrogram, by an image U-Net; phases by Griffin and Lim.

    python -m experiments.train --config=experiments/configs/notes/vocoder.py --workdir=runs/vocoder
    python -m experiments.projects.audio.sound.vocode --workdir=runs/vocoder

Twelve CPU minutes: held-out notes in 6 steps with a log-spectral distance of 8.51 dB, by 60 iterations of Griffin-Lim
10.73 dB (docs/audio.md). Two steps are closer than these iterations too (docs/flow_maps.md, "Sounds").
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.update(name="notes", set="soundfont_notes/8khz", label="none", crop=2048)
    config.data.representation.update(name="magnitudes", match_envelope=True)
    config.conditions.map.name = "mel_magnitudes"
    config.network.update(channels=32, multipliers=(1, 2, 2), patch=2)
    config.preconditioning.noise.name = "clock"  # bounded along a path, as the losses of flow maps need it
    config.loss.update(label_dropout=0.0, map_dropout=0.0)
    config.training.update(steps=900, batch_size=32, optimizer="muon", learning_rate=2e-3)
    config.training.update(ema_decays=(0.99,), sample_every=5000, checkpoint_every=300)
    config.sampling.update(ema="0.99", steps=6, guidance_scale=1.0, batch_size=16)
    config.evaluation.guidance_scales = (1.0,)
    return config
