r"""Single notes at 4 kHz, given instrument, pitch and velocity: log-magnitudes by a U-Net along the frequencies,
phases by Griffin and Lim.

    python -m experiments.train --config=experiments/projects/audio/configs/notes.py --workdir=runs/notes

17 CPU minutes: without guidance, 25 steps, the pitch of all held-out notes is right and the family of 0.75 (0.85 of
real notes), with a Fréchet distance of 1.05 (the project's README).

``spectrogram``, as log-magnitude and instantaneous frequency, which need no search for phases:

    python -m experiments.train --config=experiments/projects/audio/configs/notes.py:spectrogram \
        --workdir=runs/notes_spectrogram

24 CPU minutes: without guidance, the pitch of all notes is right and the family of 0.57, with a Fréchet distance of 3.7
(the project's README).

``controls``, as controls of a synthesiser: pitch, partials and noise bands of frames of 32 ms:

    python -m experiments.train --config=experiments/projects/audio/configs/notes.py:controls \
        --workdir=runs/notes_controls

Ten CPU minutes for the first half of the training (--config.training.steps=2000): without guidance, the pitch of 0.58
of the notes is right and the family of 0.45, with a Fréchet distance of 8.1 (the project's README).
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "spectrogram", "controls")
    config = base.get_config()
    config.data.update(name="notes", set="soundfont_notes/4khz")
    config.data.peak = 0.9  # as the loudest are: velocity is nothing but loudness in this font
    config.data.representation.update(name="log_magnitudes", by_bins=True, dct_power=0.4, log_std=2.4)
    config.conditions.vector.name = "pitch_velocity"
    config.conditions.map.name = "pulses"
    config.noise_factor = 4.0
    config.network.update(channels=96, multipliers=(1, 1, 1), patch=2, factors=(2, 2))
    config.network.update(grid=(16,), conditioning_layers=1, filters=256)
    config.loss.update(label_dropout=0.0, vector_dropout=0.0, map_dropout=0.0, joint_dropout=0.1)
    config.training.update(steps=13_000, batch_size=32, optimizer="muon", learning_rate=2e-3, warmup_steps=200)
    config.training.update(ema_decays=(0.998,), sample_every=6500, checkpoint_every=3250)
    config.sampling.ema = "0.998"
    config.sampling.guidance_scale = 1.0  # the conditions are learned well: guidance makes the set less like real notes
    config.sampling.batch_size = 64
    config.evaluation.update(num_samples=512, guidance_scales=(1.0, 1.5))
    if argument == "spectrogram":
        config.data.representation.update(name="spectrogram", log_std=None)
        config.noise_factor = 2.8
        config.network.update(channels=128, patch=1)  # as many channels as a bin has numbers
        config.training.steps = 4000
    elif argument == "controls":
        config.data.representation.update(name="controls", log_std=None)
        config.data.representation.update({"bands": 65, "hop": 128, "partials": 24})
        config.conditions.map.name = "none"
        config.noise_factor = 2.8
        config.network.update(channels=128, multipliers=(1, 1), factors=(2,), grid=(8,), patch=1)
        config.training.steps = 4000
    return config
