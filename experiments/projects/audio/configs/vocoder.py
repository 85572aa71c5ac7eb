r"""A vocoder at 8 kHz: the magnitudes of a note from its mel spectrogram, by an image U-Net; phases by Griffin and Lim.

    python -m experiments.train --config=experiments/projects/audio/configs/vocoder.py --workdir=runs/vocoder
    python -m experiments.projects.audio.sound.vocode --workdir=runs/vocoder

Twelve CPU minutes: held-out notes in 6 steps with a log-spectral distance of 8.51 dB, by 60 iterations of Griffin-Lim
10.73 dB (the project's README). Two steps are closer than these iterations too (docs/flow_maps.md, "Sounds").

``mean_flow``, a student of two steps by improved MeanFlow:

    python -m experiments.export --workdir=runs/vocoder --out=weights/vocoder
    python -m experiments.train --config=experiments/projects/audio/configs/vocoder.py:mean_flow \
        --workdir=runs/vocoder_mean_flow --config.init_from=weights/vocoder

Three CPU minutes after twelve for the teacher: held-out notes in two steps with a log-spectral distance of 8.93 dB and
an STFT loss of 0.781 (docs/measurements/flow_maps.md).
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "mean_flow")
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
    if not argument:
        return config
    config.data.representation.iterations = 30
    base.flow_map(config, steps=2)
    config.training.update(steps=180, batch_size=16, warmup_steps=20, learning_rate=5e-4, checkpoint_every=100)
    config.evaluation.update(num_samples=64, step_counts=(1, 2, 4))
    config.loss.flow_map.update(name="improved_mean_flow", diagonal=0.5, power=0.5)
    config.loss.times.name = "uniform"
    config.sampling.grid.t_max = 0.99
    return config
