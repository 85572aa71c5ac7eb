"""A vocoder at 8 kHz by a flow (WaveGlow): the waveform of a note from its mel spectrogram, in one pass.

    python -m experiments.train --config=experiments/projects/audio/configs/vocoder_flow.py --workdir=runs/vocoder_flow
    python -m experiments.projects.audio.sound.vocode --workdir=runs/vocoder_flow

Five CPU minutes: the log-spectral distance of 64 held-out notes is 19.2 dB, where Griffin and Lim's algorithm has 11.0
(the project's README).
"""

from experiments.configs import base


def get_config():
    config = base.get_config("flow")
    config.data.update(name="notes", set="soundfont_notes/8khz", label="none", crop=2048)
    config.conditions.map.name = "log_mel"
    config.network.update(levels=1, steps=8, features=48, blocks=4, patch=8)
    config.loss.update(label_dropout=0.0, map_dropout=0.0)
    config.training.update(steps=1500, batch_size=16, learning_rate=1e-3)
    config.training.update(ema_decays=(0.99,), sample_every=5000, checkpoint_every=300)
    config.sampling.update(ema="0.99", temperature=0.3, batch_size=16)
    return config
